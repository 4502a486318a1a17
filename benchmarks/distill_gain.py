"""Claim: a distilled student beats the same student tuned with equal steps and no teacher, and closes half its gap.

The recipe's own stages give the teacher (the base), the tuned teacher (the base corrected on the support records), the
untuned student (cut out of the teacher and refitted) and the distilled student (what a bundle holds). The plain-tuned
student starts where the distilled one does and takes as many steps on the same packs, replies as targets, no teacher.
All answer hand-written questions through the engine, greedily, the section that answers among the two most like it,
and are compared with the tuned teacher on held-out replies (KL over the whole vocabulary).

    gap closed   (distilled - plain) / (tuned teacher - plain) in facts found; (KL plain - KL distilled) / KL plain

    python benchmarks/distill_gain.py [--recipe recipes/demo.toml] [--work FOLDER] [--count 158] [--json]

`--recipe recipes/retail-policy.toml` does it on ../shared/data/en_taubench. Stages that the work folder holds already
are not run again, so after `edgedesk build recipes/demo.toml` some minutes are enough. `--quick` asks 24 questions.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from _harness import Bar, Run, begin, main
from _students import ROOT, Shown, ask, facts, gguf_of, interval, questions_for, resampled

from distill.build import Build, open_build
from distill.compare import compare
from distill.corpus import sections_by_ref
from distill.device import offline
from distill.merge import merge
from distill.recipe import load_recipe
from distill.stages import HELD_OUT, TEACHER_GGUF
from distill.train import LoraSettings, tune
from quantize.gguf_writer import write_gguf
from runtime.errors import UsageError
from runtime.manifest import stage
from runtime.progress import bar

BARS = {
    "facts, distilled - plain": Bar(least=0.0001),
    "gap closed, facts": Bar(least=0.5),
    "gap closed, KL": Bar(least=0.5),
}


def plain_student(chain: Build) -> Path:
    """The folder of the student tuned without a teacher; made once."""
    recipe = chain.recipe
    packs = [
        *chain.packs("train", limit=recipe.capture.packs, skip=chain.shares()[1]),
        *chain.packs("train", limit=recipe.lora.packs),
    ]
    settings = LoraSettings(**recipe.lora.model_dump(exclude={"packs", "checkpoint_every", "validation"}))

    def make(out: Path) -> dict[str, Any]:
        tokens = sum(len(pack.tokens) for pack in packs)
        with (
            tempfile.TemporaryDirectory(dir=chain.folder) as scratch,
            bar("tuning without a teacher", tokens, unit="tokens") as advance,
        ):
            wrapped, figures = tune(chain.load(chain.folder / "pruned"), packs, settings, Path(scratch), advance)
        return {**figures, **merge(wrapped, packs, chain.folder / "pruned", out)}

    inputs = {
        "packs": len(packs),
        "lora": settings.model_dump(),
        "student": [entry.sha256 for entry in chain_files(chain)],
    }
    stage(chain.folder / "plain", "plain", inputs, make)
    return chain.folder / "plain"


def chain_files(chain: Build) -> Any:
    """The files of the student before it learns."""
    from runtime.manifest import read_manifest

    return read_manifest(chain.folder / "pruned").files


def work(run: Run) -> None:
    """Build what is missing, ask everybody, compare."""
    options = run.options
    recipe = load_recipe(options.recipe)
    if recipe.teacher is None or recipe.student.layers is None:
        raise UsageError("it needs a corrected teacher and a student cut out of it", where=str(options.recipe))
    folder = (options.work or ROOT / "work" / recipe.name).absolute()
    chain = open_build(recipe, folder)
    if not options.built:
        chain.run(write_gguf)
    lang = recipe.languages[0]
    checkpoints = {
        "untuned student": folder / "pruned",
        "plain-tuned student": plain_student(chain),
        "distilled student": folder / "merged",
    }
    files = {
        "teacher": folder / "teacher" / TEACHER_GGUF,
        "tuned teacher": folder / "corrected" / TEACHER_GGUF,
        **{name: gguf_of(checkpoint) for name, checkpoint in checkpoints.items()},
    }
    sections = sections_by_ref(folder / "articles", lang)
    asked = questions_for(recipe.data.questions, sections, lang, 24 if options.quick else options.count)
    shown = Shown(asked, sections, same_topic=True)
    spec = chain.spec.model_copy(update={"layout": "exact"})
    run.details |= {"questions": len(asked), "recipe": recipe.name}
    run.row("", "facts found", "95 %", "KL to tuned teacher", "top-1")
    answers = {}
    distances = {"tuned teacher": {"kl": 0.0, "top1": 1.0}}
    for name, gguf in files.items():
        answers[name] = ask(name, gguf, asked, shown, spec, options.threads)
        if name != "tuned teacher":
            model = chain.load(checkpoints.get(name, chain.base.checkpoint))
            distances[name] = compare(model, chain.held_out(), folder / "capture" / HELD_OUT)
            del model
        found, far = facts(answers[name]), distances[name]
        low, high = interval(resampled(found)[0])
        run.details[name] = {"facts_found": float(found.mean()), "95 %": [low, high], **far}
        run.row(name, f"{found.mean():.3f}", f"{low:.3f} to {high:.3f}", f"{far['kl']:.3f}", f"{far['top1']:.3f}")
    plain, distilled, top = (
        facts(answers[name]) for name in ("plain-tuned student", "distilled student", "tuned teacher")
    )
    drawn_plain, drawn, drawn_top = resampled(plain, distilled, top)
    gain, gap = float(distilled.mean() - plain.mean()), float(top.mean() - plain.mean())
    far = {name: row["kl"] for name, row in distances.items()}
    run.figures["facts, distilled - plain"] = round(gain, 4)
    # A plain student that finds as much as the teacher leaves no gap to close.
    run.figures["gap closed, facts"] = round(gain / gap, 3) if gap > 0 else float("nan")
    run.figures["gap closed, KL"] = round(1 - far["distilled student"] / far["plain-tuned student"], 3)
    run.details |= {
        "facts, distilled - plain, 95 %": interval(drawn - drawn_plain),
        "facts, gap, 95 %": interval(drawn_top - drawn_plain),
    }
    run.row("95 % of distilled - plain", "{} to {}".format(*interval(drawn - drawn_plain)))


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "demo.toml", help="whose stages are used")
    parser.add_argument("--work", type=Path, help="its work folder (default: work/NAME)")
    parser.add_argument("--count", type=int, default=158, help="questions to ask")
    parser.add_argument("--built", action="store_true", help="take the work folder as it is")


if __name__ == "__main__":
    offline()
    sys.exit(main(begin("distill_gain", __doc__, BARS, options), work))
