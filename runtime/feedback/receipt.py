"""The improvement receipt: which corrections a new model now answers right. Pure.

It travels in the bundle as `report/receipt.json` and names each correction by its key alone: the conversation's keyed
hash and the turn. No word of a conversation travels to another branch; the branch whose journal knows the key shows its
own question beside it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from runtime.feedback.learning import Correction
from runtime.grounding.quantity_index import QuantityIndex
from runtime.text.quantities import Quantity, quantities
from runtime.text.tokens import terms

RECEIPT = "receipt.json"
NEAR = 0.5
"""F1 of the terms of an answer and a reply that say the same without a figure in it."""


class CorrectionOutcome(BaseModel):
    """One correction and what became of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(max_length=200)
    passes: bool


class ImprovementReceipt(BaseModel):
    """`report/receipt.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: str = Field(max_length=300)
    """Name and version of the bundle."""
    corrections: tuple[CorrectionOutcome, ...] = ()

    @property
    def passed(self) -> int:
        """How many are answered right."""
        return sum(one.passes for one in self.corrections)


def answers_right(correction: Correction, answer: str, *, refused: bool = False) -> bool:
    """Whether an answer says what the agent corrected the draft to.

    Where the agent changed figures (amounts, days, dates, codes): all that the reply has and the draft had not, and
    none that the agent took out. Otherwise: at least half of the reply's terms in common, and more than with the draft.
    """
    if refused or not answer.strip():
        return False
    said = quantities(answer, loose=True)
    before, after = quantities(correction.draft), quantities(correction.reply)
    added, removed = _without(after, before), _without(before, after)
    if added or removed:
        known = QuantityIndex(said)
        return all(known.supports(one) for one in added) and not any(known.supports(one) for one in removed)
    near = _overlap(answer, correction.reply)
    return near >= NEAR and near >= _overlap(answer, correction.draft)


def _without(these: list[Quantity], those: list[Quantity]) -> list[Quantity]:
    known = QuantityIndex(those)
    return [one for one in these if not known.supports(one)]


def _overlap(left: str, right: str) -> float:
    ours, theirs = set(terms(left)), set(terms(right))
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours and theirs else 0.0
