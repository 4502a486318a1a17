"""Claim: `edgedesk ask` without a server answers within 5 s, and the engine starts within 3 s, alone and beside a till.

Everything is real: a bundle installed into a new home, the command in a process of its own, from its start to its end.
The engine's start is from the birth of its process to its word that it is ready, as every start after the first finds
it: with the self-test's verdict kept. The start that has to hold the self-test is shown too. `beside`: the same while
one other process computes without pause. Processor seconds are those of the command and its engine together.

Needs a built bundle (`./build.sh demo`, or --bundle FOLDER); without one nothing holds.

    python benchmarks/one_question.py [--bundle FOLDER] [--quick] [--json]

Some two minutes. `--quick` takes two rounds instead of five.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from _harness import Bar, Run, begin, in_turns, main, median, spread
from neighbour import busy

from runtime.base.progress import say
from runtime.bundle.generations import install
from runtime.desk.open_engine import FOLDER as KNOWLEDGE
from runtime.engine.llama.self_test import FILE_NAME as VERDICT_FILE

ROOT = Path(__file__).parents[1]
BARS = {
    "ask_s": Bar(most=5),
    "ask_beside_s": Bar(most=5),
    "engine_start_s": Bar(most=3),
    "engine_start_beside_s": Bar(most=3),
}
QUESTIONS = (
    "How long do I have to return something?",
    "What does standard delivery cost?",
    "How long is the warranty?",
    "Can I pay in instalments?",
    "Do you take my old washing machine with you?",
)
"""In turns. Each is asked once before anything is measured: a branch's usual questions find their articles compiled."""
START = """
import json, sys, time
from pathlib import Path
from runtime.base.settings import load_settings
from runtime.bundle.generations import current_bundle
from runtime.desk.open_desk import for_one_question
from runtime.desk.open_engine import open_engine
home = Path(sys.argv[1])
bundle, settings = current_bundle(home), for_one_question(load_settings(home))
began = time.monotonic()
with open_engine(bundle, home, settings) as engine:
    print(json.dumps({"seconds": time.monotonic() - began, "layout": engine.layout}))
"""


@dataclass(frozen=True)
class Took:
    """One command."""

    wall_s: float
    processor_s: float


def timed(work: Callable[[], float | None]) -> Took:
    """Seconds of a child and its children; `work` may know better how long what counts took."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    told = work()
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(wall if told is None else told, processor)


def run_python(home: Path, *words: str) -> str:
    """Stdout of this interpreter on some words, in that home."""
    environment = {**os.environ, "EDGEDESK_HOME": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return done.stdout


def ask(home: Path, number: int) -> Took:
    """A question, answered from the articles."""

    def work() -> None:
        said = json.loads(
            run_python(home, str(ROOT / "edgedesk.py"), "ask", QUESTIONS[number % len(QUESTIONS)], "--json")
        )
        if not said["answer"]:
            raise SystemExit(f"no answer: {said}")

    return timed(work)


def start_engine(home: Path, _number: int = 0) -> Took:
    """The engine alone."""
    return timed(lambda: float(json.loads(run_python(home, "-c", START, str(home)))["seconds"]))


def first_start(home: Path, number: int) -> Took:
    """The engine, which has to hold its self-test."""
    (home / KNOWLEDGE / VERDICT_FILE).unlink(missing_ok=True)
    return start_engine(home, number)


def work(run: Run) -> None:
    """Everything, alone and beside one busy process."""
    bundle: Path = run.options.bundle
    if not (bundle / "manifest.json").is_file():
        run.absent.append(f"{bundle}: no built bundle (./build.sh demo, or --bundle FOLDER)")
        return
    rounds = run.options.rounds or (2 if run.options.quick else len(QUESTIONS))
    run.row("", "seconds", "processor seconds")
    with tempfile.TemporaryDirectory(prefix="edgedesk-ask-") as name:
        home = Path(name) / "home"
        install(bundle, home)
        for number in range(len(QUESTIONS)):  # makes the index, fills the file cache, compiles what is asked for
            ask(home, number)
        for where, beside in (("", nullcontext()), ("_beside", busy(1))):
            with beside:
                contestants = {
                    "ask": lambda number: ask(home, number),
                    "engine_start": lambda number: start_engine(home, number),
                    "engine_first_start": lambda number: first_start(home, number),
                }
                for what, took in in_turns(rounds, contestants, say).items():
                    wall, processor = [one.wall_s for one in took], [one.processor_s for one in took]
                    run.figures[f"{what}{where}_s"] = round(median(wall), 2)
                    run.figures[f"{what}{where}_processor_s"] = round(median(processor), 2)
                    run.row(f"{what}{where}", spread(wall), spread(processor))


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--bundle", type=Path, default=ROOT / "work" / "demo" / "bundle", help="a built bundle")


if __name__ == "__main__":
    sys.exit(main(begin("one_question", __doc__, BARS, options), work))
