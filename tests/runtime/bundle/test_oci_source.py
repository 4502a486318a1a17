"""A release that goes through a registry: pushed, installed, updated from, and what a registry may do wrong."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from runtime.base.manifest import read_manifest, verify
from runtime.bundle import oci_registry
from runtime.bundle.generations import current_bundle, generations
from runtime.bundle.oci_registry import OciAddress, Registry, read_login
from runtime.bundle.oci_source import OciSource, push_release
from runtime.bundle.releases import install_release
from runtime.bundle.updater import update
from runtime.errors import EdgedeskError, InputError, IntegrityError, MissingError, UnavailableError, UsageError
from tests.support.registry import FakeRegistry, serve
from tests.support.releases import Company, seal
from tests.support.server import wait_for

Small = Callable[[str], Path]
Count = Callable[[str, int], None]
BIG = (1 << 20) + 7


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def registry(socket_enabled: None) -> Iterator[FakeRegistry]:
    with serve(FakeRegistry()) as registry:
        yield registry


@pytest.fixture
def big_bundle(small_bundle: Small) -> Small:
    """Small bundles with one file that takes more than one piece."""

    def make(version: str) -> Path:
        bundle = small_bundle(version)
        (bundle / "report").mkdir(exist_ok=True)
        (bundle / "report" / "big.bin").write_bytes(bytes(number % 251 for number in range(BIG)))
        return seal(bundle)

    return make


def push(company: Company, registry: FakeRegistry, login: str = "", tag: str = "stable") -> int:
    with Registry(OciAddress.parse(registry.address(tag)), login=login, write=True) as opened:
        return push_release(company.folder, opened).sent_files


@contextmanager
def reading(registry: FakeRegistry, login: str = "", tag: str = "stable") -> Iterator[OciSource]:
    with Registry(OciAddress.parse(registry.address(tag)), login=login) as opened:
        yield OciSource(opened)


def install(registry: FakeRegistry, home: Path, login: str = "") -> str:
    with reading(registry, login) as source:
        install_release(source, home)
    return version(home)


def version(home: Path) -> str:
    bundle = current_bundle(home)
    verify(bundle.root, read_manifest(bundle.root))
    return bundle.info.version


def test_release_installs_from_a_registry_with_every_file_as_it_was_signed(
    company: Company, big_bundle: Small, registry: FakeRegistry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_registry, "PIECE_BYTES", 300_000)
    company.release(big_bundle("1"))
    push(company, registry)
    assert sum(line.startswith("PATCH") for line in registry.asked) == 3, "the long file goes in four pieces"
    assert install(registry, home) == "1"


def test_update_from_a_registry_reads_only_blobs_that_the_branch_lacks(
    company: Company, big_bundle: Small, registry: FakeRegistry, home: Path
) -> None:
    company.release(big_bundle("1"))
    push(company, registry)
    install(registry, home)
    company.release(big_bundle("2"))
    sent = push(company, registry)
    assert 0 < sent < 12, "what the registry has is not sent again"
    registry.sent.clear()
    with reading(registry) as source:
        report = update(source, home, lambda _: "")
    assert (report.outcome, version(home)) == ("updated", "2")
    assert sum(registry.sent.values()) < BIG / 10, "the long file has not changed"


def test_push_that_was_cut_short_sends_the_rest_when_it_is_run_again(
    company: Company, small_bundle: Small, registry: FakeRegistry, home: Path
) -> None:
    company.release(small_bundle("1"))
    address = OciAddress.parse(registry.address())
    seen = 0

    class Cut(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal seen
            seen += request.method == "PUT"
            if seen > 5:
                raise httpx.WriteError("cut", request=request)
            return super().handle_request(request)

    with Registry(address, write=True, transport=Cut()) as opened, pytest.raises(UnavailableError) as caught:
        push_release(company.folder, opened)
    assert "run" in caught.value.hint or "again" in caught.value.hint
    assert registry.manifests == {}, "the tag names nothing before everything is there"
    there = set(registry.blobs)
    assert len(there) == 5
    push(company, registry)
    assert install(registry, home) == "1"


def test_copy_from_a_registry_that_is_cut_off_goes_on_where_it_stopped(
    company: Company, big_bundle: Small, registry: FakeRegistry, home: Path, count_trials: Count
) -> None:
    """F6: also over a registry, with ranges and without."""
    company.release(big_bundle("1"))
    push(company, registry)
    for ranges in (True, False):
        registry.ranges, registry.cut_after = ranges, BIG // 2
        registry.sent.clear()
        with pytest.raises(UnavailableError, match="cannot be read"):
            install(registry, home)
        assert install(registry, home) == "1"
        again = max(registry.sent.values())
        assert (again <= BIG + (1 << 16)) if ranges else (again > BIG)
        shutil.rmtree(home)
        count_trials("F6", 1)


def test_tag_that_moves_while_a_branch_reads_changes_nothing_for_it(
    company: Company, small_bundle: Small, registry: FakeRegistry, home: Path
) -> None:
    company.release(small_bundle("1"))
    push(company, registry)
    with reading(registry) as source:
        company.release(small_bundle("2"))
        push(company, registry)
        install_release(source, home)
    assert version(home) == "1"
    assert install(registry, home) == "2"


@pytest.mark.parametrize("challenge", ["basic", "bearer"])
def test_registry_that_asks_for_a_login_gets_it_also_when_a_token_expires(
    company: Company, small_bundle: Small, registry: FakeRegistry, home: Path, challenge: str
) -> None:
    registry.challenge, registry.tokens_last = challenge, 3
    company.release(small_bundle("1"))
    with pytest.raises(UnavailableError, match="401"):
        push(company, registry)
    with pytest.raises(UnavailableError, match="401"):
        push(company, registry, "branch:wrong")
    push(company, registry, registry.login)
    with pytest.raises(UnavailableError, match="401") as caught:
        install(registry, home)
    assert "login" in caught.value.hint
    assert install(registry, home, registry.login) == "1"


def test_password_goes_to_the_registry_and_to_no_other_host(
    company: Company, small_bundle: Small, registry: FakeRegistry, home: Path, count_trials: Count
) -> None:
    """S12: a realm, a redirect or an upload elsewhere is not followed."""
    company.release(small_bundle("1"))
    push(company, registry)
    for change in (
        {"challenge": "bearer", "realm": "http://tokens.example/token"},
        {"challenge": "bearer", "realm": "https://127.0.0.1/token"},
        {"challenge": "bearer", "realm": "http://[::1/token"},
        {"challenge": "bearer", "realm": "file:///etc/passwd"},
        {"challenge": "", "elsewhere": "http://storage.example"},
    ):
        for name, value in change.items():
            setattr(registry, name, value)
        with pytest.raises(UnavailableError, match="another host"):
            install(registry, home, registry.login)
        count_trials("S12", 1)
    registry.elsewhere, registry.uploads_elsewhere = "", True
    company.release(small_bundle("2"))
    with pytest.raises(UnavailableError, match="another host"):
        push(company, registry)
    assert generations(home) == []


def test_hosts_that_are_named_beside_the_registry_are_asked_and_storage_gets_no_login(
    company: Company, big_bundle: Small, registry: FakeRegistry, home: Path
) -> None:
    beside = f"http://localhost:{registry.port}"
    registry.challenge, registry.realm, registry.elsewhere = "bearer", f"{beside}/token", beside
    company.release(big_bundle("1"))
    address = OciAddress.parse(registry.address())
    with Registry(address, login=registry.login, hosts=["LOCALHOST"], write=True) as opened:
        push_release(company.folder, opened)
    registry.cut_after = BIG // 2
    for _ in range(2):
        with Registry(address, login=registry.login, hosts=["localhost"]) as opened:
            source = OciSource(opened)
            try:
                install_release(source, home)
            except UnavailableError:
                continue
    assert version(home) == "1"
    assert any("/storage/" in line for line in registry.asked)


def test_environment_names_no_proxy_and_no_login(
    company: Company, small_bundle: Small, registry: FakeRegistry, home: Path, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login thief password thief\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    company.release(small_bundle("1"))
    push(company, registry)
    assert install(registry, home) == "1"


@pytest.mark.parametrize("what", ["changed", "missing", "longer", "shorter"])
def test_blob_that_is_not_what_was_signed_is_refused(
    company: Company, big_bundle: Small, registry: FakeRegistry, home: Path, what: str, count_trials: Count
) -> None:
    """F5: whoever runs the registry is trusted with nothing but being there."""
    company.release(big_bundle("1"))
    push(company, registry)
    digest = max(registry.blobs, key=lambda digest: len(registry.blobs[digest]))
    data = registry.blobs[digest]
    changed = {"changed": b"x" + data[1:], "longer": data + b"x", "shorter": data[:-1]}
    if what == "missing":
        del registry.blobs[digest]
    else:
        registry.blobs[digest] = changed[what]
    with pytest.raises(IntegrityError):
        install(registry, home)
    assert generations(home) == []
    registry.blobs[digest] = data
    assert install(registry, home) == "1"
    count_trials("F5", 1)


def test_registry_that_never_stops_talking_is_read_no_further_than_it_may_be(
    company: Company, small_bundle: Small, registry: FakeRegistry, home: Path, count_trials: Count
) -> None:
    """S3: endless data in a manifest and behind a refusal."""
    company.release(small_bundle("1"))
    push(company, registry)
    registry.endless = True
    with pytest.raises(InputError, match="too long"):
        install(registry, home)
    registry.challenge = "bearer"
    with pytest.raises(EdgedeskError):
        install(registry, home)
    count_trials("S3", 2)


def test_tag_of_something_else_is_neither_read_nor_pushed_over(
    company: Company, small_bundle: Small, registry: FakeRegistry, home: Path
) -> None:
    image = b'{"schemaVersion": 2, "config": {"mediaType": "x", "digest": "x", "size": 1}, "layers": []}'
    registry.manifests["stable"] = ("application/vnd.oci.image.manifest.v1+json", image)
    company.release(small_bundle("1"))
    with pytest.raises(InputError, match="not a release"):
        push(company, registry)
    with pytest.raises(InputError, match="not a release"):
        install(registry, home)
    assert registry.manifests["stable"][1] == image


def test_tag_that_does_not_exist_is_named(registry: FakeRegistry, home: Path) -> None:
    with pytest.raises(MissingError, match="missing") as caught:
        install(registry, home)
    assert registry.address() in str(caught.value)


def test_registry_that_is_not_there_is_named(socket_enabled: None, home: Path) -> None:
    gone = FakeRegistry(port=9)
    with pytest.raises(UnavailableError, match="cannot be read"):
        install(gone, home)


@pytest.mark.parametrize(
    ("text", "scheme", "host", "name", "tag"),
    [
        ("oci://registry.example/shop/model:stable", "https", "registry.example", "shop/model", "stable"),
        ("oci://registry.example:5000/model", "https", "registry.example:5000", "model", "latest"),
        ("oci+http://[::1]:5000/a/b-c/d_e:V1.2", "http", "[::1]:5000", "a/b-c/d_e", "V1.2"),
    ],
)
def test_address_of_a_registry_is_read(text: str, scheme: str, host: str, name: str, tag: str) -> None:
    found = OciAddress.parse(text)
    assert (found.scheme, found.host, found.name, found.tag) == (scheme, host, name, tag)
    assert OciAddress.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "", "oci://", "oci://host", "oci://host/", "oci:///name", "oci://host/Name", "oci://host/a//b",
        "oci://user:secret@host/a", "oci://host:port/a", "oci://host/a:b/c", "oci://host/a?b", "oci://host/../a",
        "http://host/a", "oci://host/" + "a" * 300, "oci://host/a:" + "t" * 200, "oci://ho st/a", "oci://[::1/a",
    ],
)  # fmt: skip
def test_address_that_is_none_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="not an address of a registry"):
        OciAddress.parse(text)


def test_login_is_one_line_of_user_and_password(tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text("branch:se:cret\n")
    assert read_login(file) == "branch:se:cret"
    assert read_login(None) == ""
    file.write_text("only-a-token\n")
    with pytest.raises(InputError, match="not a login"):
        read_login(file)


@pytest.fixture
def distribution(tmp_path: Path, socket_enabled: None) -> Iterator[str]:
    """The registry of the CNCF itself, of Debian's package, where it is installed."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None:
        pytest.skip("no registry here (apt-get install docker-registry)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "blobs")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(config))
    log = (tmp_path / "registry.log").open("wb")
    command = [program, "serve", str(tmp_path / "registry.yml")]
    server = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})
    try:
        wait_for(lambda: _answers(port), 30)
        yield f"oci+http://127.0.0.1:{port}/shop/model:stable"
    finally:
        server.terminate()
        server.wait()
        log.close()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_release_goes_through_the_registry_of_a_package(
    company: Company, big_bundle: Small, distribution: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_registry, "PIECE_BYTES", 300_000)
    address = OciAddress.parse(distribution)
    for number in ("1", "2"):
        company.release(big_bundle(number))
        with Registry(address, write=True) as opened:
            pushed = push_release(company.folder, opened)
            assert push_release(company.folder, opened) == (pushed.digest, pushed.files, 0, 0)
        with Registry(address) as opened:
            update(OciSource(opened), home, lambda _: "")
        assert version(home) == number
