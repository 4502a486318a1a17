"""Keys that tokens hold: made, used and refused, as people type it, with SoftHSM in the place of hardware."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.bundle.generations import current_bundle
from runtime.bundle.keys import KeyFolder
from runtime.bundle.releases import install_release
from runtime.bundle.sources import FolderSource
from runtime.bundle.token_keys import load_token_key
from runtime.cli.keys import app as keys_command
from runtime.cli.keys import open_keys
from runtime.errors import EdgedeskError, InputError, IntegrityError, MissingError, UsageError
from tests.support.releases import NOW, Company

Small = Callable[[str], Path]
PIN = "1234"
MODULES = [
    Path(folder) / "libsofthsm2.so"
    for folder in (
        "/usr/lib/softhsm",
        "/usr/lib/x86_64-linux-gnu/softhsm",
        "/usr/lib64/softhsm",
        "/usr/local/lib/softhsm",
    )
]


class Tokens:
    """Three tokens of SoftHSM, which hold nothing yet."""

    labels = ("safe one", "safe two", "safe three")

    def __init__(self, folder: Path, module: Path, util: str) -> None:
        self.module, self.folder, self._util = module, folder, util
        for label in self.labels:
            self.plug_in(label)

    def plug_in(self, label: str) -> None:
        words = ["--init-token", "--free", "--label", label, "--so-pin", PIN, "--pin", PIN]
        subprocess.run([self._util, *words], check=True, capture_output=True)

    def options(self, *labels: str) -> list[str]:
        return ["--pkcs11", str(self.module), *(word for label in labels or self.labels for word in ("--token", label))]


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tokens:
    util = shutil.which("softhsm2-util")
    module = next((path for path in MODULES if path.is_file()), None)
    if util is None or module is None:
        pytest.skip("no SoftHSM here (apt-get install softhsm2)")
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed (the extra pkcs11)")
    import pkcs11

    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.setenv("EDGEDESK_PKCS11_PIN", PIN)
    monkeypatch.delenv("EDGEDESK_PKCS11_MODULE", raising=False)
    made = Tokens(tmp_path, module, util)
    # A module reads its configuration once a process: begin anew with this test's tokens.
    pkcs11.lib(str(module)).reinitialize()
    return made


def keys(*words: object) -> str:
    done = CliRunner().invoke(keys_command, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def folder(tokens: Tokens, tmp_path: Path) -> Path:
    """Keys of a company, all of them in tokens."""
    keys("init", tmp_path / "keys", *tokens.options())
    return tmp_path / "keys"


def company(folder: Path, tmp_path: Path) -> Company:
    return Company(open_keys(folder, None), tmp_path / "release")


def test_release_signed_by_tokens_is_believed_and_no_private_key_is_on_disk(
    folder: Path, tmp_path: Path, small_bundle: Small
) -> None:
    office = company(folder, tmp_path)
    office.release(small_bundle("1"))
    install_release(FolderSource(office.folder), tmp_path / "home")
    assert current_bundle(tmp_path / "home").info.version == "1"
    assert list(folder.glob("*.pem")) == []
    assert not any(b"PRIVATE KEY" in path.read_bytes() for path in folder.iterdir())
    held = [json.loads(path.read_text()) for path in folder.glob("root-*.token.json")]
    assert {each["token"] for each in held} == set(Tokens.labels), "each root key in a token of its own"
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("*.token.json"))


def test_private_key_cannot_be_read_out_of_its_token(folder: Path, tokens: Tokens) -> None:
    import pkcs11

    held = json.loads(next(folder.glob("articles-*.token.json")).read_text())
    with pkcs11.lib(str(tokens.module)).get_token(token_label=held["token"]).open(user_pin=PIN) as session:
        private = list(session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}))
        assert len(private) == 7, "one root key and six of other roles"
        for key in private:
            with pytest.raises(pkcs11.exceptions.PKCS11Error):
                key[pkcs11.Attribute.VALUE]


def test_root_is_changed_with_two_of_three_tokens_and_not_with_one(
    folder: Path, tokens: Tokens, tmp_path: Path, small_bundle: Small
) -> None:
    office = company(folder, tmp_path)
    office.release(small_bundle("1"))
    install_release(FolderSource(office.folder), tmp_path / "home")
    aside = tmp_path / "aside"
    aside.mkdir()
    second, third = (
        next(path for path in folder.glob("root-*.token.json") if json.loads(path.read_text())["token"] == label)
        for label in Tokens.labels[1:]
    )
    for path in (second, third):
        shutil.move(path, aside / path.name)
    assert "1 more root signatures" in keys("rotate", folder, "timestamp", *tokens.options("safe one"))
    assert "version 2" in keys("sign", folder, "--key", aside / second.name)
    office = company(folder, tmp_path)
    office.release(small_bundle("2"))
    install_release(FolderSource(office.folder), tmp_path / "home")
    assert current_bundle(tmp_path / "home").info.version == "2"


def test_keys_in_files_and_in_tokens_go_together(tokens: Tokens, tmp_path: Path, small_bundle: Small) -> None:
    keys("init", tmp_path / "keys")
    keys("rotate", tmp_path / "keys", "articles", *tokens.options("safe two"))
    office = company(tmp_path / "keys", tmp_path)
    office.release(small_bundle("1"))
    install_release(FolderSource(office.folder), tmp_path / "home")
    (articles,) = office.keys.keys_of("articles")
    assert articles.scheme == "ecdsa-sha2-nistp256"


def test_key_that_a_token_has_already_is_taken(tokens: Tokens, tmp_path: Path, small_bundle: Small) -> None:
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    with pkcs11.lib(str(tokens.module)).get_token(token_label="safe one").open(rw=True, user_pin=PIN) as session:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp384r1")}
        session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True).generate_keypair(id=b"\x02", store=True)
    keys("init", tmp_path / "keys")
    keys("rotate", tmp_path / "keys", "model", *tokens.options("safe one"), "--object", 2)
    office = company(tmp_path / "keys", tmp_path)
    assert office.keys.keys_of("model")[0].scheme == "ecdsa-sha2-nistp384"
    office.release(small_bundle("1"))
    install_release(FolderSource(office.folder), tmp_path / "home")
    with pytest.raises(MissingError, match="could not find"):
        keys("rotate", tmp_path / "keys", "app", *tokens.options("safe one"), "--object", 3)


def test_token_that_is_not_plugged_in_is_not_at_hand(folder: Path, tokens: Tokens, tmp_path: Path) -> None:
    import pkcs11

    shutil.rmtree(tokens.folder / "tokens")
    (tokens.folder / "tokens").mkdir()
    pkcs11.lib(str(tokens.module)).reinitialize()
    assert "private key here" not in keys("show", folder)
    with pytest.raises(MissingError, match="'snapshot'") as caught:
        open_keys(folder, None).sign(KeyFolder(folder).root(), "snapshot")
    assert "plug its token in" in caught.value.hint


@pytest.mark.parametrize(("pin", "why"), [("9999", "PIN is wrong"), ("", "asks for a PIN")])
def test_wrong_pin_signs_nothing_and_makes_no_key(
    folder: Path, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: str, why: str
) -> None:
    monkeypatch.setenv("EDGEDESK_PKCS11_PIN", pin)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(UsageError, match=why):
        keys("rotate", folder, "app", *tokens.options("safe one"))
    assert sorted(path.name for path in folder.iterdir()) == before
    with pytest.raises(UsageError, match=why):
        keys("init", tmp_path / "others", *tokens.options())
    assert list((tmp_path / "others").iterdir()) == [], "with the right PIN the same folder can be taken"


def test_module_is_named_anew_on_a_machine_where_it_lies_elsewhere(
    folder: Path, tokens: Tokens, tmp_path: Path
) -> None:
    for path in folder.glob("*.token.json"):
        path.write_text(path.read_text().replace(str(tokens.module), "/opt/gone/module.so"))
    assert "private key here" not in keys("show", folder)
    assert keys("show", folder, "--pkcs11", tokens.module).count("private key here") == 9


@pytest.mark.parametrize(
    ("words", "error", "why"),
    [
        (["--token", "safe one"], UsageError, "no PKCS#11 library"),
        (["--pkcs11", "/no/such.so", "--token", "x"], MissingError, "no such PKCS#11 module"),
        (["--pkcs11", __file__, "--token", "x"], EdgedeskError, "."),
    ],
)
def test_module_that_is_none_is_refused_in_a_sentence(
    tmp_path: Path, words: list[str], error: type[EdgedeskError], why: str
) -> None:
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed (the extra pkcs11)")
    with pytest.raises(error, match=why):
        keys("init", tmp_path / "keys", *words)


def test_token_that_does_not_exist_is_named(tokens: Tokens, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nobody"):
        keys("init", tmp_path / "keys", *tokens.options("nobody"))


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"module": "/x", "token": "t", "object": -1, "keyid": "0", "key": {}}']
)
def test_file_that_names_no_key_of_a_token_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "root-1.token.json"
    path.write_text(text)
    with pytest.raises(InputError):
        load_token_key(path, lambda: None)


def test_branch_refuses_what_another_token_signed(
    folder: Path, tokens: Tokens, tmp_path: Path, small_bundle: Small
) -> None:
    office = company(folder, tmp_path)
    office.release(small_bundle("1"))
    install_release(FolderSource(office.folder), tmp_path / "home")
    keys("init", tmp_path / "stranger", *tokens.options())
    other = Company(open_keys(tmp_path / "stranger", None), tmp_path / "theirs")
    other.release(small_bundle("2"), now=NOW)
    with pytest.raises(IntegrityError):
        install_release(FolderSource(other.folder), tmp_path / "home")
