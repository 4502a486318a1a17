"""Claim: trained for compiled articles, answers keep 98 % of the facts that plain reading finds.

The demo's student twice: as `recipes/demo.toml` makes it, trained and read `exact`, and made from the same captured
teacher with the same steps, trained and read in a layout of compiled articles. Both answer the shop's hand-written
questions through the engine, greedily, the section that answers among two others: drawn from all articles ("random"),
and those most like it ("same topic", which is what retrieval shows). Intervals are paired bootstraps over questions.

    python benchmarks/compiled_quality.py [--layout parallel|sequential|mixed] [--work FOLDER] [--count 120] [--json]

Needs the work folder of `edgedesk build recipes/demo.toml`; the second student takes some minutes once and is cached
there, in `compiled-LAYOUT`. With `mixed` the student reads `parallel`. `--quick` asks 24 questions.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path

from _harness import SHOP, Bar, Run, begin, main

from distill.build import open_build
from distill.corpus import neighbour_finder, sections_by_ref
from distill.device import offline
from distill.recipe import load_recipe
from quantize.gguf_writer import write_gguf
from runtime.answer_eval import answer_questions, load_questions, sample
from runtime.answer_figures import Answered
from runtime.articles import Section
from runtime.errors import MissingError
from runtime.files import read_text
from runtime.progress import bar
from runtime.prompt import PromptSpec
from runtime.record import Question
from runtime.retrieval import Hit

ROOT = Path(__file__).parents[1]
BARS = {"kept, random": Bar(least=0.98), "kept, same topic": Bar(least=0.98)}
SHARED = ("articles", "teacher", "records", "corrected", "capture", "pruned")
"""Stages that a layout changes nothing of."""
RESAMPLES = 2000


class Shown:
    """Finds for every question the section that answers it, among others of its kind; in a place drawn by chance."""

    def __init__(self, questions: Sequence[Question], sections: Mapping[str, Section], *, same_topic: bool) -> None:
        near = neighbour_finder(sections)
        self._found: dict[str, list[Section]] = {}
        for question in questions:
            rng = random.Random(question.id)  # noqa: S311 - a draw, no secret
            gold = question.evidence[0]
            others = near(gold)[:2] if same_topic else rng.sample([ref for ref in sections if ref != gold], 2)
            refs = [gold, *others]
            rng.shuffle(refs)
            self._found[question.question] = [sections[ref] for ref in refs]

    def search(self, question: str, *, lang: str | None, limit: int) -> list[Hit]:
        """The sections drawn for the question."""
        del lang
        return [Hit(section, 0.0, 0.0) for section in self._found[question][:limit]]


def second_student(work: Path, layout: str) -> Path:
    """The demo's student trained for a layout: the folder `merged` of a build that shares what it can."""
    recipe = load_recipe(ROOT / "recipes" / "demo.toml")
    recipe = recipe.model_copy(update={"packing": recipe.packing.model_copy(update={"layout": layout})})
    folder = work / f"compiled-{layout}"
    for name in SHARED:
        if not (folder / name).is_dir():
            shutil.copytree(work / name, folder / name, copy_function=os.link)
    open_build(recipe, folder).run(write_gguf)
    return folder / "merged"


def gguf_of(merged: Path) -> Path:
    """The checkpoint as an f16 GGUF beside it, newer than the checkpoint."""
    out = merged.parent / "compiled-quality.gguf"
    if not out.is_file() or out.stat().st_mtime < (merged / "config.json").stat().st_mtime:
        write_gguf(merged, out)
    return out


def kept(composed: Sequence[Answered], exact: Sequence[Answered]) -> tuple[float, float, float]:
    """Facts found over those found exactly, and the 95 % interval of a paired bootstrap."""
    import numpy as np

    ours, plain = (np.array([answered.facts for answered in answers]) for answers in (composed, exact))
    draws = np.random.default_rng(7).integers(0, len(ours), (RESAMPLES, len(ours)))
    ratios = ours[draws].mean(1) / np.maximum(plain[draws].mean(1), 1e-9)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(ours.mean() / max(plain.mean(), 1e-9)), float(low), float(high)


def work(run: Run) -> None:
    """Train the second student, ask both."""
    options = run.options
    folder: Path = options.work
    if not (folder / "merged" / "config.json").is_file():
        raise MissingError("the demo is not built", where=str(folder), hint="edgedesk build recipes/demo.toml")
    trained = options.layout
    layout = "parallel" if trained == "mixed" else trained
    plain, compiled = gguf_of(folder / "merged"), gguf_of(second_student(folder, trained))
    spec = PromptSpec.model_validate_json(read_text(folder / "prompt" / "prompt.json"))
    sections = sections_by_ref(folder / "articles", "en")
    asked = load_questions([str(SHOP / "en" / "questions-*.jsonl")], ["en"])
    asked = [question for question in asked if question.answerable and question.evidence[0] in sections]
    asked = sample(asked, 24 if options.quick else options.count)
    run.details |= {"questions": len(asked), "layout": layout, "trained": trained}

    def ask(what: str, gguf: Path, read: str, topic: str) -> list[Answered]:
        found = Shown(asked, sections, same_topic=topic == "same topic")
        with bar(f"{what}, {topic}", len(asked), unit="questions") as advance:
            return answer_questions(
                gguf,
                asked,
                found,
                spec.model_copy(update={"layout": read}),
                threads=options.threads,
                advance=advance,
            )

    run.row("facts found", "random", "same topic")
    rows: dict[str, dict[str, list[Answered]]] = {}
    for what, gguf, read in (
        ("trained exact, read exact", plain, "exact"),
        (f"trained exact, read {layout}", plain, layout),
        (f"trained {trained}, read {layout}", compiled, layout),
        (f"trained {trained}, read exact", compiled, "exact"),
    ):
        rows[what] = {topic: ask(what, gguf, read, topic) for topic in ("random", "same topic")}
        means = {topic: sum(a.facts for a in answers) / len(answers) for topic, answers in rows[what].items()}
        run.details[what] = means
        run.row(what, *(f"{mean:.3f}" for mean in means.values()))
    base, _, ours, same = rows.values()
    for topic in ("random", "same topic"):
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
    parser.add_argument("--count", type=int, default=120, help="questions to ask")


if __name__ == "__main__":
    offline()
    sys.exit(main(begin("compiled_quality", __doc__, BARS, options), work))
