"""Claim: trained for compiled articles, a student keeps 98 % of the facts that plain reading finds.

Two students of the demo's kind, made of the same packs with equal steps: `plain` learned reading `exact`, `trained` in
a layout of compiled articles: refitted behind pruning, distilled and tuned to say in it what a teacher says that reads
plainly. Both answer held-out records through the engine, greedily, the section that answers among two others: drawn
from all articles ("random"), and those most like it ("same topic", which is what retrieval shows). Kept are the facts
(figures of the gold reply) found in the layout over those the plain one finds read `exact`; intervals are paired
bootstraps over questions. Beside it, with less noise, on all held-out replies: nats a token, and the share of their
facts of which each token is the likeliest, given the reply so far. The bar is of the trained one; what the plain one
keeps, which is how recipes/demo.toml does it, stands beside.

    python benchmarks/compiled_quality.py [--layout sequential|parallel] [--packs 48] [--work FOLDER] [--count 120]
                                          [--json]

`--hand-written` asks the shop's hand-written questions instead, of which so small a student answers few. The work
folder may be a copy of the demo's, which saves the teacher's correction; the trained student is built in a folder of
its own inside. What is made is kept, so that a second run only asks. `--quick` asks 24 questions.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from _harness import SHOP, Bar, Run, begin, main
from _students import (
    ROOT,
    Shown,
    ask,
    facts,
    gguf_of,
    interval,
    open_chain,
    questions_for,
    records_as_questions,
    resampled,
)

from distill.compute.device import go_offline
from distill.data.dataset import read_split, sections_by_ref
from distill.pipeline.build import Build
from distill.teacher.teacher_forcing import Forced, read_replies
from quantize.formats.gguf_writer import write_gguf
from runtime.base.files import read_text
from runtime.prompting.prompt_spec import PromptSpec
from runtime.prompting.prompt_tokens import Layout

SHARED = ("articles", "teacher", "records", "tuned_teacher", "capture")
"""Stages that no layout changes."""
BARS = {"kept, random": Bar(least=0.98), "kept, same topic": Bar(least=0.98), "kept, word by word": Bar(least=0.98)}


def train(base: Build, layout: Layout) -> Path:
    """The merged checkpoint of the same recipe in a layout; what no layout changes is taken from `base`."""
    recipe, folder = base.recipe, base.folder / f"trained-{layout}"
    packing = recipe.packing.model_copy(update={"layout": layout})
    folder.mkdir(exist_ok=True)
    for stage in SHARED:
        if not (folder / stage).exists():
            (folder / stage).symlink_to(base.folder / stage)
    replace(base, recipe=recipe.model_copy(update={"packing": packing}), folder=folder).run(write_gguf)
    return folder / "merged"


def work(run: Run) -> None:
    """Make the second student, read with both, ask both."""
    options = run.options
    folder: Path = options.work.absolute()
    layout: Layout = options.layout
    chain = open_chain(ROOT / "recipes" / "demo.toml", folder, options.packs)
    chain.run(write_gguf)
    students = {"plain": folder / "merged", "trained": train(chain, layout)}
    spec = PromptSpec.model_validate_json(read_text(folder / "prompt" / "prompt.json"))
    sections = sections_by_ref(folder / "articles", "en")
    count = 24 if options.quick else options.count
    if options.hand_written:
        asked = questions_for([str(SHOP / "en" / "questions-*.jsonl")], sections, "en", count)
    else:
        asked = records_as_questions(read_split(folder / "records", "test", "en"), sections, count)
    run.details |= {"questions": len(asked), "layout": layout}

    reads: tuple[Layout, ...] = ("exact", layout)
    run.row("held-out replies", *(f"nats, read {read}" for read in reads), *(f"facts, read {read}" for read in reads))
    replies: dict[str, dict[Layout, Forced]] = {}
    for name, checkpoint in students.items():
        model = chain.load(checkpoint)
        rows = replies[name] = {
            read: read_replies(model, chain.packs("test", limit=options.read, layout=read), chain.tokenizer)
            for read in reads
        }
        del model
        run.details[f"held-out replies, {name}"] = {
            read: {"nats": row.nats, "facts": float(row.facts.mean()), "of": len(row.facts)}
            for read, row in rows.items()
        }
        cells = [*(f"{row.nats:.4f}" for row in rows.values()), *(f"{row.facts.mean():.3f}" for row in rows.values())]
        run.row(name, *cells)
    for name, rows in replies.items():
        _kept(run, name, "word by word", rows[layout].facts, replies["plain"]["exact"].facts)
    if not asked:
        return

    finds = {topic: Shown(asked, sections, same_topic=topic == "same topic") for topic in ("random", "same topic")}
    run.row("facts found", *finds)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, read in (("plain", "exact"), *((name, layout) for name in students)):
        laid_out, what = spec.model_copy(update={"layout": read}), f"{name}, read {read}"
        found[name, read] = {
            topic: facts(ask(f"{what}, {topic}", gguf_of(students[name]), asked, shown, laid_out, options.threads))
            for topic, shown in finds.items()
        }
        means = {topic: float(row.mean()) for topic, row in found[name, read].items()}
        run.details[what] = means
        run.row(what, *(f"{mean:.3f}" for mean in means.values()))
    for name, topic in product(students, finds):
        _kept(run, name, topic, found[name, layout][topic], found["plain", "exact"][topic])


def _kept(run: Run, name: str, what: str, ours: Any, plain: Any) -> None:
    """Facts found over those found exactly, and the 95 % interval of a paired bootstrap."""
    import numpy as np

    ratio = round(float(ours.mean() / max(plain.mean(), 1e-9)), 4)
    drawn, of = resampled(ours, plain)
    low, high = interval(drawn / np.maximum(of, 1e-9))
    run.figures[f"kept, {what}" if name == "trained" else f"kept, {what}, {name}"] = ratio
    run.details[f"kept, {what}, {name}, 95 %"] = [low, high]
    run.row(f"kept, {what}, {name}", f"{ratio:.3f}", f"{low} to {high}")


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--layout", choices=("sequential", "parallel"), default="sequential", help="to read in")
    parser.add_argument("--work", type=Path, default=ROOT / "work" / "compiled", help="folder of what is trained")
    parser.add_argument("--packs", type=int, default=48, help="packs the students are distilled on")
    parser.add_argument("--hand-written", action="store_true", help="ask the hand-written questions")
    parser.add_argument("--count", type=int, default=120, help="questions to ask; 0 asks none")
    parser.add_argument("--read", type=int, default=48, help="held-out packs that are read word by word")


if __name__ == "__main__":
    go_offline()
    sys.exit(main(begin("compiled_quality", __doc__, BARS, options), work))
