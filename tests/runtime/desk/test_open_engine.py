"""The engine of a branch: what it keeps on disk, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.base.settings import Settings
from runtime.bundle.generations import current_bundle
from runtime.desk.open_engine import FOLDER, SESSION_FOLDER, engine_ahead, engine_options, open_engine
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.session_cache import MIN_TOKENS
from runtime.errors import EdgedeskError, UnavailableError
from tests.support.server import wait_for

NEVER = threading.Event()


def test_turns_are_not_kept_on_disk_where_the_journal_is_encrypted(
    make_home: Callable[..., Path], random_gguf: Path, tmp_path: Path
) -> None:
    """Part of S11: packs hold customers' words as token ids, in clear."""
    home = make_home(random_gguf)
    bundle = current_bundle(home)
    plain = engine_options(bundle, home, Settings(threads=1), "exact")
    assert plain.session_folder == home / SESSION_FOLDER
    assert plain.article_folder == home / FOLDER
    for settings in (Settings(threads=1, journal_key=tmp_path / "key"), Settings(threads=1, conversations_mib=0)):
        assert engine_options(bundle, home, settings, "exact").session_folder is None


@pytest.mark.parametrize("words", ["I am Ms Wetherby, wetherby@example.com. ", "我是王小姐，电话13800138000。"])
def test_turns_on_disk_do_not_outlive_the_engine(make_home: Callable[..., Path], random_gguf: Path, words: str) -> None:
    """Part of S11: what customers wrote is in no file after the engine has closed, nor after the next start."""
    home = make_home(random_gguf)
    bundle, folder = current_bundle(home), home / SESSION_FOLDER
    folder.mkdir(parents=True)
    (folder / "left-by-a-crash.pack").write_bytes(b"token ids")
    with open_engine(bundle, home, Settings(threads=1, slots=1)) as engine:
        assert not list(folder.iterdir())
        text, count = words, 0
        while count < 2 * MIN_TOKENS:
            text += words
            count = len(engine.vocab.encode(text, control=False))
        # Conversations one after the other, until the memory is full and the first ones have left it.
        for number in range(60):
            tokens = engine.vocab.encode(f"{number} {text * 4}", control=False)[: engine.context_tokens - 8]
            params = SamplingParams(max_tokens=2)
            list(engine.generate(tokens, params, NEVER, conversation=f"talk-{number}"))
            if packs := list(folder.glob("*.pack")):
                break
        assert packs, "nothing was written, so nothing was tried"
        assert {path.stat().st_mode & 0o777 for path in packs} == {0o600}
    assert not list(folder.iterdir())


def test_engine_that_is_opened_ahead_is_there_when_it_is_wanted_and_closed_at_the_end(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    bundle, settings = current_bundle(home), Settings(threads=1, slots=1)
    with engine_ahead(bundle, home, settings) as wanted:
        engine = wanted()
        tokens = engine.vocab.encode("How long?", control=False)
        assert list(engine.generate(tokens, SamplingParams(max_tokens=4), NEVER))
    with pytest.raises(UnavailableError):
        list(engine.generate(tokens, SamplingParams(max_tokens=4), NEVER))


def test_engine_that_is_opened_ahead_raises_where_it_is_wanted_and_is_not_waited_for_by_a_block_that_fails(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    home = make_home(scripted_gguf)
    bundle, settings = current_bundle(home), Settings(threads=1, slots=1)
    with pytest.raises(RuntimeError, match="the other part"), engine_ahead(bundle, home, settings):
        raise RuntimeError("the other part")
    wait_for(lambda: not any(thread.name == "engine-start" for thread in threading.enumerate()))
    bundle.model_path.write_bytes(b"no model")
    with engine_ahead(bundle, home, settings) as wanted, pytest.raises(EdgedeskError):
        wanted()
