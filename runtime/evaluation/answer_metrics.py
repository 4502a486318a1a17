"""What answers to held-out questions are worth: one figure a promise, with an interval, and by intent, worst first.

    judge        one answer against its question -> Answered
    summary      figures of a set of answers; `None` where no answer bears on one
    intervals    95% bootstrap intervals (Efron 1979) of the same
    by_intent    how many were right of each intent, worst first
    differences  of two models on the same questions, paired
    evaluation   all of it for several models, as one JSON object

Every figure is a function of counts that add up over answers, so all of them are resampled alike. Pure, and the same
answers always give the same intervals. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.desk.policy import MANIPULATION, WITHHELD
from runtime.evaluation.text_overlap import (
    BLEU_COUNTS,
    CHRF_COUNTS,
    Counts,
    bleu,
    bleu_counts,
    chrf,
    chrf_counts,
    rouge_l,
)
from runtime.grounding.citations import source_text, unsupported_quantities
from runtime.grounding.fact_matching import facts_found, is_refusal
from runtime.journal.turn_details import DISPUTED, NO_ARTICLE
from runtime.prompting.prompt_spec import PromptSpec
from runtime.text.articles import Section
from runtime.text.records import Question

RESAMPLES = 1000
UNANSWERABLE = "not answerable"
"""The group of questions that no article answers and that name no intent."""


@dataclass(frozen=True)
class Answered:
    """One question and what a model made of it."""

    question: Question
    answer: str
    found: bool
    """Whether the evidence was among the sections in the prompt."""
    facts: float
    """Share of the expected facts in the answer; of an unanswerable question 1 when it was refused, else 0."""
    refused: bool
    handed_off: bool = False
    """Whether a person takes over: a rule of the policy says so, or the model refused."""
    unsupported: tuple[str, ...] = ()
    """Numbers, prices, dates, times and codes that neither the sections shown nor the question contain."""
    written_facts: float | None = None
    """Of an answerable question, the facts in what the model itself wrote; None where it was not asked."""
    first_s: float | None = None
    """Seconds from the question to the first word, and to the end of the answer; None where nobody timed it."""
    took_s: float | None = None
    surprise: tuple[float, int] | None = None
    """Negative log-likelihood (nats) of the reference reply under the model, and its tokens, where there is one."""

    @property
    def intent(self) -> str:
        """What it is counted under: the question's intent, else its article."""
        question = self.question
        fallback = (question.evidence[0].split("#")[0] if question.evidence else "") or UNANSWERABLE
        return question.intent or question.article or fallback


def judge(
    question: Question,
    answer: str,
    shown: Sequence[Section],
    spec: PromptSpec,
    *,
    written: str | None = None,
    handoff: str | None = None,
) -> Answered:
    """Compare one answer with what was expected; `shown` are the sections it may rest on.

    `written` is the model's own text where the desk shows another; empty where no model was asked. `handoff` is why
    the desk hands the question to a person, None where it does not.
    """
    by_desk = handoff in (NO_ARTICLE, DISPUTED, MANIPULATION, WITHHELD)
    refused = by_desk or is_refusal(answer, spec.refusal.get(question.lang) or next(iter(spec.refusal.values())))
    # What the customer said may be repeated.
    sources = [*map(source_text, shown), question.question]
    claims = () if refused else tuple(unsupported_quantities(answer, sources))
    if question.answerable:
        facts = 0.0 if refused else facts_found(answer, question.facts)
        found = bool({section.ref for section in shown} & set(question.evidence))
    else:
        facts, found = float(refused), False
    own = facts if written in (None, answer) else facts_found(written or "", question.facts) if written else None
    return Answered(question, answer, found, facts, refused, handoff is not None or refused, claims, own)


@dataclass(frozen=True)
class Metric:
    """One column of the comparison."""

    name: str
    about: str
    part: Callable[[Answered], Counts | None]
    """What an answer adds; None where it does not bear on the figure."""
    whole: Callable[[Sequence[float]], float]
    """The figure of added-up parts."""
    width: int = 2
    """Numbers in a part."""
    high: bool = True
    """Whether more is better."""


def _ratio(sums: Sequence[float]) -> float:
    return float(sums[0] / sums[1]) if sums[1] else math.nan


def _share(value: Callable[[Answered], float], of: Callable[[Answered], bool]) -> Callable[[Answered], Counts | None]:
    return lambda answered: (float(value(answered)), 1.0) if of(answered) else None


def _against_reference(counts: Callable[[str, str], Counts]) -> Callable[[Answered], Counts | None]:
    def part(answered: Answered) -> Counts | None:
        reference = answered.question.reference
        return None if reference is None else counts(answered.answer, reference)

    return part


def _answerable(answered: Answered) -> bool:
    return answered.question.answerable


def _for_a_person(answered: Answered) -> bool:
    return answered.question.hand_off or not answered.question.answerable


FIGURES = (
    Metric(
        "facts_found",
        "expected facts that stand in the answer",
        _share(lambda a: a.facts, lambda a: _answerable(a) and bool(a.question.facts)),
        _ratio,
    ),
    Metric(
        "facts_written",
        "the same, in what the model itself wrote",
        _share(
            lambda a: a.written_facts or 0.0,
            lambda a: _answerable(a) and bool(a.question.facts) and a.written_facts is not None,
        ),
        _ratio,
    ),
    Metric(
        "evidence_in_prompt",
        "answerable, with the evidence before the model",
        _share(lambda a: a.found, _answerable),
        _ratio,
    ),
    Metric(
        "grounded",
        "answers all of whose figures stand in the articles shown",
        _share(lambda a: not a.unsupported, lambda a: not a.refused),
        _ratio,
    ),
    Metric("refused_wrongly", "answerable, and refused", _share(lambda a: a.refused, _answerable), _ratio, high=False),
    Metric(
        "refused_rightly",
        "not answerable, and refused",
        _share(lambda a: a.refused, lambda a: not _answerable(a)),
        _ratio,
    ),
    Metric("hand_off_recall", "for a person, and handed off", _share(lambda a: a.handed_off, _for_a_person), _ratio),
    Metric(
        "bleu",
        "BLEU against the reference reply",
        _against_reference(bleu_counts),
        bleu,
        width=BLEU_COUNTS,
    ),
    Metric(
        "rouge_l", "ROUGE-L against the reference reply", _against_reference(lambda a, r: (rouge_l(a, r), 1.0)), _ratio
    ),
    Metric("chrf", "chrF against the reference reply", _against_reference(chrf_counts), chrf, width=CHRF_COUNTS),
    Metric(
        "perplexity",
        "of the reference reply, a token",
        lambda a: None if a.surprise is None else (a.surprise[0], float(a.surprise[1])),
        lambda sums: math.exp(_ratio(sums)),
        high=False,
    ),
)


def summary(answers: Sequence[Answered]) -> dict[str, Any]:
    """`questions`, and every figure of `FIGURES`: shares from 0 to 1, perplexity from 1; None where nothing bears."""
    out: dict[str, Any] = {"questions": len(answers)}
    for figure in FIGURES:
        parts = [part for answer in answers if (part := figure.part(answer)) is not None]
        out[figure.name] = (
            _rounded(figure.whole([sum(column) for column in zip(*parts, strict=True)])) if parts else None
        )
    return out


def intervals(answers: Sequence[Answered], *, resamples: int = RESAMPLES) -> dict[str, list[float] | None]:
    """[low, high] of each figure: the middle 95% of what resampled questions give."""
    weights = _weights(len(answers), resamples)
    return {figure.name: _interval(_resampled(answers, figure, weights)) for figure in FIGURES}


def differences(
    ours: Sequence[Answered], theirs: Sequence[Answered], *, resamples: int = RESAMPLES
) -> dict[str, list[float] | None]:
    """[ours - theirs, low, high] of each figure on the same questions, resampled together.

    An interval that leaves 0 out is a difference the questions can tell.
    """
    if [a.question.id for a in ours] != [a.question.id for a in theirs]:
        raise ValueError("two models are compared on the same questions in the same order")
    weights = _weights(len(ours), resamples)
    left, right = summary(ours), summary(theirs)
    out: dict[str, list[float] | None] = {}
    for figure in FIGURES:
        name = figure.name
        if left[name] is None or right[name] is None:
            out[name] = None
            continue
        spread = _interval(_resampled(ours, figure, weights) - _resampled(theirs, figure, weights))
        out[name] = None if spread is None else [_rounded(left[name] - right[name]), *spread]
    return out


def times(answers: Sequence[Answered]) -> dict[str, float]:
    """`first_p50_s`, `first_p95_s` (to the first word), `whole_p50_s`, `whole_p95_s` (to the end); {} if untimed."""
    out: dict[str, float] = {}
    for name, seconds in (
        ("first", [a.first_s for a in answers if a.first_s is not None]),
        ("whole", [a.took_s for a in answers if a.took_s is not None]),
    ):
        if seconds:
            out |= {f"{name}_p{percent}_s": round(float(np.percentile(seconds, percent)), 3) for percent in (50, 95)}
    return out


def by_intent(answers: Sequence[Answered], *, resamples: int = RESAMPLES) -> list[dict[str, Any]]:
    """Rows {intent, questions, right, interval}, worst first, then largest first.

    `right` is the mean share of facts found, and of refusals where there is no answer.
    """
    groups: dict[str, list[Answered]] = defaultdict(list)
    for answer in answers:
        groups[answer.intent].append(answer)
    right = Metric("right", "", lambda a: (a.facts, 1.0), _ratio)
    rows = [
        {
            "intent": intent,
            "questions": len(group),
            "right": _rounded(sum(a.facts for a in group) / len(group)),
            "interval": _interval(_resampled(group, right, _weights(len(group), resamples))),
        }
        for intent, group in groups.items()
    ]
    return sorted(rows, key=lambda row: (row["right"], -row["questions"], row["intent"]))


def evaluation(models: Mapping[str, Sequence[Answered]]) -> dict[str, Any]:
    """Several models on the same questions, as one JSON object; differences are to the first of them.

    {"models": {name: summary}, "intervals": {name: …}, "differences": {name: …}, "times": {name: …},
    "intents": {name: rows}, "answers": {name: rows}}
    """
    first = next(iter(models.values()), ())
    return {
        "models": {name: summary(answers) for name, answers in models.items()},
        "intervals": {name: intervals(answers) for name, answers in models.items()},
        "differences": {name: differences(answers, first) for name, answers in models.items() if answers is not first},
        "times": {name: times(answers) for name, answers in models.items()},
        "intents": {name: by_intent(answers) for name, answers in models.items()},
        "answers": {name: rows(answers) for name, answers in models.items()},
    }


def rows(answers: Sequence[Answered]) -> list[dict[str, Any]]:
    """The answers as JSON rows, for a report and for human marks."""
    return [
        {
            "id": a.question.id,
            "lang": a.question.lang,
            "intent": a.intent,
            "question": a.question.question,
            "evidence": list(a.question.evidence),
            "answer": a.answer,
            "facts": a.facts,
            "found": a.found,
            "refused": a.refused,
            "handed_off": a.handed_off,
            "unsupported": list(a.unsupported),
        }
        for a in answers
    ]


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _weights(count: int, resamples: int) -> np.ndarray[Any, Any]:
    """How often each answer is drawn, [resamples, count]; always the same for the same sizes."""
    if not count:
        return np.zeros((resamples, 0))
    return np.random.default_rng(count).multinomial(count, [1 / count] * count, size=resamples)


def _resampled(answers: Sequence[Answered], figure: Metric, weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The figure of every resample, NaN where it drew no answer that bears on it."""
    nothing = (0.0,) * figure.width
    parts = [figure.part(answer) for answer in answers]
    sums = weights @ np.array([part or nothing for part in parts], dtype=float).reshape(len(parts), figure.width)
    bearing = weights @ np.array([part is not None for part in parts], dtype=float)
    return np.array([figure.whole(row) if some else math.nan for row, some in zip(sums, bearing, strict=True)])


def _interval(values: np.ndarray[Any, Any]) -> list[float] | None:
    there = values[~np.isnan(values)]
    return None if not len(there) else [_rounded(value) for value in np.quantile(there, (0.025, 0.975))]
