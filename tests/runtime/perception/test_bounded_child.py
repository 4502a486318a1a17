"""Work on strangers' bytes ends in an answer or one error, in bounded memory and time, and leaves nothing behind."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.base.child_process import child_environment
from runtime.errors import InputError, MissingError, UnavailableError
from runtime.perception.bounded_child import ChildHandle, ChildLimits, need_extra, run_bounded
from tests.support.paths import ROOT

LIMITS = ChildLimits(wall_s=120, memory_mib=200, threads=2)


def run(do: str, data: bytes = b"", limits: ChildLimits = LIMITS, **more: str) -> object:
    return run_bounded("tests.support.bounded_work", {"do": do, **more}, data, limits, where="photo.png")


def test_child_result_is_whole_whatever_its_libraries_print() -> None:
    assert run("measure", b"\n" * 3_000_000) == {"bytes": 3_000_000, "threads": "2"}


def test_child_error_keeps_its_words_and_gets_the_place() -> None:
    with pytest.raises(InputError, match=r"photo\.png: no such thing") as caught:
        run("refuse")
    assert caught.value.hint == "do something else"


def test_child_that_wants_more_memory_than_its_bound_is_an_error() -> None:
    with pytest.raises(InputError, match="too much memory"):
        run("fill memory")


def test_child_that_never_ends_is_ended() -> None:
    with pytest.raises(InputError, match=r"took more than 1 s"):
        run("never end", limits=ChildLimits(wall_s=1, memory_mib=200))


@pytest.mark.parametrize("begun", [False, True], ids=["before it begins", "at work"])
def test_child_that_nobody_waits_for_is_ended(begun: bool) -> None:
    held = threading.Event()

    class Watched(ChildHandle):
        def hold(self, process: subprocess.Popen[bytes]) -> None:
            super().hold(process)
            held.set()

    handle = Watched()
    ending = threading.Thread(target=lambda: (held.wait() if begun else None, handle.end()))
    ending.start()
    if not begun:
        ending.join()
    with pytest.raises(UnavailableError, match="reading was cancelled"):
        run_bounded("tests.support.bounded_work", {"do": "never end"}, b"", LIMITS, where="q.wav", handle=handle)
    ending.join()


@pytest.mark.parametrize("do", ["die", "end silently", "answer without end"])
def test_child_that_dies_or_says_no_sense_is_one_error(do: str) -> None:
    with pytest.raises(InputError, match=r"photo\.png: it cannot be read"):
        run(do)


def test_child_ends_with_whoever_asked_for_it() -> None:
    """A signal that ends the caller runs none of its clean-up."""
    ask = (
        "from runtime.perception.bounded_child import ChildLimits, run_bounded\n"
        "run_bounded('tests.support.bounded_work', {'do': 'never end'}, b'', ChildLimits(300, 200), where='a.png')"
    )
    caller = subprocess.Popen([sys.executable, "-c", ask], cwd=ROOT, env=child_environment())
    try:
        child = wait_for(lambda: Path(f"/proc/{caller.pid}/task/{caller.pid}/children").read_text().strip())
        # The last of the bounds: from here on it works.
        wait_for(lambda: Path(f"/proc/{child}/oom_score_adj").read_text().strip() == "500")
    finally:
        caller.kill()
        caller.wait()
    wait_for(lambda: is_gone(child))


def is_gone(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < end
        threading.Event().wait(0.05)
    return found


def test_child_writes_no_file(tmp_path: Path) -> None:
    """Nothing of a picture or a recording reaches the disk, whatever a library does."""
    assert run("write", path=str(tmp_path / "kept")) == errno.EFBIG
    assert (tmp_path / "kept").read_bytes() == b""


def test_child_has_no_network() -> None:
    assert run("connect") == errno.EACCES


def test_extra_that_is_missing_is_named_with_its_command() -> None:
    need_extra("json", what="this")
    with pytest.raises(MissingError, match="'perception', which is not installed") as caught:
        need_extra("json", "no_such_module", what="reading pictures")
    assert "pip install 'edgedesk[perception]'" in caught.value.hint
