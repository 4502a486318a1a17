"""Where releases are read from: a folder, and an HTTP server that nobody has to trust."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from runtime.bundle.bundle import Bundle
from runtime.bundle.generations import current_bundle, generations
from runtime.bundle.releases import install_release
from runtime.bundle.sources import SLOW_S, FolderSource, HttpSource, PacedSource, is_address
from runtime.bundle.update_window import WindowPace
from runtime.bundle.updater import UpdateReport, update
from runtime.errors import EdgedeskError, InputError, IntegrityError, MissingError, UnavailableError, UsageError
from tests.support import release_server as bad
from tests.support.release_server import Behaviour, ReleaseServer, release_server
from tests.support.releases import Company, seal

Small = Callable[[str], Path]
Count = Callable[[str, int], None]
BIG = 300_000
"""Bytes of the file that is cut off: more than one packet, so that there is something to go on from."""
BUFFERS = 8 << 20
"""What kernels and libraries hold beyond what was read, at most."""


def good(_: Bundle) -> str:
    return ""


@pytest.fixture
def home(company: Company, small_bundle: Small, tmp_path: Path) -> Path:
    """A branch on release 1; release 2, with one large file, is published."""
    company.release(small_bundle("1"))
    install_release(FolderSource(company.folder), tmp_path / "home")
    bundle = small_bundle("2")
    (bundle / "report").mkdir()
    (bundle / "report" / "figures.bin").write_bytes(bytes(number % 251 for number in range(BIG)))
    company.release(seal(bundle))
    return tmp_path / "home"


@pytest.fixture
def server(company: Company, home: Path, socket_enabled: None) -> Iterator[ReleaseServer]:
    with release_server(company.folder) as server:
        yield server


def run(server: ReleaseServer, home: Path, **options: object) -> UpdateReport:
    with HttpSource(server.url, **options) as source:  # type: ignore[arg-type]
        return update(source, home, good)


def version(home: Path) -> str:
    return current_bundle(home).info.version


def test_update_over_http_reads_what_is_new_and_closes_its_connection(server: ReleaseServer, home: Path) -> None:
    assert run(server, home).outcome == "updated"
    assert version(home) == "2"
    files = [name for name, _ in server.asked if name.startswith("targets/")]
    assert len(files) == len(set(files)) == 3, "bundle.json, the encoder and the report are new"
    server.heal()
    assert run(server, home).outcome == "up_to_date"
    assert not [name for name, _ in server.asked if name.startswith("targets/")]


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_copy_that_a_server_cuts_off_goes_on_where_it_stopped(
    server: ReleaseServer, home: Path, ranges: bool, count_trials: Count
) -> None:
    """F6: five cuts of one file; with ranges nothing that came is asked for again, without them it is skipped."""
    cuts = (1, 60_000, 60_000, 100_000, 0)
    for cut in cuts:
        server.turn(lambda request, cut=cut: request.file(cut_after=cut), only="figures.bin")  # type: ignore[misc]
        with pytest.raises(UnavailableError, match=r"figures\.bin' cannot be read") as caught:
            run(server, home)
        assert "what was copied is kept" in caught.value.hint
        assert version(home) == "1"
    server.turn(lambda request: request.file(ranges=ranges), only="figures.bin")
    assert run(server, home).outcome == "updated"
    assert version(home) == "2"
    (start,) = (start for name, start in server.asked if name.endswith("figures.bin"))
    assert start == sum(cuts)
    count_trials("F6", len(cuts))


@pytest.mark.parametrize("behave", [bad.other_range, bad.other_bytes], ids=["another range", "other bytes"])
def test_copy_that_goes_on_with_wrong_bytes_is_begun_anew_once(
    server: ReleaseServer, home: Path, behave: Behaviour, count_trials: Count
) -> None:
    """F6: what was copied and what follows do not fit; a second try takes the file from its beginning."""
    server.turn(lambda request: request.file(cut_after=60_000), only="figures.bin")
    with pytest.raises(UnavailableError):
        run(server, home)
    server.turn(behave, only="figures.bin")
    if behave is bad.other_range:
        assert run(server, home).outcome == "updated"
    else:
        with pytest.raises(IntegrityError, match=r"figures\.bin"):
            run(server, home)
        assert version(home) == "1"
    assert [start for name, start in server.asked if name.endswith("figures.bin")] == [60_000, 0]
    count_trials("F6", 1)


BOMB = gzip.compress(bytes(64 << 20))
HOSTILE: dict[str, Behaviour] = {
    "endless data": bad.endless,
    "endless header": bad.endless_header,
    "not found": bad.status(404),
    "forbidden": bad.status(403),
    "error": bad.status(500),
    "busy": bad.status(503, Retry_After="3600"),
    "a page for everything": bad.status(200, b"<html>Please log in</html>", Content_Type="text/html"),
    "nothing": bad.status(204, b""),
    "too short": bad.too_short,
    "too long": bad.too_long,
    "other bytes": bad.other_bytes,
    "empty": bad.status(200, b""),
    "a longer promise": lambda request: request.answer(200, request.path.read_bytes(), length=1 << 50),
    "a shorter promise": lambda request: request.answer(200, request.path.read_bytes(), length=3),
    "no length": lambda request: request.answer(200, b"x", length=None),
    "packed": bad.status(200, BOMB, Content_Encoding="gzip"),
    "no http": bad.no_http,
    "hangs up": bad.hang_up,
    "redirects to itself": lambda request: request.answer(301, Location=f"/{request.name}"),
    "redirects to a file": lambda request: request.answer(302, Location="file:///etc/passwd"),
}


@pytest.mark.parametrize("only", ["timestamp", "snapshot", r"\.model\.", "figures"])
def test_server_that_misbehaves_leaves_the_branch_as_it_was(
    server: ReleaseServer, home: Path, only: str, count_trials: Count
) -> None:
    """S3: one sentence, the old generation, no more read than was promised; the next update goes well."""
    for name, behave in HOSTILE.items():
        server.turn(behave, only=only)
        shutil.rmtree(home / "store" / "partial", ignore_errors=True)  # or what came before would be enough
        with pytest.raises(EdgedeskError) as caught:
            run(server, home)
        assert type(caught.value) in (IntegrityError, MissingError, UnavailableError), name
        assert "\n" not in str(caught.value), name
        assert caught.value.hint, name
        assert version(home) == "1", name
        assert server.sent < BIG + BUFFERS, name
    assert len(generations(home)) == 1
    server.heal()
    assert run(server, home).outcome == "updated"
    assert version(home) == "2"
    count_trials("S3", len(HOSTILE))


def test_update_follows_no_redirection_to_another_host(
    server: ReleaseServer, home: Path, company: Company, count_trials: Count
) -> None:
    """S12: another host, with the same files, is not asked for one of them."""
    with release_server(company.folder) as other:
        for only in ("timestamp", "targets/"):
            server.turn(bad.redirect_to(other.url), only=only)
            with pytest.raises(UnavailableError, match="302") as caught:
                run(server, home)
            assert "redirections are not followed" in caught.value.hint
        assert other.asked == []
    assert version(home) == "1"
    count_trials("S12", 2)


def test_server_that_sends_single_bytes_is_given_up(server: ReleaseServer, home: Path, count_trials: Count) -> None:
    """S3: on a clock of our own, on which a quarter of an hour passes whenever it is read: too little has come."""
    for only in ("timestamp", "figures"):
        server.turn(bad.single_bytes, only=only)
        seconds = count(0, 900)
        with pytest.raises(UnavailableError, match="comes too slowly"):
            run(server, home, monotonic=lambda seconds=seconds: float(next(seconds)))
        assert server.sent < BIG
    assert version(home) == "1"
    server.heal()
    slow_but_steady = count(0, SLOW_S / 20)
    assert run(server, home, monotonic=lambda: next(slow_but_steady)).outcome == "updated"
    count_trials("S3", 2)


@pytest.mark.parametrize("only", ["timestamp", "bundle"])
def test_server_that_drips_the_head_of_its_answer_is_given_up(
    server: ReleaseServer, home: Path, only: str, count_trials: Count
) -> None:
    """S3: each byte comes in time, and the head as a whole does not; on a new connection and on one that was used."""
    server.turn(bad.dripping_head, only=only)
    with pytest.raises(UnavailableError, match="cannot be read") as caught:
        run(server, home, head_s=0.3)
    assert only in caught.value.what
    assert version(home) == "1"
    server.heal()
    assert run(server, home).outcome == "updated"
    count_trials("S3", 1)


def test_update_over_https_believes_the_given_certificates_alone(
    company: Company, home: Path, tmp_path: Path, socket_enabled: None
) -> None:
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with: apt-get install openssl")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=shop"]
    subprocess.run([*make, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    with release_server(company.folder, (cert, key)) as server:
        with pytest.raises(UnavailableError, match="ConnectError"):
            run(server, home)
        assert server.asked == []
        assert run(server, home, ca=cert).outcome == "updated"
    with pytest.raises(InputError, match="certificates") as caught:
        HttpSource("https://head-office.example", ca=tmp_path / "none.pem")
    assert "update_ca" in caught.value.hint


def test_server_that_is_not_there_is_one_sentence(home: Path, server: ReleaseServer) -> None:
    with release_server(server.folder) as gone:
        pass
    with pytest.raises(UnavailableError, match="cannot be read"):
        run(gone, home)
    assert version(home) == "1"


@pytest.mark.parametrize(
    "url", ["", "releases", "ftp://host/x", "https://", "http://[", "http://host:port/", "https://\x00/", "http:///x"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not an http or https address"):
        HttpSource(url)


def test_address_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(UsageError) as caught:
        HttpSource("https://me:geheim@host/releases")
    assert "geheim" not in f"{caught.value} {caught.value.hint}"


def test_addresses_are_told_from_folders() -> None:
    assert all(map(is_address, ("http://a", "https://a/b", "HTTPS://A")))
    assert not any(map(is_address, ("/media/stick", "release", "http", "C:\\release", "ftp://a")))


class Clock:
    """A clock that moves when it is told to, or when somebody waits."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.waited: list[float] = []

    def now(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.seconds += seconds

    def check(self) -> None:
        pass


class Pieces:
    """A source that takes so many seconds for each piece."""

    where = "somewhere"

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.clock, self.seconds = clock, seconds

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        for _ in range(int(name)):
            self.clock.seconds += self.seconds
            yield bytes(1024)


@pytest.mark.parametrize(("rate", "each", "seconds"), [(1024, 0.0, 60.0), (4096, 0.0, 15.0), (1024, 2.0, 120.0)])
def test_rate_is_kept_over_all_files_together(rate: int, each: float, seconds: float) -> None:
    """60 KiB in six files take a minute at 1 KiB/s; a line that is slower than the rate waits for nothing."""
    clock = Clock()
    source = PacedSource(Pieces(clock, each), bytes_per_s=rate, clock=clock)
    assert sum(len(piece) for _ in range(6) for piece in source.read("10")) == 60 * 1024
    assert clock.seconds - 1000 == pytest.approx(seconds)
    assert bool(clock.waited) == (each == 0)


def test_rate_of_nought_is_none() -> None:
    clock = Clock()
    assert len(list(PacedSource(Pieces(clock), bytes_per_s=0, clock=clock).read("100"))) == 100
    assert clock.waited == []


def test_rate_that_was_not_used_is_not_made_up_for() -> None:
    """After an hour without a byte the next file comes no faster than ever."""
    clock = Clock()
    source = PacedSource(Pieces(clock), bytes_per_s=1024, clock=clock)
    list(source.read("10"))
    clock.seconds += 3600
    before = clock.seconds
    list(source.read("60"))
    assert clock.seconds - before == pytest.approx(60, abs=2)


def test_window_that_closes_stops_a_copy_and_what_was_copied_is_kept(
    company: Company, home: Path, server: ReleaseServer
) -> None:
    times = [datetime.fromisoformat(f"2026-11-30T{hour}") for hour in ("05:59", "06:00")]
    open_for = 7

    def local() -> datetime:
        nonlocal open_for
        open_for -= 1
        return times[open_for < 0]

    pace = WindowPace("22:00-06:00", local=local)
    with HttpSource(server.url) as source, pytest.raises(UnavailableError, match="from 22:00 to 06:00"):
        update(PacedSource(source, bytes_per_s=0, clock=pace), home, good)
    assert version(home) == "1"
    night = WindowPace("22:00-06:00", local=lambda: times[0] + timedelta(hours=20))
    with HttpSource(server.url) as source:
        assert update(PacedSource(source, bytes_per_s=0, clock=night), home, good).outcome == "updated"


def test_request_of_a_test_cannot_leave_the_folder(server: ReleaseServer) -> None:
    with HttpSource(server.url) as source, pytest.raises(MissingError):
        list(source.read("../keys/1.root.json"))


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.EIO, UnavailableError, "cannot be read (Input/output error)"),
        (errno.ENODEV, UnavailableError, "cannot be read (No such device)"),
        (errno.EACCES, UsageError, "may not be read by this user"),
        (errno.EPERM, UsageError, "may not be read by this user"),
        (errno.ENOENT, MissingError, "is missing"),
        (errno.ELOOP, MissingError, "is missing"),
    ],
)
def test_stick_that_cannot_be_read_is_not_called_a_missing_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[EdgedeskError],
    said: str,
    count_trials: Count,
) -> None:
    """F6: a worn stick, one mounted for somebody else, and a file that is really not there."""

    def fail(_root: Path, name: str) -> None:
        raise OSError(number, os.strerror(number), name)

    monkeypatch.setattr("runtime.bundle.sources.open_below", fail)
    with pytest.raises(kind) as caught:
        next(FolderSource(tmp_path).read("model/文件.gguf"))
    assert caught.value.what == f"'model/文件.gguf' {said}"
    assert caught.value.where == str(tmp_path)
    assert caught.value.hint
    count_trials("F6", 1)


def test_file_of_a_stick_that_is_not_there_is_missing_and_a_stick_that_is_gone_is_gone(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "file").write_text("x")
    for name in ("none", "none/none", "file/none", "x" * 300):
        with pytest.raises(MissingError, match="is missing"):
            next(FolderSource(stick).read(name))
    with pytest.raises(UnavailableError, match="not there any more"):
        next(FolderSource(tmp_path / "pulled out").read("file"))
