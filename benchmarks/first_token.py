"""Claim: with compiled articles the first word comes 20 times sooner than from llama-server, read ahead 60 times.

A stream of different questions, each with 3 of 60 articles (about 800 tokens), drawn as Zipf would have them. The peer
gets each prompt as one list of tokens, with its prompt cache and four slots on. The project has its articles compiled
as an installation leaves them, on disk; whichever comes up for the first time is loaded within the time measured. Read
ahead: the question is typed at 6 characters a second, and counted from Enter; only the engine does that.

    python benchmarks/first_token.py [--model 135m|3b] [--layout parallel|sequential] [--threads 2] [--quick] [--json]

The ratios are asked of the 3B shape; on the 135M model reading is so cheap that they are smaller.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
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

from runtime.engine import Engine
from runtime.errors import UnavailableError
from runtime.progress import bar, say
from runtime.record import Question, read_rows

BARS = {"p50_ratio": Bar(least=20.0), "p95_ratio": Bar(least=10.0), "ahead_p50_ratio": Bar(least=60.0)}
ARTICLES, SHOWN, ARTICLE_TOKENS = 60, 3, 265
CONTEXT_TOKENS = 2048
WRITE_TOKENS = 8
CHARACTERS_PER_S = 6.0


@dataclass(frozen=True)
class Asked:
    """A question, and the articles found for it."""

    text: str
    articles: tuple[int, ...]


class Prompts:
    """Lays questions out in tokens, the same for both contestants."""

    def __init__(self, engine: Engine) -> None:
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


def type_and_ask(engine: Any, prompts: Prompts, asked: Asked, name: str) -> float:
    """Replay the typing, reading ahead after every word; seconds from Enter to the first text."""
    began = time.monotonic()
    for place, character in enumerate(asked.text, start=1):
        if character == " ":
            time.sleep(max(0.0, began + place / CHARACTERS_PER_S - time.monotonic()))
            engine.prepare(prompts.parts(asked, asked.text[: place - 1]), NEVER, conversation=name)
    time.sleep(max(0.0, began + len(asked.text) / CHARACTERS_PER_S - time.monotonic()))
    return first_s(engine, prompts.parts(asked), name)


def first_s(engine: Any, prompt: Any, conversation: str | None = None) -> float:
    """Seconds to the engine's first text."""
    return ask_engine(engine, prompt, WRITE_TOKENS, conversation=conversation).first_s


def row(run: Run, name: str, values: Sequence[float]) -> None:
    """Median, range and tail."""
    run.row(name, spread(values, " s"), f"{quantile(values, 0.95):.3g} s")


def work(run: Run) -> None:
    """Measure both."""
    folder = peer_folder(run)
    options = run.options
    model, questions = model_file(options.model), list(stream(6 if options.quick else 48))
    with tempfile.TemporaryDirectory(dir=model.parent) as home:
        own = {
            "threads": options.threads,
            "context_tokens": CONTEXT_TOKENS,
            "layout": options.layout,
            "folder": Path(home),
        }
        with project(model, **own) as engine:
            prompts = Prompts(engine)
            if getattr(engine, "layout", "") != options.layout:
                raise UnavailableError(f"the engine does not compose: {getattr(engine, 'layout_reason', '')}")
            run.figures["compile_s_an_article"] = compile_shown(engine, prompts, questions)
        with project(model, **own) as engine:
            prompts = Prompts(engine)
            contestants = {"engine": lambda number: first_s(engine, prompts.parts(questions[number]))}
            if folder is None:
                times = in_turns(len(questions), contestants)
            else:
                with Peer(folder, model, threads=options.threads, context_tokens=CONTEXT_TOKENS, slots=4) as peer:
                    contestants["peer"] = lambda number: (
                        peer.ask(prompts.parts(questions[number]).flat(), WRITE_TOKENS).first_s
                    )
                    times = in_turns(len(questions), contestants)
            say("typing the questions")
            ahead = [type_and_ask(engine, prompts, asked, f"c{number}") for number, asked in enumerate(questions)]
    run.row("first text after", "median (range)", "p95")
    for name, values in {**times, "engine, read ahead": ahead}.items():
        row(run, name, values)
    own_times = times["engine"]
    run.figures |= {"p50_s": median(own_times), "p95_s": quantile(own_times, 0.95), "ahead_p50_s": median(ahead)}
    if peers := times.get("peer"):
        run.figures |= {
            "peer_p50_s": median(peers),
            "peer_p95_s": quantile(peers, 0.95),
            "p50_ratio": median(peers) / median(own_times),
            "p95_ratio": quantile(peers, 0.95) / quantile(own_times, 0.95),
            "ahead_p50_ratio": median(peers) / median(ahead),
        }
    run.details |= {"questions": len(questions), "seconds": {**times, "ahead": ahead}, "machine_cores": os.cpu_count()}


def layout_option(parser: argparse.ArgumentParser) -> None:
    """How articles are put together."""
    parser.add_argument("--layout", default="parallel", choices=["parallel", "sequential"])


if __name__ == "__main__":
    raise SystemExit(main(begin("first_token", __doc__, BARS, layout_option), work))
