"""Claim: trained for compiled articles, answers keep 98 % of the facts that plain reading finds.

The demo's distilled student, tuned twice with equal steps on the same packs: `exact`, as `recipes/demo.toml` has it,
and in a layout of compiled articles. Both answer held-out records through the engine, greedily, the section that
answers among two others: drawn from all articles ("random"), and those most like it ("same topic", which is what
retrieval shows). Kept are the facts (figures of the gold reply) found in the layout over those the first student finds
read `exact`; intervals are paired bootstraps over questions. Beside it, with less noise, how surprised each is by
held-out replies, in nats a token.

    python benchmarks/compiled_quality.py [--layout parallel|sequential|mixed] [--work FOLDER] [--count 120] [--json]

`--hand-written` asks the shop's hand-written questions instead, of which so small a student answers few. Needs the work
folder of `edgedesk build recipes/demo.toml`; the second tuning takes a minute or two once and is kept there, in
`tuned-LAYOUT`. With `mixed` the student reads `parallel`. `--quick` asks 24 questions.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
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
    nats,
    questions_for,
    records_as_questions,
    resampled,
)

from distill.build import open_build
from distill.corpus import read_split, sections_by_ref
from distill.device import offline
from distill.merge import merge
from distill.packs import Layouts
from distill.recipe import load_recipe
from distill.train import tune
from runtime.answer_figures import Answered
from runtime.errors import MissingError
from runtime.files import read_text
from runtime.manifest import read_manifest, stage
from runtime.progress import bar
from runtime.prompt import PromptSpec

BARS = {"kept, random": Bar(least=0.98), "kept, same topic": Bar(least=0.98)}


def second_student(work: Path, layout: Layouts) -> Path:
    """The demo's distilled student tuned for a layout: the folder of its checkpoint, made once."""
    recipe = load_recipe(ROOT / "recipes" / "demo.toml")
    chain = open_build(recipe, work)
    packs = chain.packs("train", limit=recipe.lora.packs, layout=layout)
    folder = work / f"tuned-{layout}"

    def make(out: Path) -> dict[str, Any]:
        tokens = sum(len(pack.tokens) for pack in packs)
        with (
            tempfile.TemporaryDirectory(dir=work) as scratch,
            bar(f"tuning for {layout}", tokens, unit="tokens") as advance,
        ):
            wrapped, figures = tune(chain.load(work / "student"), packs, recipe.lora, Path(scratch), advance)
        return {**figures, **merge(wrapped, packs, work / "student", out)}

    student = [entry.sha256 for entry in read_manifest(work / "student").files]
    stage(folder, "tuned", {"student": student, "lora": recipe.lora.model_dump(), "layout": layout}, make)
    return folder


def kept(composed: Sequence[Answered], exact: Sequence[Answered]) -> tuple[float, float, float]:
    """Facts found over those found exactly, and the 95 % interval of a paired bootstrap."""
    import numpy as np

    ours, plain = facts(composed), facts(exact)
    drawn, of = resampled(ours, plain)
    low, high = interval(drawn / np.maximum(of, 1e-9))
    return float(ours.mean() / max(plain.mean(), 1e-9)), low, high


def work(run: Run) -> None:
    """Train the second student, ask both."""
    options = run.options
    folder: Path = options.work
    if not (folder / "merged" / "config.json").is_file():
        raise MissingError("the demo is not built", where=str(folder), hint="edgedesk build recipes/demo.toml")
    trained = options.layout
    layout: Layouts = "parallel" if trained == "mixed" else trained
    reads: tuple[Layouts, ...] = ("exact", layout)
    chain = open_build(load_recipe(ROOT / "recipes" / "demo.toml"), folder)
    tuned = {"exact": folder / "merged", trained: second_student(folder, trained)}
    spec = PromptSpec.model_validate_json(read_text(folder / "prompt" / "prompt.json"))
    sections = sections_by_ref(folder / "articles", "en")
    count = 24 if options.quick else options.count
    if options.hand_written:
        asked = questions_for([str(SHOP / "en" / "questions-*.jsonl")], sections, "en", count)
    else:
        asked = records_as_questions(read_split(folder / "records", "test", "en"), sections, count)
    finds = {topic: Shown(asked, sections, same_topic=topic == "same topic") for topic in ("random", "same topic")}
    run.details |= {"questions": len(asked), "layout": layout, "trained": trained}
    run.row("nats a reply token", "read exact", f"read {layout}")
    for name, checkpoint in tuned.items():
        model = chain.load(checkpoint)
        found = [nats(model, chain.held_out(read)) for read in reads]
        run.details[f"nats, trained {name}"] = found
        run.row(f"trained {name}", *(f"{value:.4f}" for value in found))
        del model
    run.row("facts found", "random", "same topic")
    rows: dict[str, dict[str, list[Answered]]] = {}
    for what, name, read in (
        ("trained exact, read exact", "exact", "exact"),
        (f"trained {trained}, read {layout}", trained, layout),
        (f"trained exact, read {layout}", "exact", layout),
        (f"trained {trained}, read exact", trained, "exact"),
    ):
        gguf = gguf_of(tuned[name])
        laid_out = spec.model_copy(update={"layout": read})
        rows[what] = {
            topic: ask(f"{what}, {topic}", gguf, asked, shown, laid_out, options.threads)
            for topic, shown in finds.items()
        }
        means = {topic: sum(a.facts for a in answers) / len(answers) for topic, answers in rows[what].items()}
        run.details[what] = means
        run.row(what, *(f"{mean:.3f}" for mean in means.values()))
    base, ours, _, same = rows.values()
    for topic in finds:
        ratio, low, high = kept(ours[topic], base[topic])
        run.figures[f"kept, {topic}"] = round(ratio, 4)
        own, own_low, own_high = kept(ours[topic], same[topic])
        run.details |= {
            f"kept, {topic}, 95 %": [low, high],
            f"kept of its own exact, {topic}": [own, own_low, own_high],
        }
        run.row(f"95 % of kept, {topic}", f"{low:.3f} to {high:.3f}", f"own exact: {own:.3f}")


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument(
        "--layout", choices=("parallel", "sequential", "mixed"), default="parallel", help="to train for"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "work" / "northlight-en", help="the demo's work folder")
    parser.add_argument("--hand-written", action="store_true", help="ask the hand-written questions")
    parser.add_argument("--count", type=int, default=120, help="questions to ask")


if __name__ == "__main__":
    offline()
    sys.exit(main(begin("compiled_quality", __doc__, BARS, options), work))
