"""Which questions the desk turns away before any model is asked: of those that articles answer, and of the others.

No model writes here, so that every held-out question can be asked: a share of refusals measured on a dozen tells
nothing. Promises: rules, retrieval, classifiers and bounds are the desk's (`runtime.desk.turn_steps`). Knows nothing of
what a model refuses by itself; `runtime.evaluation.answer_metrics` counts that too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from runtime.base.statistics import wilson_interval
from runtime.desk.policy import MANIPULATION, WITHHELD, Policy
from runtime.desk.turn_steps import prepare_prompt
from runtime.engine.llama.vocab import open_vocabulary
from runtime.evaluation.answers import SectionFinder, active_policies, desk_tools, first_state
from runtime.journal.turn_details import DISPUTED, NO_ARTICLE
from runtime.prompting.prompt_spec import PromptSpec
from runtime.text.records import Question
from runtime.understanding.desk_classifiers import DeskClassifiers

BEFORE_MODEL = (NO_ARTICLE, DISPUTED, MANIPULATION, WITHHELD)
"""Reasons that say no article is to answer; a rule that asks for a person refuses nothing."""


class Refusals(BaseModel):
    """Of one language; shares from 0 to 1, None where no such question is asked."""

    model_config = ConfigDict(frozen=True)

    answerable: int
    refused_wrongly: float | None
    wrongly_interval: tuple[float, float] | None
    """95 % (Wilson 1927)."""
    unanswerable: int
    refused_rightly: float | None

    @classmethod
    def of(cls, asked: Sequence[tuple[bool, bool]]) -> Refusals:
        """Of (answerable, refused) pairs."""
        yes = [refused for answerable, refused in asked if answerable]
        no = [refused for answerable, refused in asked if not answerable]
        interval = tuple(round(end, 4) for end in wilson_interval(sum(yes), len(yes))) if yes else None
        return cls(
            answerable=len(yes),
            refused_wrongly=round(sum(yes) / len(yes), 4) if yes else None,
            wrongly_interval=interval,  # type: ignore[arg-type]  # two ends
            unanswerable=len(no),
            refused_rightly=round(sum(no) / len(no), 4) if no else None,
        )


def measure_refusals(
    gguf: Path,
    questions: Sequence[Question],
    retriever: SectionFinder,
    spec: PromptSpec,
    *,
    policies: Mapping[str, Policy] | None = None,
    classifiers: DeskClassifiers | None = None,
    threads: int = 2,
) -> dict[str, Refusals]:
    """By language, of every question; of the model in `gguf` only the vocabulary is read."""
    vocabulary = open_vocabulary(gguf)
    try:
        tools = desk_tools(
            spec, vocabulary, retriever, classifiers, prompt_tokens=spec.context_tokens - spec.answer_tokens,
            threads=threads,
        )  # fmt: skip
        asked: dict[str, list[tuple[bool, bool]]] = {}
        active = active_policies(retriever, policies or {})
        for question in questions:
            state = prepare_prompt(tools, first_state(question, active))
            refused = state.answer is not None and state.answer.handoff in BEFORE_MODEL
            asked.setdefault(question.lang, []).append((question.answerable, refused))
    finally:
        vocabulary.close()
    return {lang: Refusals.of(pairs) for lang, pairs in sorted(asked.items())}
