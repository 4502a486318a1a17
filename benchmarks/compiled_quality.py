"""Claim: trained for compiled articles, answers keep 98 % of the facts that plain reading finds.

Two students of the demo's kind, made with equal steps on the same packs: `exact`, and in a layout of compiled articles:
refitted and distilled to say what a teacher says that reads plainly, then tuned on the replies. Both answer held-out
records through the engine, greedily, the section that answers among two others: drawn from all articles ("random"), and
those most like it ("same topic", which is what retrieval shows). Kept are the facts (figures of the gold reply) found
in the layout over those the first student finds read `exact`; intervals are paired bootstraps over questions. Beside
it, with less noise, on all held-out replies: nats a token, and the share of their facts of which each token is the
likeliest, given the reply so far.

    python benchmarks/compiled_quality.py [--layout parallel|sequential|mixed] [--packs 48] [--work FOLDER]
                                          [--count 120] [--json]

`--hand-written` asks the shop's hand-written questions instead, of which so small a student answers few. The work
folder may be a copy of the demo's, which saves the teacher's correction; the second student is built in a folder of its
own inside. What is made is kept, so that a second run only asks. With `mixed` the student reads `parallel`. `--quick`
asks 24 questions.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from _harness import SHOP, Bar, Run, begin, main
from _students import (
    ROOT,
    Read,
    Shown,
    ask,
    facts,
    gguf_of,
    interval,
    open_chain,
    questions_for,
    read_replies,
    records_as_questions,
    resampled,
)

from distill.build import Build
from distill.corpus import read_split, sections_by_ref
from distill.device import offline
from distill.packs import Layouts
from quantize.gguf_writer import write_gguf
from runtime.answer_figures import Answered
from runtime.files import read_text
from runtime.prompt import PromptSpec

SHARED = ("articles", "teacher", "records", "corrected", "capture")
"""Stages that no layout changes."""
BARS = {"kept, random": Bar(least=0.98), "kept, same topic": Bar(least=0.98)}


def build(base: Build, layout: Layouts) -> Path:
    """The merged checkpoint of the same recipe built in a layout; what no layout changes is taken from `base`."""
    recipe = base.recipe
    if layout == recipe.packing.layout:
        return base.folder / "merged"
    packing = recipe.packing.model_copy(update={"layout": layout})
    prompt = recipe.prompt.model_copy(update={"layout": "parallel" if layout == "mixed" else layout})
    folder = base.folder / f"read-{layout}"
    folder.mkdir(exist_ok=True)
    for name in SHARED:
        if not (folder / name).exists():
            (folder / name).symlink_to(base.folder / name)
    other = replace(base, recipe=recipe.model_copy(update={"packing": packing, "prompt": prompt}), folder=folder)
    other.run(write_gguf)
    return folder / "merged"


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
    folder: Path = options.work.absolute()
    trained = options.layout
    layout: Layouts = "parallel" if trained == "mixed" else trained
    reads: tuple[Layouts, ...] = ("exact", layout)
    chain = open_chain(ROOT / "recipes" / "demo.toml", folder, options.packs)
    chain.run(write_gguf)
    tuned = {"exact": build(chain, "exact"), trained: build(chain, trained)}
    spec = PromptSpec.model_validate_json(read_text(folder / "prompt" / "prompt.json"))
    sections = sections_by_ref(folder / "articles", "en")
    count = 24 if options.quick else options.count
    if options.hand_written:
        asked = questions_for([str(SHOP / "en" / "questions-*.jsonl")], sections, "en", count)
    else:
        asked = records_as_questions(read_split(folder / "records", "test", "en"), sections, count)
    finds = {topic: Shown(asked, sections, same_topic=topic == "same topic") for topic in ("random", "same topic")}
    run.details |= {"questions": len(asked), "layout": layout, "trained": trained}
    run.row("held-out replies", *(f"nats, read {read}" for read in reads), *(f"facts, read {read}" for read in reads))
    replies: dict[tuple[str, str], Read] = {}
    for name, checkpoint in tuned.items():
        model = chain.load(checkpoint)
        for read in reads:
            packs = chain.packs("test", limit=options.read, layout=read)
            replies[name, read] = read_replies(model, packs, chain.tokenizer)
        del model
        rows_of = [replies[name, read] for read in reads]
        cells = [*(f"{row.nats:.4f}" for row in rows_of), *(f"{row.facts.mean():.3f}" for row in rows_of)]
        run.details[f"held-out replies, trained {name}"] = {
            read: {"nats": row.nats, "facts": float(row.facts.mean()), "of": len(row.facts)}
            for read, row in zip(reads, rows_of, strict=True)
        }
        run.row(f"trained {name}", *cells)
    ours, plain = replies[trained, layout].facts, replies["exact", "exact"].facts
    drawn, of = resampled(ours, plain)
    run.figures["kept, word by word"] = round(float(ours.mean() / plain.mean()), 4)
    run.details["kept, word by word, 95 %"] = interval(drawn / of)
    run.row("95 % of kept, word by word", "{} to {}".format(*interval(drawn / of)))
    if not asked:
        return
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
    base, composed, _, same = rows.values()
    for topic in finds:
        ratio, low, high = kept(composed[topic], base[topic])
        run.figures[f"kept, {topic}"] = round(ratio, 4)
        own, own_low, own_high = kept(composed[topic], same[topic])
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
    parser.add_argument("--work", type=Path, default=ROOT / "work" / "compiled", help="folder of what is trained")
    parser.add_argument("--packs", type=int, default=48, help="packs the students are distilled on")
    parser.add_argument("--hand-written", action="store_true", help="ask the hand-written questions")
    parser.add_argument("--count", type=int, default=120, help="questions to ask; 0 asks none")
    parser.add_argument("--read", type=int, default=48, help="held-out packs that are read word by word")


if __name__ == "__main__":
    offline()
    sys.exit(main(begin("compiled_quality", __doc__, BARS, options), work))
