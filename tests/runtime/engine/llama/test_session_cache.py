"""Conversations between their questions: what must leave the memory goes to disk and comes back, or is read again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.engine.core.generation import Stats
from runtime.engine.core.sampling_params import SamplingParams, Scored
from runtime.engine.llama.engine import LlamaEngine
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


def opened(gguf: Path, folder: Path, layout: Layout, **more: object) -> LlamaEngine:
    given = {"context_tokens": 512, "threads": 1, "slots": 1, "layout": layout, "folder": folder / "packs"}
    return LlamaEngine(gguf, **(given | {"talk_folder": folder / "talks"} | more))  # type: ignore[arg-type]


def ask(engine: LlamaEngine, asked: Prompt, conversation: str | None = None) -> tuple[str, Stats]:
    generation = engine.generate(asked, SamplingParams(max_tokens=8), NEVER, conversation=conversation)
    return "".join(piece.text for piece in generation), generation.stats


def crowd_out(engine: LlamaEngine, folder: Path) -> None:
    """Fill the memory with others' prompts, and wait for what leaves it to be on disk."""
    for number in range(6):
        ask(engine, prompt(engine, f"{number} " * 120, OTHER), f"other-{number}")
    talks = engine._runner.talks
    assert talks is not None
    talks._writer.submit(int).result()
    assert list(folder.glob("talks/*.pack"))


@pytest.mark.parametrize("layout", ["exact", "parallel", "sequential"])
def test_turns_come_back_from_disk_and_the_answer_is_the_same(
    random_gguf: Path, tmp_path: Path, layout: Layout
) -> None:
    with opened(random_gguf, tmp_path, layout) as engine:
        said, _ = ask(engine, prompt(engine, FIRST), "talk")
        crowd_out(engine, tmp_path)
        held = engine._runner.memory.ledger.held.values()
        assert not [one for one in held if one.conversation == "talk"]
        follow_up = prompt(engine, f"{FIRST}{said}\nAnd a fridge? 冰箱呢？\n")
        text, stats = ask(engine, follow_up, "talk")
        read = stats.prompt_tokens - stats.reused_tokens
        assert read <= len(engine.vocab.encode(f"{said}\nAnd a fridge? 冰箱呢？\n", control=False))
    with opened(random_gguf, tmp_path / "plain", layout, talk_folder=None) as engine:
        assert ask(engine, follow_up)[0] == text


@pytest.mark.parametrize("layout", ["exact", "parallel"])
def test_other_articles_another_conversation_and_damage_bring_nothing_back(
    random_gguf: Path, tmp_path: Path, layout: Layout
) -> None:
    def damage() -> None:
        for path in tmp_path.glob("talks/*.pack"):
            data = bytearray(path.read_bytes())
            data[-7] ^= 4
            path.write_bytes(data)

    cases: list[tuple[str, str, Callable[[], None]]] = [
        ("talk", OTHER, lambda: None),
        ("talk-2", ARTICLE, lambda: None),
        ("talk", ARTICLE, damage),
    ]
    for number, (conversation, article, harm) in enumerate(cases):
        with opened(random_gguf, tmp_path, layout) as engine:
            ask(engine, prompt(engine, FIRST), "talk")
            crowd_out(engine, tmp_path)
            engine._runner.talks._store._checked.clear()  # type: ignore[union-attr]
            harm()
            again = prompt(engine, FIRST + "More?\n", article)
            text, stats = ask(engine, again, conversation)
            tail = len(again.tail) if layout == "parallel" else len(again.tail) + len(again.articles[0])
            assert stats.prompt_tokens - stats.reused_tokens >= tail - 30, number
        with opened(random_gguf, tmp_path / f"plain-{number}", layout, talk_folder=None) as engine:
            assert ask(engine, again)[0] == text


def test_the_folder_is_emptied_at_the_start_and_its_budget_kept(random_gguf: Path, tmp_path: Path) -> None:
    with opened(random_gguf, tmp_path, "exact") as engine:
        ask(engine, prompt(engine, FIRST), "talk")
        crowd_out(engine, tmp_path)
    size = max(path.stat().st_size for path in tmp_path.glob("talks/*.pack"))
    with opened(random_gguf, tmp_path, "exact", talk_bytes=2 * size + 2000) as engine:
        assert not list(tmp_path.glob("talks/*.pack"))
        crowd_out(engine, tmp_path)
        assert sum(path.stat().st_size for path in tmp_path.glob("talks/*.pack")) <= 2 * size + 2000
    assert (tmp_path / "talks").stat().st_mode & 0o777 == 0o700


def test_a_conversation_holds_its_newest_turns_once(random_gguf: Path, tmp_path: Path) -> None:
    with opened(random_gguf, tmp_path, "parallel") as engine:
        tail = FIRST
        for _ in range(3):
            said, stats = ask(engine, prompt(engine, tail), "talk")
            tail += f"{said}\nAnd?\n"
        assert stats.reused_tokens >= stats.prompt_tokens - len(engine.vocab.encode(f"{said}\nAnd?\n", control=False))
        held = [one for one in engine._runner.memory.ledger.held.values() if one.conversation == "talk"]
        assert len(held) == 1


def score(engine: LlamaEngine, asked: Prompt, conversation: str | None = None) -> list[Scored]:
    params = SamplingParams(max_tokens=8, logprobs=2)
    generation = engine.generate(asked, params, NEVER, conversation=conversation)
    return [one for piece in generation for one in piece.scored]


@pytest.mark.parametrize("layout", ["exact", "parallel", "sequential"])
def test_however_conversations_come_and_go_each_goes_on_as_if_it_were_alone(
    random_gguf: Path, tmp_path: Path, layout: Layout
) -> None:
    chance, tails, asked, recalled = random.Random(7), dict.fromkeys("abcdefgh", ""), [], 0
    articles = (ARTICLE, OTHER)
    with opened(random_gguf, tmp_path, layout, context_tokens=256, slots=2) as engine:
        talks = engine._runner.talks
        assert talks is not None
        recall = talks.recall

        def counted(*given: Any, **more: int) -> int:
            nonlocal recalled
            found = recall(*given, **more)
            recalled += found > 0
            return found

        talks.recall = counted  # type: ignore[method-assign]
        for number in range(60):
            name = chance.choice(list(tails))
            tails[name] += f"{number} 为什么?\n" * (1 + 4 * (not tails[name]))
            if len(tails[name].encode()) > 170:
                tails[name] = f"{number} 为什么?\n" * 5
            one = prompt(engine, tails[name], articles[ord(name) % 2])
            if chance.random() < 0.3:
                typed = Prompt(one.system, one.articles, one.tail[:-3])
                list(engine.prepare(typed, NEVER, conversation=name))
            talks._writer.submit(int).result()  # what is still being written counts as absent
            found = score(engine, one, name)
            asked.append((one, found))
            tails[name] += b"".join(token.text for token in found).decode("utf-8", "ignore") + "\n"
    assert recalled
    with opened(random_gguf, tmp_path / "plain", layout, context_tokens=256, talk_folder=None) as engine:
        for one, found in asked:
            for ours, plain in zip(found, score(engine, one), strict=False):
                if ours.token != plain.token:  # two as likely as each other, to the last digits
                    assert plain.top[0][2] - plain.top[1][2] < NOISE
                    break
                assert abs(ours.logprob - plain.logprob) < NOISE
