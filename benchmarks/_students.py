"""What the benchmarks of distillation share: the sections a question is shown, checkpoints as GGUF, answers by models.

Questions are asked through the engine with the section that answers among two others, so that what is measured is the
model and not retrieval. Knows nothing of what is claimed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.data.dataset import neighbour_finder
from distill.pipeline.build import Build, open_build
from distill.recipe.load_recipe import load_recipe
from distill.teacher.teacher_forcing import FIGURE
from quantize.formats.gguf_writer import write_gguf
from runtime.base.progress import bar
from runtime.evaluation.answer_metrics import Answered
from runtime.evaluation.answers import answer_questions, load_questions, sample
from runtime.prompting.prompt_spec import PromptSpec
from runtime.retrieval.retriever import Hit
from runtime.text.articles import Section
from runtime.text.records import Question, Record

ROOT = Path(__file__).parents[1]
BESIDE = 2
"""Sections shown beside the one that answers."""
RESAMPLES = 2000


class Shown:
    """Finds for every question the section that answers it, among others; in a place drawn by chance."""

    def __init__(self, questions: Sequence[Question], sections: Mapping[str, Section], *, same_topic: bool) -> None:
        """`same_topic`: the others are those most like it, which retrieval shows; else any."""
        near = neighbour_finder(sections)
        self._found: dict[str, list[Section]] = {}
        for question in questions:
            rng = random.Random(question.id)  # noqa: S311 - a draw, no secret
            gold = question.evidence[0]
            rest = [ref for ref in sections if ref != gold]
            others = near(gold)[:BESIDE] if same_topic else rng.sample(rest, min(BESIDE, len(rest)))
            refs = [gold, *others]
            rng.shuffle(refs)
            self._found[question.question] = [sections[ref] for ref in refs]

    def search(
        self, question: str, *, lang: str | None, limit: int, branch: str = "", internal: bool = True
    ) -> list[Hit]:
        """The sections drawn for the question."""
        del lang, branch, internal
        return [Hit(section, 0.0, 0.0) for section in self._found[question][:limit]]

    def cosines(self, question: str, texts: Sequence[str]) -> list[float]:
        """All alike: here nothing is searched."""
        del question
        return [0.0] * len(texts)


def open_chain(recipe: Path, work: Path, packs: int | None = None) -> Build:
    """A recipe's stages in a work folder, its student distilled on so many packs instead of the recipe's.

    It reads plainly, whatever the recipe says: what compiled articles cost is a question of its own.
    """
    loaded = load_recipe(recipe)
    packing = loaded.packing.model_copy(update={"layout": "exact"})
    prompt = loaded.prompt.model_copy(update={"layout": None})
    loaded = loaded.model_copy(update={"packing": packing, "prompt": prompt})
    if packs is not None:
        loaded = loaded.model_copy(update={"capture": loaded.capture.model_copy(update={"packs": packs})})
    return open_build(loaded, work)


def questions_for(patterns: Sequence[str], sections: Mapping[str, Section], lang: str, count: int) -> list[Question]:
    """Up to `count` answerable questions of one language that rest on these sections."""
    asked = load_questions(patterns, [lang])
    return sample([q for q in asked if q.answerable and q.evidence and q.evidence[0] in sections], count)


def records_as_questions(records: Sequence[Record], sections: Mapping[str, Section], count: int) -> list[Question]:
    """Up to `count` held-out records as questions: the facts are the figures in the reply that the section has too.

    Conversations of one turn, one question a reply. A small model that fails at indirect questions finds these.
    """
    out: dict[str, Question] = {}
    for record in records:
        if record.context or not record.evidence or record.evidence[0] not in sections:
            continue
        said = dict.fromkeys(FIGURE.findall(record.response))
        found = [figure for figure in said if figure in FIGURE.findall(sections[record.evidence[0]].text)]
        if found and record.response not in out:
            out[record.response] = Question(
                id=record.id,
                lang=record.lang,
                question=record.query,
                evidence=record.evidence,
                facts=tuple((figure,) for figure in found),
            )
    return sample(list(out.values()), count)


def ask(
    what: str, gguf: Path, asked: Sequence[Question], shown: Shown, spec: PromptSpec, threads: int
) -> list[Answered]:
    """A model's own answers, its articles read in the layout of `spec`."""
    spec = spec.model_copy(update={"min_agreement": 0.0})
    with bar(f"asking {what}", len(asked), unit="questions") as advance:
        return answer_questions(gguf, asked, shown, spec, threads=threads, advance=advance)


def gguf_of(checkpoint: Path) -> Path:
    """A checkpoint as an f16 GGUF beside its folder; made when there is none as new."""
    out = checkpoint.parent / f"{checkpoint.name}-f16.gguf"
    if not out.is_file() or out.stat().st_mtime < (checkpoint / "config.json").stat().st_mtime:
        write_gguf(checkpoint, out)
    return out


def facts(answers: Sequence[Answered]) -> Any:
    """Facts found in each answer, as an array."""
    import numpy as np

    return np.array([answered.facts for answered in answers])


def resampled(*rows: Any) -> list[Any]:
    """Means of the rows in each of `RESAMPLES` paired bootstrap draws."""
    import numpy as np

    draws = np.random.default_rng(7).integers(0, len(rows[0]), (RESAMPLES, len(rows[0])))
    return [row[draws].mean(1) for row in rows]


def interval(values: Any) -> tuple[float, float]:
    """The middle 95 %."""
    import numpy as np

    low, high = np.quantile(values, (0.025, 0.975))
    return round(float(low), 4), round(float(high), 4)
