"""The improvement receipt as one branch sees it: its own questions beside the verdicts of the bundle's receipt.

The receipt names corrections by keys that only the journal they came from can read. Promises: what the branch has
forgotten is counted and not shown; a bundle without a receipt is one without corrections.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from runtime.base.files import read_text
from runtime.bundle.bundle import Bundle
from runtime.errors import InputError
from runtime.feedback.learning import correction_key
from runtime.feedback.receipt import RECEIPT, ImprovementReceipt
from runtime.journal.journal import Journal
from runtime.journal.stored_turn import TurnKey

SHOWN = 500
"""Corrections that are listed, the newest conversations first."""


@dataclass(frozen=True)
class OwnCorrection:
    """A correction of this branch."""

    conversation: str
    turn: int
    question: str
    reply: str
    """What the agent made of the draft."""
    passes: bool
    """Whether the model in use answers it right."""


@dataclass(frozen=True)
class OwnReceipt:
    """What the model in use makes of corrections."""

    release: str
    """Empty where the bundle has no receipt."""
    corrections: int
    """Of all branches."""
    passed: int
    own: tuple[OwnCorrection, ...]
    """Those of this branch that its journal still has."""


def read_receipt(bundle: Bundle) -> ImprovementReceipt | None:
    """The bundle's receipt; None where it has none. `InputError` for one that is damaged."""
    path = bundle.root / "report" / RECEIPT
    if not path.is_file():
        return None
    try:
        return ImprovementReceipt.model_validate_json(read_text(path))
    except ValidationError:
        raise InputError("not a receipt", where=str(path), hint="install the bundle again") from None


def own_receipt(bundle: Bundle, journal: Journal) -> OwnReceipt:
    """The receipt, with this branch's own corrections found in its journal."""
    receipt = read_receipt(bundle)
    if receipt is None:
        return OwnReceipt("", 0, 0, ())
    with journal.reading() as db:
        rows = db.execute(
            "SELECT conversation, number FROM feedback WHERE verdict IN ('edited', 'rejected') ORDER BY at DESC"
        ).fetchall()
    passes = {one.key: one.passes for one in receipt.corrections}
    own: list[OwnCorrection] = []
    for conversation, number in rows:
        key = correction_key(journal.alias(conversation), number)
        if key not in passes or len(own) == SHOWN:
            continue
        turn = next((one for one in journal.turns(conversation) if one.key == TurnKey(conversation, number)), None)
        if turn is not None and turn.feedback is not None:
            reply = turn.feedback.reply or ""
            own.append(OwnCorrection(conversation, number, turn.question, reply, passes[key]))
    return OwnReceipt(receipt.release, len(receipt.corrections), receipt.passed, tuple(own))
