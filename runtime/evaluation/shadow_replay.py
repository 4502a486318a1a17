"""What a candidate would have answered: a branch's redacted questions, asked of two bundles side by side.

Nobody knows the right answers to these questions, so the report says where the two differ, and where a difference
should be read before a release: a hand-off more or less, a refusal, figures that no section bears out, and what agents
corrected. Both are asked in the same run, through the desk's own steps. Promises: writes into no branch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.bundle.bundle import Bundle
from runtime.desk.policy import read_policy
from runtime.evaluation.answer_metrics import Answered
from runtime.evaluation.answers import answer_questions
from runtime.feedback.edit_distance import edit_distance
from runtime.feedback.html_tables import html_mark, html_page, html_table, html_text
from runtime.feedback.import_exports import ReplayedQuestion
from runtime.feedback.learning import Correction
from runtime.feedback.receipt import answers_right
from runtime.retrieval.retriever import Retriever
from runtime.text.records import Question
from runtime.understanding.desk_classifiers import DeskClassifiers

SAME_BELOW = 0.1
"""Edit distance of two answers that count as the same."""
SHOWN = 300
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Shadow replay",
        "figure": "figure",
        "questions": "questions",
        "same": "answered alike",
        "now_handed_off": "now handed over",
        "now_answered": "no longer handed over",
        "unsupported": "figures no section bears out",
        "corrections": "corrections answered right",
        "current": "current",
        "candidate": "candidate",
        "differences": "Differences, most telling first",
        "question": "question",
        "none": "No answer differs.",
        "fixed": "correction answered right",
        "broken": "correction no longer right",
    },
    "zh": {
        "title": "影子回放",
        "figure": "指标",
        "questions": "问题数",
        "same": "回答一致",
        "now_handed_off": "改为转人工",
        "now_answered": "不再转人工",
        "unsupported": "资料中没有依据的数字",
        "corrections": "答对的更正",
        "current": "当前版本",
        "candidate": "候选版本",
        "differences": "差异，最值得看的在前",
        "question": "问题",
        "none": "没有不同的回答。",
        "fixed": "更正后的问题已答对",
        "broken": "更正后的问题不再答对",
    },
}


@dataclass(frozen=True)
class ShadowAnswer:
    """One question and what two bundles made of it."""

    key: str
    lang: str
    question: str
    current: str
    candidate: str
    distance: float
    """Edit distance of the two answers, 0 to 1."""
    handed_off: tuple[bool, bool]
    """Current, candidate."""
    unsupported: tuple[int, int]
    """Figures in the answer that neither the sections nor the question have."""
    right: tuple[bool, bool] | None
    """Whether an agent's correction is answered right; None where there is none."""

    @property
    def marks(self) -> list[str]:
        """What a person should look at, as keys of `WORDS`."""
        before, after = self.handed_off
        out = ["now_handed_off"] if after and not before else ["now_answered"] if before and not after else []
        if self.unsupported[1] > self.unsupported[0]:
            out.append("unsupported")
        if self.right and self.right[0] != self.right[1]:
            out.append("fixed" if self.right[1] else "broken")
        return out

    @property
    def differs(self) -> bool:
        """Whether the two answers are not alike."""
        return self.distance >= SAME_BELOW or bool(self.marks)


def ask_bundle(
    bundle: Bundle, questions: Sequence[ReplayedQuestion], *, advance: Callable[[int], None] = lambda _count: None
) -> list[Answered]:
    """What a bundle's desk answers to these questions, each after what was said before it."""
    asked = [Question(id=one.key, lang=one.lang, question=one.question) for one in questions]
    with tempfile.TemporaryDirectory() as index, Retriever.open(bundle, Path(index)) as retriever:
        return answer_questions(
            bundle.model_path,
            asked,
            retriever,
            bundle.prompt,
            policies={lang: read_policy(bundle.policy_path(lang)) for lang in {one.lang for one in asked}},
            classifiers=DeskClassifiers.of_bundle(bundle.root, retriever.embedder),
            contexts={one.key: one.context for one in questions},
            advance=advance,
        )


def compare_answers(
    current: Sequence[Answered], candidate: Sequence[Answered], corrections: Sequence[Correction] = ()
) -> list[ShadowAnswer]:
    """The two bundles' answers side by side, what should be looked at first in front (pure)."""
    known = {one.key: one for one in corrections}
    out = []
    for ours, theirs in zip(current, candidate, strict=True):
        correction = known.get(ours.question.id)
        out.append(
            ShadowAnswer(
                key=ours.question.id,
                lang=ours.question.lang,
                question=ours.question.question,
                current=ours.answer,
                candidate=theirs.answer,
                distance=round(edit_distance(ours.answer, theirs.answer), 4),
                handed_off=(ours.handed_off, theirs.handed_off),
                unsupported=(len(ours.unsupported), len(theirs.unsupported)),
                right=None if correction is None else (_right(correction, ours), _right(correction, theirs)),
            )
        )
    return sorted(out, key=lambda one: (-len(one.marks), -one.distance, one.key))


def _right(correction: Correction, answer: Answered) -> bool:
    return answers_right(correction, answer.answer, refused=answer.refused)


def shadow_figures(answers: Sequence[ShadowAnswer]) -> dict[str, Any]:
    """Counts over all questions; pairs are (current, candidate)."""
    judged = [one.right for one in answers if one.right is not None]
    return {
        "questions": len(answers),
        "same": sum(not one.differs for one in answers),
        "now_handed_off": sum("now_handed_off" in one.marks for one in answers),
        "now_answered": sum("now_answered" in one.marks for one in answers),
        "unsupported": [sum(one.unsupported[side] > 0 for one in answers) for side in (0, 1)],
        "corrections": len(judged),
        "corrections_right": [sum(right[side] for right in judged) for side in (0, 1)],
    }


def shadow_report(answers: Sequence[ShadowAnswer]) -> dict[str, Any]:
    """The figures and every answer, as JSON."""
    return {"figures": shadow_figures(answers), "answers": [asdict(one) for one in answers]}


def shadow_page(answers: Sequence[ShadowAnswer], names: tuple[str, str], *, lang: str = "en") -> str:
    """A page for whoever decides on the release; `names` are the two bundles'."""
    words, figures = WORDS[lang], shadow_figures(answers)
    count = figures["corrections"]
    rows = [
        [html_text(words[name]), "", f"{figures[name]:,}"]
        for name in ("questions", "same", "now_handed_off", "now_answered")
    ]
    rows.append([html_text(words["unsupported"]), *(f"{one:,}" for one in figures["unsupported"])])
    rows.append([html_text(words["corrections"]), *(f"{one} / {count}" for one in figures["corrections_right"])])
    columns = [
        words["figure"],
        *(f"{words[side]}: {name}" for side, name in zip(("current", "candidate"), names, strict=True)),
    ]
    parts = [f"<h1>{html_text(words['title'])}</h1>", html_table(columns, rows)]
    parts.append(f"<h2>{html_text(words['differences'])}</h2>")
    differing = [one for one in answers if one.differs][:SHOWN]
    if differing:
        shown = [
            [
                html_text(one.question) + "".join(html_mark(words[mark]) for mark in one.marks),
                html_text(one.current),
                html_text(one.candidate),
            ]
            for one in differing
        ]
        parts.append(html_table([words["question"], words["current"], words["candidate"]], shown, text=(0, 1, 2)))
    else:
        parts.append(f"<p>{html_text(words['none'])}</p>")
    return html_page(words["title"], parts, lang=lang)
