"""Claim: eight agents for ten minutes: no answer cut or mixed, and the memory stays.

Each agent asks on and on, out of a set of prompts whose answers are known from asking each alone; greedy answers must
be those, letter by letter, up to a near tie (`_ties.py`). Some leave in the middle of an answer. Measured besides: the
growth of RssAnon from the second fifth of the time to the last. There is no peer: it is the engine's promise about
itself.

    python benchmarks/soak.py [--model 135m|3b] [--threads 2] [--minutes 10] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from _harness import Bar, Run, ask_engine, begin, main, median, model_file, project, shop_texts
from _ties import Alone, write_alone

from runtime.base.progress import counter
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.tools.logits_recorder import LogitsRecorder
from runtime.errors import EdgedeskError

BARS = {"wrong_answers": Bar(most=0.0), "errors": Bar(most=0.0), "rss_anon_growth": Bar(most=0.05)}
AGENTS = 8
PROMPTS = 24
WRITE_TOKENS = 48
LEAVES = 0.1
"""Share of questions whose agent goes away after the first piece."""
CONTEXT_TOKENS = 768


@dataclass
class Tally:
    """What the agents have seen."""

    right: int = 0
    ties: int = 0
    """The same up to a near tie."""
    left: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def agent(
    number: int, engine: LlamaEngine, prompts: list[list[int]], wanted: list[Alone], until: float, tally: Tally
) -> None:
    """Ask until the time is over."""
    chance = random.Random(number)  # noqa: S311 - a choice of questions, no secret
    while time.monotonic() < until:
        which = chance.randrange(len(prompts))
        try:
            if chance.random() < LEAVES:
                generation = engine.generate(prompts[which], SamplingParams(max_tokens=WRITE_TOKENS), threading.Event())
                next(iter(generation), None)
                generation.close()
                with tally.lock:
                    tally.left += 1
                continue
            text = ask_engine(engine, prompts[which], WRITE_TOKENS).text
        except EdgedeskError as error:
            with tally.lock:
                tally.errors.append(str(error))
            continue
        with tally.lock:
            match wanted[which].compare(text):
                case "same":
                    tally.right += 1
                case "tie":
                    tally.ties += 1
                case "wrong":
                    tally.wrong.append(f"prompt {which}: {text[:80]!r}, alone {wanted[which].text[:80]!r}")


def rss_anon_mb() -> float:
    """This process's own memory, without mapped files."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) / 1024


def work(run: Run) -> None:
    """Ask each alone, then all at once; look at the memory every five seconds."""
    minutes = 0.5 if run.options.quick else run.options.minutes
    recorder, model = LogitsRecorder(), model_file(run.options.model)
    threads = run.options.threads
    with project(model, threads=threads, context_tokens=CONTEXT_TOKENS, make_sampler=recorder) as engine:
        chosen = shop_texts()[: PROMPTS // 4 if run.options.quick else PROMPTS]
        prompts = [engine.vocab.encode(text, control=False)[:160] for text in chosen]
        wanted = [write_alone(engine, recorder, tokens, WRITE_TOKENS) for tokens in prompts]
        tally, began = Tally(), time.monotonic()
        until = began + 60 * minutes
        agents = [
            threading.Thread(target=agent, args=(number, engine, prompts, wanted, until, tally))
            for number in range(AGENTS)
        ]
        for one in agents:
            one.start()
        memory = []
        with counter("asking", unit="seconds") as count:
            while (left := until - time.monotonic()) > 0:
                count(time.monotonic() - began, 60 * minutes)
                memory.append(rss_anon_mb())
                agents[0].join(min(5.0, left))
        for one in agents:
            one.join()
    fifth = max(1, len(memory) // 5)
    early, late = median(memory[fifth : 2 * fifth] or memory), median(memory[-fifth:])
    run.row(
        "answers",
        f"{tally.right} right, {tally.ties} up to a tie",
        f"{len(tally.wrong)} wrong, {tally.left} left early",
    )
    run.row("RssAnon, MB", f"early {early:.1f}", f"late {late:.1f}")
    run.figures |= {
        "answers": float(tally.right),
        "answers_up_to_a_tie": float(tally.ties),
        "answers_per_s": (tally.right + tally.ties) / (60 * minutes),
        "wrong_answers": float(len(tally.wrong)),
        "errors": float(len(tally.errors)),
        "rss_anon_growth": late / early - 1,
    }
    run.details |= {"wrong": tally.wrong[:5], "said": tally.errors[:5], "rss_anon_mb": memory}


def minutes_option(parser: argparse.ArgumentParser) -> None:
    """How long."""
    parser.add_argument("--minutes", type=float, default=10.0)


if __name__ == "__main__":
    raise SystemExit(main(begin("soak", __doc__, BARS, minutes_option), work))
