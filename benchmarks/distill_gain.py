"""Claim: a distilled student beats the same student tuned with equal steps and no teacher, and closes half its gap.

The recipe's own stages give the teacher (the base), the tuned teacher (the base corrected on the support records), the
untuned student (cut out of the teacher and refitted to its states) and the distilled student (what a bundle holds).
Two students had no teacher's words, and take as many steps on the same packs, all weights first, then adapters:

    plain-tuned              cut likewise, never refitted (that takes the teacher's states), as many steps more instead
    refitted, plain-tuned    starts where the distilled one does: what is left to the teacher's words alone

All answer hand-written questions and held-out records through the engine, greedily, the section that answers among the
two most like it. Models of this size find few facts of their own, so all held-out replies are read besides, each word
given those before it: surprise, the share of facts whose tokens are the likeliest, and KL to the tuned teacher.

    gap closed   (distilled - plain) / (tuned teacher - plain) in facts found; (KL plain - KL distilled) / KL plain

    python benchmarks/distill_gain.py [--recipe recipes/demo.toml] [--packs 48] [--work FOLDER] [--count 80] [--json]

`--recipe recipes/retail-policy.toml --packs 12` does it on ../shared/data/en_taubench. The work folder may be a copy of
the one that a build left, whose stages are taken where they are the same; some 40 minutes on two cores from the demo's.
`--quick` asks 12 questions of each kind, `--count 0` none.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from itertools import product
from pathlib import Path
from typing import Any

from _harness import Bar, Run, begin, main
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
from distill.packing.packing import Pack
from distill.pipeline.build import Build
from distill.pipeline.stages import HELD_OUT
from distill.pipeline.workspace import TEACHER_GGUF
from distill.recipe.load_recipe import load_recipe
from distill.recipe.settings import LoraSettings
from distill.student.depth_pruning import prune_depth
from distill.student.divergence import measure_divergence
from distill.student.merge_lora import merge_adapters
from distill.student.training import distill, tune
from distill.teacher.capture import Captured
from distill.teacher.teacher_forcing import read_replies
from quantize.formats.gguf_writer import write_gguf
from runtime.base.build_stage import stage
from runtime.base.files import write_atomic
from runtime.base.manifest import read_manifest
from runtime.base.progress import bar
from runtime.errors import UsageError
from runtime.evaluation.answer_metrics import Answered, evaluation
from runtime.evaluation.html_report import render

PLAIN, REFITTED = "plain-tuned student", "refitted, plain-tuned student"
BARS = {
    "facts, distilled - plain": Bar(least=0.0001),
    "gap closed, facts": Bar(least=0.5),
    "gap closed, KL": Bar(least=0.5),
}


def plain_student(chain: Build, name: str, *, refitted: bool) -> Path:
    """The folder of a student that learned from the replies alone; made once."""
    recipe, untuned = chain.recipe, chain.folder / "pruned"
    cut = read_manifest(untuned)
    # Without the refitted layers it needs larger steps (docs/log.md), and gets the packs they were refitted on.
    more = 0 if refitted else recipe.student.repair_packs
    rate = recipe.kd.learning_rate if refitted else 4 * recipe.kd.learning_rate
    corrected = chain.shares()[0]
    full = chain.packs("train", limit=more + recipe.capture.packs, skip=chain.shares()[1] if refitted else corrected)
    last = chain.packs("train", limit=recipe.lora.packs)
    kd = recipe.kd.model_copy(update={"loss": "none", "ce_weight": 1.0, "state_weight": 0.0, "learning_rate": rate})
    lora = LoraSettings(**recipe.lora.model_dump(exclude={"packs", "checkpoint_every", "validation"}))

    def make(out: Path) -> dict[str, Any]:
        tokens = sum(len(pack.tokens) for pack in (*full, *last))
        student = chain.load(untuned if refitted else chain.teaching)
        if not refitted:
            prune_depth(student, cut.figures["layers"])
        with (
            tempfile.TemporaryDirectory(dir=chain.folder) as scratch,
            bar(f"{name}: tuning without a teacher", tokens, unit="tokens") as advance,
        ):
            first = distill(student, [untaught(pack) for pack in full], kd, Path(scratch) / "all", advance)
            wrapped, then = tune(student, last, lora, Path(scratch) / "adapters", advance)
        return {"all weights": first, "adapters": then, **merge_adapters(wrapped, last, untuned, out)}

    inputs = {
        "packs": [len(full), len(last)],
        "kd": kd.model_dump(),
        "lora": lora.model_dump(),
        "student": [entry.sha256 for entry in cut.files],
    }
    out = chain.folder / name.replace(",", "").replace(" ", "-")
    stage(out, "plain", inputs, make)
    return out


def untaught(pack: Pack) -> Captured:
    """A pack with no teacher's view of it."""
    import numpy as np

    index = np.array(pack.reply_targets(), dtype=np.int32)
    nothing = np.zeros((len(index), 0))
    return Captured(pack, index, nothing.astype(np.int32), nothing.astype(np.float16))


def closed(plain: float, ours: float, top: float) -> float:
    """The share of the way from plain to top; nan where there is no gap to close."""
    return (ours - plain) / (top - plain) if top > plain else float("nan")


def work(run: Run) -> None:
    """Build what is missing, ask everybody, compare."""
    options = run.options
    recipe = load_recipe(options.recipe)
    if recipe.teacher is None or recipe.student.layers is None:
        raise UsageError("it needs a corrected teacher and a student cut out of it", where=str(options.recipe))
    folder = (options.work or ROOT / "work" / f"gain-{recipe.name}").absolute()
    chain = open_chain(options.recipe, folder, options.packs)
    chain.run(write_gguf)
    lang = recipe.languages[0]
    checkpoints = {
        "teacher": chain.base.checkpoint,
        "tuned teacher": folder / "tuned_teacher",
        "untuned student": folder / "pruned",
        PLAIN: plain_student(chain, PLAIN, refitted=False),
        REFITTED: plain_student(chain, REFITTED, refitted=True),
        "distilled student": folder / "merged",
    }
    sections = sections_by_ref(folder / "articles", lang)
    count = 12 if options.quick else options.count
    asked = {
        "hand-written": questions_for(recipe.data.questions, sections, lang, count),
        "held-out": records_as_questions(read_split(folder / "records", "test", lang), sections, count),
    }
    asked = {what: rows for what, rows in asked.items() if rows}
    spec = chain.spec.model_copy(update={"layout": "exact"})
    packs = chain.packs("test", limit=options.read)
    run.details |= {"recipe": recipe.name, "questions": {name: len(rows) for name, rows in asked.items()}}
    run.row("", *(f"facts, {name}" for name in asked), "facts, word by word", "nats", "KL, top-1")
    found: dict[str, dict[str, Any]] = {}
    said: dict[str, dict[str, list[Answered]]] = {}
    distance: dict[str, float] = {}
    for name, checkpoint in checkpoints.items():
        model = chain.load(checkpoint)
        far = measure_divergence(model, chain.held_out(), folder / "capture" / HELD_OUT)
        read = read_replies(model, packs, chain.tokenizer)
        del model
        gguf = _gguf(chain, name, checkpoint)
        said[name] = {
            what: ask(f"{name}, {what}", gguf, rows, Shown(rows, sections, same_topic=True), spec, options.threads)
            for what, rows in asked.items()
        }
        found[name] = {what: facts(answers) for what, answers in said[name].items()} | {"word by word": read.facts}
        distance[name] = far["kl"]
        means = {what: float(row.mean()) for what, row in found[name].items()}
        run.details[name] = {**means, "nats": read.nats, "kl": far["kl"], "top1": far["top1"]}
        ranges = [interval(resampled(row)[0]) for row in found[name].values()]
        cells = [
            f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, (low, high) in zip(means.values(), ranges, strict=True)
        ]
        run.row(name, *cells, f"{read.nats:.3f}", f"{far['kl']:.3f}, {far['top1']:.3f}")
    for other, what in product((PLAIN, REFITTED), (*asked, "word by word")):
        plain, ours, top = (found[name][what] for name in (other, "distilled student", "tuned teacher"))
        drawn_plain, drawn, drawn_top = resampled(plain, ours, top)
        gap = closed(float(plain.mean()), float(ours.mean()), float(top.mean()))
        run.details[f"distilled against {other}, {what}"] = {
            "more": float(ours.mean() - plain.mean()),
            "more, 95 %": interval(drawn - drawn_plain),
            "gap": float(top.mean() - plain.mean()),
            "gap, 95 %": interval(drawn_top - drawn_plain),
            "gap closed": gap,
        }
        low, high = interval(drawn - drawn_plain)
        more = f"{ours.mean() - plain.mean():.3f} ({low} to {high})"
        run.row(f"distilled - {other}, {what}", more, f"of the gap {gap:.2f}")
    against = run.details.get(f"distilled against {PLAIN}, hand-written")
    if against:
        run.figures["facts, distilled - plain"] = round(against["more"], 4)
        run.figures["gap closed, facts"] = round(against["gap closed"], 3)
    for other, name in ((PLAIN, "gap closed, KL"), (REFITTED, "gap closed, KL, of the refitted")):
        run.figures[name] = round(1 - distance["distilled student"] / distance[other], 3)

    if options.html:
        every = {name: [answer for answers in rows.values() for answer in answers] for name, rows in said.items()}
        first = {"tuned teacher": every["tuned teacher"]}
        write_atomic(options.html, render(f"{recipe.name}, five models", evaluation({**first, **every})))


def _gguf(chain: Build, name: str, checkpoint: Path) -> Path:
    """What the engine runs of a model: the stages' own files of the teachers."""
    own = {"teacher": "teacher", "tuned teacher": "tuned_teacher"}.get(name)
    return chain.folder / own / TEACHER_GGUF if own else gguf_of(checkpoint)


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "demo.toml", help="whose stages are used")
    parser.add_argument("--packs", type=int, help="packs the student is distilled on, instead of the recipe's")
    parser.add_argument("--work", type=Path, help="their folder (default: work/gain-NAME)")
    parser.add_argument("--html", type=Path, help="write the five side by side as a page, answers and all")
    parser.add_argument("--count", type=int, default=80, help="questions of each kind; 0 asks none")
    parser.add_argument("--read", type=int, default=48, help="held-out packs that are read word by word")


if __name__ == "__main__":
    go_offline()
    sys.exit(main(begin("distill_gain", __doc__, BARS, options), work))
