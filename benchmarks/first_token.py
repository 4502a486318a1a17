"""Claim: with compiled articles the first word comes 20 times sooner than from llama-server, typed ahead 60 times.

A stream of different questions, each with 3 of 60 articles (about 800 tokens), drawn as Zipf would have them. The peer
gets each prompt as one list of tokens, with its prompt cache and four slots on. The project has its articles compiled
as an installation leaves them, on disk; whichever comes up for the first time is loaded within the time measured.
Typed: at 40 words a minute with a pause of 0.7 s before Enter, counted from Enter; every pause and every sentence's end
begins a draft, as the console has it, and what was written for nothing is counted, a question. Beside: how much longer
a short answer takes while a draft is written for somebody else. Only the engine does either.

    python benchmarks/first_token.py [--model 135m|3b] [--layout parallel|sequential] [--threads 2] [--quick] [--json]

The 3B shape takes long: `--state FOLDER --sitting compile`, then `asked`, `typed`, `beside` measures in parts.

The ratios are asked of the 3B shape; on the 135M model reading is so cheap that they are smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _harness import (
    NEVER,
    SHOP,
    Bar,
    Peer,
    Run,
    ask_engine,
    begin,
    in_turns,
    main,
    median,
    model_file,
    parts,
    peer_folder,
    project,
    quantile,
    shop_texts,
    spread,
    zipf,
)
from _typist import calls, key_times

from runtime.base.jsonl import read_rows
from runtime.base.progress import bar
from runtime.base.settings import Settings
from runtime.desk.answer_ahead import AheadLedger
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.errors import UnavailableError
from runtime.text.records import Question

BARS = {
    "p50_ratio": Bar(least=20.0),
    "p95_ratio": Bar(least=10.0),
    "ahead_p50_ratio": Bar(least=60.0),
    "ahead_p50_s": Bar(most=0.15),
    "ahead_p95_s": Bar(most=1.0),
    "beside_ratio": Bar(most=1.05),
}
AHEAD, ALONE, BESIDE = "engine, typed", "answer alone", "answer beside a draft"
"""Names in the table, and in the file of `--state`."""
AHEAD_TOKENS = int(Settings.model_fields["draft_ahead_tokens"].default)
DRAFT = SamplingParams(max_tokens=48)
BESIDE_QUESTIONS, QUICK_TYPED = 8, 3
ARTICLES, SHOWN, ARTICLE_TOKENS = 60, 3, 265
CONTEXT_TOKENS = 2048
WRITE_TOKENS = 8
TIMES = "times.json"


@dataclass(frozen=True)
class Asked:
    """A question, and the articles found for it."""

    text: str
    articles: tuple[int, ...]


class Prompts:
    """Lays questions out in tokens, the same for both contestants."""

    def __init__(self, engine: LlamaEngine) -> None:
        self._vocab = engine.vocab
        rules = (SHOP / "en" / "house-rules.md").read_text(encoding="utf-8")
        self.system = self._encode(f"<|im_start|>system\n{rules}\n")
        texts = shop_texts("en")
        # A short one is filled up with the next: all of one length, so that the draw does not decide the figures.
        pairs = zip(texts, texts[1:] + texts[:1], strict=True)
        self.articles = [self._encode(f"{one}\n{two}\n")[:ARTICLE_TOKENS] for one, two in pairs][:ARTICLES]

    def _encode(self, text: str) -> list[int]:
        return self._vocab.encode(text, control=True)

    def parts(self, asked: Asked, typed: str | None = None) -> Any:
        """The prompt of a question, or of what is typed of it so far."""
        head = "<|im_end|>\n<|im_start|>user\n"
        tail = f"{head}{asked.text}<|im_end|>\n<|im_start|>assistant\n" if typed is None else head + typed
        return parts(self.system, [self.articles[number] for number in asked.articles], self._encode(tail))


def stream(count: int) -> Iterator[Asked]:
    """Different questions of the example shop, each with articles drawn by how often they would be asked for."""
    chance = random.Random(11)  # noqa: S311 - a choice of questions, no secret
    questions = [
        row.question for path in sorted((SHOP / "en").glob("questions*.jsonl")) for row in read_rows(Question, path)
    ]
    chance.shuffle(questions)
    for text in list(dict.fromkeys(questions))[:count]:
        chosen: dict[int, None] = {}
        while len(chosen) < SHOWN:
            chosen[chance.choices(range(ARTICLES), zipf(ARTICLES))[0]] = None
        yield Asked(text, tuple(chosen))


def compile_shown(engine: Any, prompts: Prompts, questions: Sequence[Asked]) -> float:
    """Compile every article that will be shown; returns the seconds each took."""
    shown = sorted({number for asked in questions for number in asked.articles})
    began = time.monotonic()
    with bar("compiling the articles", len(shown)) as advance:
        for number in shown:
            list(engine.compile(parts(prompts.system, [prompts.articles[number]], []), NEVER))
            advance(1)
    return (time.monotonic() - began) / len(shown)


def type_and_ask(engine: LlamaEngine, prompts: Prompts, asked: Asked, number: int, ledger: AheadLedger) -> float:
    """Replay the typing as the console sends it; seconds from Enter to the first text."""
    name, keys = f"c{number}", key_times(asked.text, number)
    began = time.monotonic()

    def wait_until(at: float) -> None:
        time.sleep(max(0.0, began + at - time.monotonic()))

    for call in calls(asked.text, keys):
        wait_until(call.at)
        if call.whole:
            prompt = prompts.parts(Asked(call.text, asked.articles))
            ledger.begun(engine.draft(prompt, DRAFT, NEVER, conversation=name, ahead_tokens=AHEAD_TOKENS), draft=True)
        elif call.text:
            prompt = prompts.parts(asked, call.text)
            ledger.begun(engine.prefetch(prompt, NEVER, conversation=name), draft=False)
    wait_until(keys[-1])
    entered = time.monotonic()
    generation = engine.generate(prompts.parts(asked), DRAFT, NEVER, conversation=name)
    next(iter(generation))
    seconds = time.monotonic() - entered
    generation.close()
    for _ in generation:
        pass
    if generation.stats.ahead_tokens:
        ledger.used(generation.stats.ahead_tokens)
    return seconds


def whole_s(engine: LlamaEngine, prompts: Prompts, asked: Asked, number: int, *, typing: bool) -> float:
    """Seconds to the end of a short answer, alone or while somebody else types; the same question for both."""
    if typing:
        # Begun a moment before, so that the question comes into the midst of it.
        text = f"{asked.text} Also, one thing more {number}?"
        engine.draft(
            prompts.parts(Asked(text, asked.articles)),
            DRAFT,
            NEVER,
            conversation="typing",
            ahead_tokens=DRAFT.max_tokens,
        )
        time.sleep(0.1)
    reply = ask_engine(engine, prompts.parts(asked), DRAFT.max_tokens)
    engine.forget("typing")
    return reply.ended - reply.asked


def first_s(engine: Any, prompt: Any, conversation: str | None = None) -> float:
    """Seconds to the engine's first text."""
    return ask_engine(engine, prompt, WRITE_TOKENS, conversation=conversation).first_s


def work(run: Run) -> None:
    """Measure both; with `--state` in as many sittings as one likes."""
    options = run.options
    questions = list(stream(6 if options.quick else options.questions))
    model = model_file(options.model)
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=model.parent)) if options.state is None else ""
        state = options.state or Path(scratch)
        state.mkdir(parents=True, exist_ok=True)
        kept = state / TIMES
        times: dict[str, dict[str, float]] = json.loads(kept.read_text()) if kept.is_file() else {}
        for sitting in SITTINGS if options.sitting == "all" else (options.sitting,):
            with composing(options, model, state / "packs") as engine:
                SITTINGS[sitting](run, engine, model, questions, times)
            kept.write_text(json.dumps(times))
    verdict(run, {name: list(by.values()) for name, by in times.items()})


@contextmanager
def composing(options: argparse.Namespace, model: Path, folder: Path) -> Iterator[LlamaEngine]:
    """The engine as an installation has it; `UnavailableError` where it does not compose."""
    own = {
        "threads": options.threads,
        "context_tokens": CONTEXT_TOKENS,
        "layout": options.layout,
        "article_folder": folder,
    }
    with project(model, **own) as engine:
        if engine.layout != options.layout:
            raise UnavailableError(f"the engine does not compose: {engine.layout_reason}")
        yield engine


Times = dict[str, dict[str, float]]
"""Contestant → number of the question → seconds."""


def compiling(_: Run, engine: LlamaEngine, __: Path, questions: Sequence[Asked], times: Times) -> None:
    """What an installation does."""
    times["an article compiled"] = {"all": compile_shown(engine, Prompts(engine), questions)}


def asked(run: Run, engine: LlamaEngine, model: Path, questions: Sequence[Asked], times: Times) -> None:
    """Every question once; the peer, which takes long, perhaps only the first of them."""
    prompts, threads = Prompts(engine), run.options.threads
    count = len(questions) if run.options.peer_questions is None else run.options.peer_questions
    folder = peer_folder(run) if count else None

    def own(number: int) -> float:
        return keep(times, "engine", number, first_s(engine, prompts.parts(questions[number])))

    with ExitStack() as stack:
        contestants = {"engine": own}
        if folder is not None:
            peer = stack.enter_context(Peer(folder, model, threads=threads, context_tokens=CONTEXT_TOKENS, slots=4))

            def other(number: int) -> float:
                reply = peer.ask(prompts.parts(questions[number]).flat(), WRITE_TOKENS)
                return keep(times, "peer", number, reply.first_s)

            contestants["peer"] = other
        in_turns(count, contestants)
    for number in range(count, len(questions)):
        own(number)


def typed(run: Run, engine: LlamaEngine, _: Path, questions: Sequence[Asked], times: Times) -> None:
    """Every question once, typed; in a second sitting only those that were not."""
    prompts, ledger = Prompts(engine), AheadLedger()
    known = times.get(AHEAD, {})
    chosen = questions[:QUICK_TYPED] if run.options.quick else questions  # people type slowly
    left = [(number, one) for number, one in enumerate(chosen) if str(number) not in known]
    with bar("typing the questions", len(left)) as advance:
        for number, one in left:
            keep(times, AHEAD, number, type_and_ask(engine, prompts, one, number, ledger))
            advance(1)
    if left:
        counts = ledger.counts()
        run.row("written ahead, a question", f"{counts.drafts / len(left):.1f} drafts begun")
        run.figures |= {
            "ahead_used": counts.used / len(left),
            "ahead_tokens_wasted": counts.tokens_wasted / len(left),
            "ahead_processor_s": counts.processor_s / len(left),
        }


def beside(run: Run, engine: LlamaEngine, __: Path, questions: Sequence[Asked], times: Times) -> None:
    """Somebody waits for a whole answer, alone and while a draft is written for somebody who types."""
    prompts = Prompts(engine)

    def one(number: int, name: str, *, typing: bool) -> float:
        return keep(times, name, number, whole_s(engine, prompts, questions[number], number, typing=typing))

    count = min(QUICK_TYPED if run.options.quick else BESIDE_QUESTIONS, len(questions))
    with bar("reading the questions", count) as advance:  # before, so that both find the same in memory
        for number in range(count):
            whole_s(engine, prompts, questions[number], number, typing=False)
            advance(1)
    in_turns(
        count,
        {
            ALONE: lambda number: one(number, ALONE, typing=False),
            BESIDE: lambda number: one(number, BESIDE, typing=True),
        },
    )


SITTINGS = {"compile": compiling, "asked": asked, "typed": typed, "beside": beside}


def keep(times: Times, name: str, number: int, seconds: float) -> float:
    """Take down, and hand on."""
    times.setdefault(name, {})[str(number)] = seconds
    return seconds


def verdict(run: Run, times: dict[str, list[float]]) -> None:
    """The table, and the figures as far as everything was measured."""
    run.row("first text after", "median (range)", "p95", "questions")
    for name, values in times.items():
        run.row(name, spread(values, " s"), f"{quantile(values, 0.95):.3g} s", str(len(values)))
    measured = {name: (median(values), quantile(values, 0.95)) for name, values in times.items() if values}
    for name, figure in (("engine", ""), ("peer", "peer_"), (AHEAD, "ahead_")):
        if name in measured:
            run.figures[f"{figure}p50_s"], run.figures[f"{figure}p95_s"] = measured[name]
    if "peer" in measured:
        (peer_p50, peer_p95), missing = measured["peer"], (float("nan"), float("nan"))
        p50, p95 = measured.get("engine", missing)
        ahead = measured.get(AHEAD, missing)[0]
        ratios = {"p50_ratio": peer_p50 / p50, "p95_ratio": peer_p95 / p95, "ahead_p50_ratio": peer_p50 / ahead}
        run.figures |= {name: ratio for name, ratio in ratios.items() if ratio == ratio}
    if measured.keys() >= {ALONE, BESIDE}:
        run.figures["beside_ratio"] = measured[BESIDE][0] / measured[ALONE][0]
    run.details |= {"seconds": times, "machine_cores": os.cpu_count()}


def more_options(parser: argparse.ArgumentParser) -> None:
    """How articles are put together; how much, and in how many sittings."""
    parser.add_argument("--layout", default="parallel", choices=["parallel", "sequential"])
    parser.add_argument("--questions", type=int, default=48)
    parser.add_argument("--peer-questions", type=int, help="ask the peer only the first of them (the 3b: 20 s each)")
    parser.add_argument("--sitting", default="all", choices=["all", *SITTINGS], help="a part of the run")
    parser.add_argument("--state", type=Path, help="keeps packs and times for the next sitting")


if __name__ == "__main__":
    raise SystemExit(main(begin("first_token", __doc__, BARS, more_options), work))
