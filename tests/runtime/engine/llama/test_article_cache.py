"""Compiled articles: put together they are what they should be, and any doubt leads to plain reading."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from distill.models.catalogue import cache_folder
from quantize.formats.gguf_writer import write_gguf
from runtime.engine.core.options import ArticleCoding, EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama import self_test as self_test_module
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.llama.model import LlamaModel
from runtime.engine.llama.self_test import self_test
from runtime.engine.tools.logits_recorder import LogitsRecorder, TokenRecord
from runtime.errors import UsageError
from runtime.prompting.prompt_tokens import Layout, Prompt

NEVER = threading.Event()
SYSTEM = "You are the assistant of a shop. Answer from the articles.\n\n"
ARTICLES = (
    "Returns\nYou can return most items within 30 days of delivery.\n\n",
    "配送\n标准配送费为4.90欧元，满60欧元免运费。\n\n",
    "Warranty\nTwo years on everything we sell, five on lamps.\n\n",
)


def prompt(engine: LlamaEngine, articles: tuple[str, ...], question: str) -> Prompt:
    def encode(text: str) -> tuple[int, ...]:
        return tuple(engine.vocab.encode(text, control=False))

    return Prompt(encode(SYSTEM), tuple(map(encode, articles)), encode(question))


@pytest.fixture
def opened(random_gguf: Path, tmp_path: Path) -> Callable[..., LlamaEngine]:
    def make(layout: Layout = "parallel", **more: object) -> LlamaEngine:
        given = {
            "context_tokens": 1024,
            "threads": 1,
            "slots": 3,
            "batch_tokens": 48,
            "article_folder": tmp_path,
            "article_coding": "f16",  # so that what comes from disk is equal; the others have tests of their own
        } | more
        options = EngineOptions(random_gguf, layout=layout, **given)  # type: ignore[arg-type]
        return LlamaEngine(options, make_sampler=RECORDER)

    return make


def ask(engine: LlamaEngine, asked: Prompt, **params: object) -> tuple[str, object]:
    generation = engine.generate(asked, SamplingParams(max_tokens=24, **params), NEVER)  # type: ignore[arg-type]
    return "".join(piece.text for piece in generation), generation.stats


RECORDER = LogitsRecorder()


def logprobs(engine: LlamaEngine, asked: Prompt) -> np.ndarray:
    """Log-probabilities of the first token after a prompt, of an engine whose samplers `RECORDER` makes."""
    params = SamplingParams(max_tokens=1)
    records = RECORDER.watch(params)
    list(engine.generate(asked, params, NEVER))
    return records[0].logprobs


@pytest.mark.parametrize(("layout", "kv_type"), [("parallel", "f16"), ("parallel", "q8_0"), ("sequential", "f16")])
def test_composed_article_gives_the_logits_of_plain_reading(
    opened: Callable[..., LlamaEngine], layout: Layout, kv_type: str
) -> None:
    """One article sees what it sees in plain reading, so nothing may differ but the last digits."""
    with opened("exact", kv_type=kv_type, article_folder=None) as plain, opened(layout, kv_type=kv_type) as composing:
        assert (composing.layout, composing.layout_reason) == (layout, "")
        for article in ARTICLES:
            wanted = logprobs(plain, prompt(plain, (article,), "Q: how long?\nA:"))
            for _ in range(2):  # built, then from memory
                found = logprobs(composing, prompt(composing, (article,), "Q: how long?\nA:"))
                assert np.abs(found - wanted).max() < (0.02 if kv_type == "f16" else 0.3)
    with opened(layout, kv_type=kv_type) as again:  # from disk
        found = logprobs(again, prompt(again, ARTICLES[:1], "Q: how long?\nA:"))
        with opened("exact", kv_type=kv_type, article_folder=None) as plain:
            wanted = logprobs(plain, prompt(plain, ARTICLES[:1], "Q: how long?\nA:"))
        assert np.abs(found - wanted).max() < (0.02 if kv_type == "f16" else 0.3)


@pytest.mark.parametrize("layout", ["parallel", "sequential"])
@pytest.mark.parametrize("coding", ["q5", "q4"])
@pytest.mark.parametrize("checkpoint", ["tiny_llama", "tiny_qwen2"])
def test_coded_articles_from_disk_give_nearly_the_logits_of_f16(
    checkpoint: str, coding: str, layout: Layout, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """English and Chinese, heads that turn in neighbours and in halves: far nearer than without the last article."""
    gguf = tmp_path / "model.gguf"
    write_gguf(request.getfixturevalue(checkpoint), gguf)
    asked = [(ARTICLES, "Q: how long?\nA:"), (ARTICLES[1:2], "问：运费多少？\n答：")]

    def opened(coding: str, folder: str) -> LlamaEngine:
        given = {"context_tokens": 512, "threads": 1, "slots": 1, "layout": layout, "article_coding": coding}
        options = EngineOptions(gguf, article_folder=tmp_path / folder, **given)  # type: ignore[arg-type]
        return LlamaEngine(options, make_sampler=RECORDER)

    with opened("f16", "f16") as engine:
        wanted = [logprobs(engine, prompt(engine, articles, question)) for articles, question in asked]
        without = [logprobs(engine, prompt(engine, articles[:-1], question)) for articles, question in asked]
    with opened(coding, "coded") as engine:
        assert (engine.article_coding, engine.article_coding_reason) == (coding, "")
        for articles, question in asked:
            ask(engine, prompt(engine, articles, question))
    with opened(coding, "coded") as engine:
        for (articles, question), row, other in zip(asked, wanted, without, strict=True):
            whole = prompt(engine, articles, question)
            found = logprobs(engine, whole)
            assert 0 < np.abs(found - row).mean() < 0.2 * np.abs(other - row).mean()
            _, stats = ask(engine, whole)
            assert stats.layout == layout


def test_real_model_answers_from_coded_articles_what_it_answers_from_f16(tmp_path: Path) -> None:
    """Up to the first near tie; behind it the texts are others, and are not compared."""
    found = sorted((cache_folder() / "models" / "smollm2-135m-instruct").glob("*.gguf"))
    if not found:
        pytest.skip("the base model is not cached: edgedesk models fetch smollm2-135m-instruct")
    answers: dict[str, list[TokenRecord]] = {}
    for coding in ("f16", "q5", "q4"):
        given = {"context_tokens": 512, "threads": 1, "slots": 1, "layout": "sequential", "article_coding": coding}
        options = EngineOptions(found[0], article_folder=tmp_path / coding, **given)  # type: ignore[arg-type]
        with LlamaEngine(options) as engine:
            assert (engine.layout, engine.article_coding) == ("sequential", coding)
            for article in ARTICLES:
                list(engine.compile(prompt(engine, (article,), ""), NEVER))
        with LlamaEngine(options, make_sampler=RECORDER) as engine:
            params = SamplingParams(max_tokens=16, lookup=False)
            answers[coding] = RECORDER.watch(params)
            list(engine.generate(prompt(engine, ARTICLES, "Q: How long is the warranty on lamps?\nA:"), params, NEVER))
    for coding in ("q5", "q4"):
        pairs = zip(answers["f16"], answers[coding], strict=False)
        parts = next((ours for ours, other in pairs if ours.token != other.token), None)
        assert parts is None or parts.lead < 1.0


def test_model_that_loses_too_much_keeps_its_articles_more_exactly(
    opened: Callable[..., LlamaEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = self_test_module.MAX_CODING_LOSS
    monkeypatch.setattr(self_test_module, "MAX_CODING_LOSS", 0.0)
    with opened(article_coding="q4") as engine:
        assert engine.layout == "parallel"
        assert engine.article_coding == "f16"
        assert "q4 changes logits by" in engine.article_coding_reason
    monkeypatch.setattr(self_test_module, "MAX_CODING_LOSS", bound)
    with opened(article_coding="q4", kv_type="q8_0") as engine:
        assert (engine.article_coding, engine.article_coding_reason) == ("f16", "keys and values are q8_0 in memory")


def test_article_order_changes_nothing_in_parallel_and_something_in_sequential(
    opened: Callable[..., LlamaEngine],
) -> None:
    there, back = ARTICLES, ARTICLES[::-1]
    with opened("parallel") as engine:
        one, two = (logprobs(engine, prompt(engine, articles, "Q?\nA:")) for articles in (there, back))
        assert np.abs(one - two).max() < 0.02
    with opened("sequential") as engine:
        one, two = (logprobs(engine, prompt(engine, articles, "Q?\nA:")) for articles in (there, back))
        assert np.abs(one - two).max() > 0.02


@pytest.mark.parametrize("layout", ["parallel", "sequential"])
def test_compiled_articles_are_not_read_again_and_answers_stay_the_same(
    opened: Callable[..., LlamaEngine], layout: Layout
) -> None:
    with opened(layout) as engine:
        asked = [prompt(engine, ARTICLES, question) for question in ("Q: one\nA:", "Q: 二\nA:")]
        first, first_stats = ask(engine, asked[0])
        assert first_stats.reused_tokens == 0
        assert first_stats.layout == layout
        _, second_stats = ask(engine, asked[1])
        read = second_stats.prompt_tokens - second_stats.reused_tokens
        assert read <= len(asked[1].tail)
    with opened(layout) as engine:
        again, stats = ask(engine, asked[0])
        assert again == first
        assert stats.prompt_tokens - stats.reused_tokens == len(asked[0].tail) + len(asked[0].system)


@pytest.mark.parametrize("layout", ["parallel", "sequential"])
def test_shared_articles_give_each_agent_what_it_would_get_alone(
    opened: Callable[..., LlamaEngine], layout: Layout, count_trials: Callable[[str, int], None]
) -> None:
    """F15: compiled articles are shared in memory and in builds, and no answer holds another's text."""
    sets = [ARTICLES, ARTICLES[:2], ARTICLES[1:], ARTICLES[2:], ()]

    def scored(engine: LlamaEngine, asked: Prompt) -> list[TokenRecord]:
        params = SamplingParams(max_tokens=24)
        records = RECORDER.watch(params)
        list(engine.generate(asked, params, NEVER))
        return records

    with opened(layout) as engine:
        asked = [prompt(engine, sets[number % 5], f"Q: {number % 4}\nA:") for number in range(20)]
        with ThreadPoolExecutor(5) as agents:
            together = list(agents.map(lambda one: scored(engine, one), asked * 2))
    with opened(layout, slots=1) as alone:
        wanted = [scored(alone, one) for one in asked]
    for mine, other in zip(together, wanted * 2, strict=True):
        # Of two tokens equally likely to the last digits either may be taken, and then the texts part.
        parts = (n for n, (a, b) in enumerate(zip(mine, other, strict=False)) if a.token != b.token)
        end = next(parts, len(other))
        assert end == len(other) or other[end].lead < 0.05
        for a, b in zip(mine[:end], other[:end], strict=True):
            assert abs(a.logprobs[a.token] - b.logprobs[b.token]) < 0.1
    count_trials("F15", len(together))


def test_packs_are_found_at_a_later_start_and_only_a_changed_article_is_built(
    opened: Callable[..., LlamaEngine], tmp_path: Path
) -> None:
    def compile_all(engine: LlamaEngine, articles: tuple[str, ...]) -> list[int]:
        reused = []
        for article in articles:
            generation = engine.compile(prompt(engine, (article,), ""), NEVER)
            assert list(generation) == []
            reused.append(generation.stats.reused_tokens == len(engine.vocab.encode(article, control=False)))
        return reused

    with opened() as engine:
        assert compile_all(engine, ARTICLES) == [False, False, False]
        engine.backend.articles.packs.wait_for_writes()
        assert len(list(tmp_path.glob("*.pack"))) == 3
    with opened() as engine:
        assert compile_all(engine, (*ARTICLES[:2], ARTICLES[2] + "Not on food.\n")) == [True, True, False]


def test_damaged_pack_is_built_again_and_the_answer_is_right(
    opened: Callable[..., LlamaEngine], tmp_path: Path
) -> None:
    with opened() as engine:
        asked = prompt(engine, ARTICLES, "Q?\nA:")
        wanted, _ = ask(engine, asked)
    for number, path in enumerate(sorted(tmp_path.glob("*.pack"))):
        data = bytearray(path.read_bytes())
        data[-1 - 100 * number] ^= 1
        path.write_bytes(data)
    with opened() as engine:
        text, stats = ask(engine, asked)
        assert text == wanted
        assert stats.reused_tokens == 0
    with opened() as engine:
        assert ask(engine, asked)[1].reused_tokens == sum(map(len, asked.articles))


def test_question_comes_before_compiling(opened: Callable[..., LlamaEngine]) -> None:
    with opened(batch_tokens=32) as engine:
        long = prompt(engine, ("word " * 150,), "")
        compiling = [engine.compile(Prompt(long.system, (long.articles[0][:-n],), ()), NEVER) for n in range(1, 6)]
        ask(engine, prompt(engine, ARTICLES[:1], "Q?\nA:"))
        assert not all(one.ended for one in compiling)  # it did not wait for all of them
        for one in compiling:
            list(one)


def test_prompt_without_room_to_compose_is_read_plainly(
    opened: Callable[..., LlamaEngine],
) -> None:
    with opened("sequential", slots=1, context_tokens=700) as engine:
        asked = prompt(engine, tuple(text * 3 for text in ARTICLES), "Q?\nA:")
        _, stats = ask(engine, asked)
        assert (stats.layout, stats.layout_reason) == ("exact", "its articles need too much room")


def test_cancel_leaves_the_articles_of_others_alone(opened: Callable[..., LlamaEngine]) -> None:
    with opened(batch_tokens=16) as engine:
        asked = prompt(engine, ARTICLES, "Q?\nA:")
        gone = threading.Event()
        first = engine.generate(asked, SamplingParams(max_tokens=24), gone)
        second = engine.generate(asked, SamplingParams(max_tokens=24), NEVER)
        gone.set()
        list(first)
        text = "".join(piece.text for piece in second)
        assert second.stats.layout == "parallel"
    with opened(slots=1) as alone:
        assert ask(alone, asked)[0] == text


def test_self_test_rejects_wrong_logits(random_gguf: Path) -> None:
    class Forgetful(LlamaModel):
        def load(self, sequence: int, data: np.ndarray) -> bool:
            return super().load(sequence, np.concatenate([data[:-1000], np.zeros(1000, dtype=np.uint8)]))

    model = Forgetful(random_gguf, context_tokens=256, slots=1, sequences=4, threads=1, batch_tokens=64)
    assert "self-test" in self_test(model, "parallel")
    model.close()
    model = LlamaModel(random_gguf, context_tokens=256, slots=1, sequences=4, threads=1, batch_tokens=64)
    assert self_test(model, "parallel") == self_test(model, "sequential") == ""
    model.close()


def test_model_names_why_it_cannot_be_composed(random_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LlamaModel(random_gguf, context_tokens=256, slots=1, sequences=4, threads=1, batch_tokens=64)
    assert model.cannot_compose("sequential") == ""
    for kind in ("yarn", "longrope"):
        monkeypatch.setattr(model, "metadata", lambda key, kind=kind: kind if key.endswith("scaling.type") else "llama")
        assert kind in model.cannot_compose("sequential")
        assert model.cannot_compose("parallel") == ""
    for name, value, said in (
        ("llama_model_is_recurrent", True, "recurrent"),
        ("llama_model_n_swa", 1024, "window"),
        ("llama_model_rope_type", 8, "dimension"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(model.lib, name, lambda _, value=value: value)
            assert said in model.cannot_compose("parallel")
    model.close()


def test_q8_0_keys_are_never_shifted_and_the_answer_says_so(opened: Callable[..., LlamaEngine]) -> None:
    with opened("sequential", kv_type="q8_0") as engine:
        _, stats = ask(engine, prompt(engine, ARTICLES, "Q?\nA:"))
        assert (stats.layout, stats.layout_reason) == ("exact", "shifting keys kept as q8_0 crashes llama.cpp")
        compiling = engine.compile(prompt(engine, ARTICLES[:1], ""), NEVER)
        assert list(compiling) == []
        assert compiling.stats.layout_reason == stats.layout_reason


def test_unknown_layout_is_named(opened: Callable[..., LlamaEngine]) -> None:
    with pytest.raises(UsageError, match="no layout 'diagonal'"):
        opened("diagonal")
    with pytest.raises(UsageError, match="needs a folder"):
        opened("parallel", article_folder=None)


def test_article_cache_reserves_a_sequence_for_every_article_that_is_still_to_be_read(
    opened: Callable[..., LlamaEngine],
) -> None:
    """Three prompts of eleven new articles each need more sequences than there are: the third waits for the others.

    A request was let in when sequences were free at that moment, though those let in before had not opened theirs yet:
    then there was none in the middle of a step, which ended every answer in work.
    """
    with opened("parallel", context_tokens=512, batch_tokens=16) as engine:
        asked = [
            prompt(engine, tuple(f"{agent}-{number}: x\n" for number in range(11)), "Q?\nA:") for agent in range(3)
        ]
        with ThreadPoolExecutor(3) as agents:
            layouts = list(agents.map(lambda one: ask(engine, one)[1].layout, asked))
    assert layouts == ["parallel"] * 3


def test_self_test_verdict_is_kept_until_what_it_depends_on_changes(
    opened: Callable[..., LlamaEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[str, str]] = []
    examine = self_test_module.examine

    def counted(model: LlamaModel, layout: Layout, coding: ArticleCoding) -> self_test_module.Verdict:
        tried.append((layout, coding))
        return examine(model, layout, coding)

    monkeypatch.setattr(self_test_module, "examine", counted)
    for layout, coding, kv_type, again in (
        ("parallel", "q4", "f16", True),
        ("parallel", "q4", "f16", False),
        ("sequential", "q4", "f16", True),
        ("sequential", "q5", "f16", True),
        ("sequential", "q5", "f16", False),
        ("parallel", "q5", "q8_0", True),
    ):
        before = len(tried)
        with opened(layout, article_coding=coding, kv_type=kv_type) as engine:
            assert engine.layout == layout
            assert engine.article_coding == ("f16" if kv_type == "q8_0" else coding)
        assert tried[before:] == ([(layout, coding)] if again else [])
    (tmp_path / self_test_module.FILE_NAME).write_bytes(b"\xff{half")
    with opened("parallel", article_coding="q5", kv_type="q8_0"):
        assert len(tried) == 5
    monkeypatch.setattr(self_test_module, "VERSION", self_test_module.VERSION + 1)
    with opened("parallel", article_coding="q5", kv_type="q8_0"):
        assert len(tried) == 6
    monkeypatch.setattr(self_test_module, "processor_name", lambda: "another processor")
    with opened("parallel", article_coding="q5", kv_type="q8_0"):
        assert len(tried) == 7


def test_self_test_that_failed_is_tried_again_at_the_next_start(
    opened: Callable[..., LlamaEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(self_test_module, "self_test", lambda *_: "its memory lies")
        with opened("parallel") as engine:
            assert (engine.layout, engine.layout_reason) == ("exact", "its memory lies")
    with opened("parallel") as engine:
        assert (engine.layout, engine.layout_reason) == ("parallel", "")
