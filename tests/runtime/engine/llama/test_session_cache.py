"""Conversations between their questions: what must leave the memory goes to disk and comes back, or is read again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.engine.core.composition import KvKey, ModelIdentity
from runtime.engine.core.generation import Stats, TextPiece
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.llama.kv_cache import KvCache
from runtime.engine.llama.kv_store import NoKvStore, Payload
from runtime.engine.llama.model import LlamaModel, Row
from runtime.engine.llama.session_cache import MIN_TOKENS, SessionCache
from runtime.engine.tools.logits_recorder import LogitsRecorder, TokenRecord
from runtime.prompting.prompt_tokens import Layout, Prompt

NEVER = threading.Event()
NOISE = 0.05
"""What the order of additions makes of a log-probability, with random weights."""
SYSTEM, ARTICLE, OTHER = "Rules of the shop.\n\n", "退货\n30天内可以退货。\n\n", "Delivery\nIt costs 4.90.\n\n"
FIRST = "How long may I keep what I bought before I bring it back to the branch? 我买了一台电视。\n"


def prompt(engine: LlamaEngine, tail: str, article: str = ARTICLE) -> Prompt:
    def encode(text: str) -> tuple[int, ...]:
        return tuple(engine.vocab.encode(text, control=False))

    return Prompt(encode(SYSTEM), (encode(article),), encode(tail))


def opened(
    gguf: Path, folder: Path, layout: Layout, recorder: LogitsRecorder | None = None, **more: object
) -> LlamaEngine:
    given = {"context_tokens": 512, "threads": 1, "slots": 1, "layout": layout, "article_folder": folder / "packs"}
    given["article_coding"] = "f16"  # random weights magnify what a coding loses, and texts are compared here
    options = EngineOptions(gguf, **(given | {"session_folder": folder / "turns"} | more))  # type: ignore[arg-type]
    return LlamaEngine(options, make_sampler=recorder or LogitsRecorder())


def ask(engine: LlamaEngine, asked: Prompt, conversation: str | None = None) -> tuple[str, Stats]:
    generation = engine.generate(asked, SamplingParams(max_tokens=8), NEVER, conversation=conversation)
    return "".join(piece.text for piece in generation), generation.stats


def crowd_out(engine: LlamaEngine, folder: Path) -> None:
    """Fill the memory with others' prompts, and wait for what leaves it to be on disk."""
    for number in range(6):
        ask(engine, prompt(engine, f"{number} " * 120, OTHER), f"other-{number}")
    engine.backend.sessions.wait_for_write()
    assert list(folder.glob("turns/*.pack"))


@pytest.mark.parametrize("layout", ["exact", "parallel", "sequential"])
def test_session_cache_restores_turns_and_the_answer_is_the_same(
    random_gguf: Path, tmp_path: Path, layout: Layout
) -> None:
    with opened(random_gguf, tmp_path, layout) as engine:
        said, _ = ask(engine, prompt(engine, FIRST), "talk")
        crowd_out(engine, tmp_path)
        leases = engine.backend.cache.ledger.leases.values()
        assert not [lease for lease in leases if lease.conversation == "talk"]
        follow_up = prompt(engine, f"{FIRST}{said}\nAnd a fridge? 冰箱呢？\n")
        text, stats = ask(engine, follow_up, "talk")
        read = stats.prompt_tokens - stats.reused_tokens
        assert read <= len(engine.vocab.encode(f"{said}\nAnd a fridge? 冰箱呢？\n", control=False))
    with opened(random_gguf, tmp_path / "plain", layout, session_folder=None) as engine:
        assert ask(engine, follow_up)[0] == text


@pytest.mark.parametrize("layout", ["exact", "parallel"])
def test_session_cache_restores_nothing_for_other_articles_another_conversation_or_a_cut_pack(
    random_gguf: Path, tmp_path: Path, layout: Layout
) -> None:
    def cut() -> None:
        for path in tmp_path.glob("turns/*.pack"):
            path.write_bytes(path.read_bytes()[:-7])

    cases: list[tuple[str, str, Callable[[], None]]] = [
        ("talk", OTHER, lambda: None),
        ("talk-2", ARTICLE, lambda: None),
        ("talk", ARTICLE, cut),
    ]
    for number, (conversation, article, harm) in enumerate(cases):
        with opened(random_gguf, tmp_path, layout) as engine:
            ask(engine, prompt(engine, FIRST), "talk")
            crowd_out(engine, tmp_path)
            harm()
            again = prompt(engine, FIRST + "More?\n", article)
            text, stats = ask(engine, again, conversation)
            tail = len(again.tail) if layout == "parallel" else len(again.tail) + len(again.articles[0])
            assert stats.prompt_tokens - stats.reused_tokens >= tail - 30, number
        with opened(random_gguf, tmp_path / f"plain-{number}", layout, session_folder=None) as engine:
            assert ask(engine, again)[0] == text


def test_session_packs_are_deleted_at_start_and_at_close_and_keep_their_budget(
    random_gguf: Path, tmp_path: Path
) -> None:
    """Part of S11 and S13: what customers wrote is on disk only while the engine runs, for its owner only."""
    with opened(random_gguf, tmp_path, "exact") as engine:
        ask(engine, prompt(engine, FIRST), "talk")
        crowd_out(engine, tmp_path)
        packs = list(tmp_path.glob("turns/*.pack"))
        size = max(path.stat().st_size for path in packs)
        assert {path.stat().st_mode & 0o777 for path in packs} == {0o600}
        # The token ids in them are the customers' words: decoded they are found, so that their absence means something.
        ids = np.frombuffer(b"".join(path.read_bytes() for path in packs), dtype="<i4")
        text = b"".join(engine.vocab.piece(int(token)) for token in ids if 0 <= token < engine.vocab.size)
        assert b"I keep what I bought" in text or b"0 0 0 " in text
    assert not list(tmp_path.glob("turns/*"))
    (tmp_path / "turns" / "left-by-a-crash.pack").write_bytes(b"x")
    (tmp_path / "turns" / ".left-half-written.pack.abc").write_bytes(b"x")
    with opened(random_gguf, tmp_path, "exact", session_bytes=2 * size + 2000) as engine:
        assert not list(tmp_path.glob("turns/*.pack"))
        crowd_out(engine, tmp_path)
        assert sum(path.stat().st_size for path in tmp_path.glob("turns/*.pack")) <= 2 * size + 2000
    assert (tmp_path / "turns").stat().st_mode & 0o777 == 0o700


def test_kv_cache_holds_the_newest_turns_of_a_conversation_once(random_gguf: Path, tmp_path: Path) -> None:
    with opened(random_gguf, tmp_path, "parallel") as engine:
        tail = FIRST
        for _ in range(3):
            said, stats = ask(engine, prompt(engine, tail), "talk")
            tail += f"{said}\nAnd?\n"
        assert stats.reused_tokens >= stats.prompt_tokens - len(engine.vocab.encode(f"{said}\nAnd?\n", control=False))
        leases = engine.backend.cache.ledger.leases.values()
        assert len([lease for lease in leases if lease.conversation == "talk"]) == 1


def score(
    engine: LlamaEngine, recorder: LogitsRecorder, asked: Prompt, conversation: str | None = None
) -> list[TokenRecord]:
    params = SamplingParams(max_tokens=8)
    records = recorder.watch(params)
    generation = engine.generate(asked, params, NEVER, conversation=conversation)
    assert all(isinstance(piece, TextPiece) for piece in generation)
    return records[: generation.stats.answer_tokens]


@pytest.mark.parametrize("layout", ["exact", "parallel", "sequential"])
def test_session_cache_gives_each_conversation_what_it_would_get_alone(
    random_gguf: Path, tmp_path: Path, layout: Layout
) -> None:
    chance, tails, asked = random.Random(7), dict.fromkeys("abcdefgh", ""), []
    articles = (ARTICLE, OTHER)
    recorder = LogitsRecorder()
    with opened(random_gguf, tmp_path, layout, recorder, context_tokens=256, slots=2) as engine:
        for number in range(60):
            name = chance.choice(list(tails))
            tails[name] += f"{number} 为什么?\n" * (1 + 4 * (not tails[name]))
            if len(tails[name].encode()) > 170:
                tails[name] = f"{number} 为什么?\n" * 5
            one = prompt(engine, tails[name], articles[ord(name) % 2])
            if chance.random() < 0.3:
                typed = Prompt(one.system, one.articles, one.tail[:-3])
                list(engine.prefetch(typed, NEVER, conversation=name))
            engine.backend.sessions.wait_for_write()  # what is still being written counts as absent
            found = score(engine, recorder, one, name)
            asked.append((one, found))
            said = b"".join(engine.vocab.piece(record.token) for record in found)
            tails[name] += said.decode("utf-8", "ignore") + "\n"
        assert engine.backend.sessions.restored_tokens
    with opened(random_gguf, tmp_path / "plain", layout, recorder, context_tokens=256, session_folder=None) as engine:
        for one, found in asked:
            for ours, plain in zip(found, score(engine, recorder, one), strict=False):
                if ours.token != plain.token:  # two as likely as each other, to the last digits
                    assert plain.lead < NOISE
                    break
                assert abs(ours.logprobs[ours.token] - plain.logprobs[plain.token]) < NOISE


def test_session_cache_has_one_write_in_flight_and_drops_what_comes_meanwhile(random_gguf: Path) -> None:
    """A queue of copies would eat the memory that evicting is to free."""

    class SlowStore(NoKvStore):
        keeps = True

        def __init__(self) -> None:
            self.writes = 0
            self.done = threading.Event()

        def write(self, key: KvKey, payload: Payload) -> bool:
            self.writes += 1
            return self.done.wait(30)

    model = LlamaModel(random_gguf, context_tokens=256, slots=1, sequences=4, threads=1, batch_tokens=128)
    cache, store = KvCache(model, 4), SlowStore()
    sessions = SessionCache(cache, store, ModelIdentity("w", "b", "f16", "exact"))
    for number in range(3):
        lease = cache.ledger.open()
        lease.conversation = f"talk-{number}"
        model.decode([Row(65, place, lease.id, place == MIN_TOKENS) for place in range(MIN_TOKENS + 1)])
        cache.ledger.extend(lease, [65] * (MIN_TOKENS + 1))
        sessions.save(lease)
        cache.release(lease)
    store.done.set()
    sessions.wait_for_write()
    assert store.writes == 1
    sessions.close()
    model.close()
