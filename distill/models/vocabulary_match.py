"""Whether a student can learn from a teacher's probabilities: the same tokens under the same ids, cut alike.

Models of one family often differ in padding rows only (Qwen2.5-14B has 152,064, -3B 151,936, of 151,665 tokens); then
the ids they share are enough. Where a single token or the way text is cut differs, a probability of one means
nothing for the other, and the student is refused. Knows nothing of models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime.base.files import read_text
from runtime.errors import ModelError
from runtime.prompting.json_tokenizer import MAX_TOKENIZER_BYTES

_CUTTING = ("normalizer", "pre_tokenizer")


def shared_vocabulary(teacher: Path, student: Path) -> int:
    """How many ids two checkpoints share, from 0 on, every one of them a token; padding rows are left out.

    `ModelError` naming the first token that differs, or what of the cutting does.
    """
    ours, theirs = _read(student), _read(teacher)
    tokens, wanted = _tokens(ours), _tokens(theirs)
    for number in range(max(len(tokens), len(wanted))):
        if tokens.get(number) != wanted.get(number):
            raise _differ(
                f"token {number} is {wanted.get(number)!r} for the teacher and {tokens.get(number)!r} for the student",
                student,
            )
    for part in _CUTTING:
        if ours.get(part) != theirs.get(part):
            raise _differ(f"their {part} differs, so they cut text differently", student)
    if _merges(ours) != _merges(theirs):
        raise _differ("their merges differ, so they cut text differently", student)
    for checkpoint in (teacher, student):
        rows = json.loads(read_text(checkpoint / "config.json")).get("vocab_size", 0)
        if rows < len(tokens):
            raise ModelError(
                f"{len(tokens)} tokens and only {rows} rows",
                where=str(checkpoint),
                hint="config.json is another model's",
            )
    return len(tokens)


def _read(checkpoint: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(read_text(checkpoint / "tokenizer.json", max_bytes=MAX_TOKENIZER_BYTES)))
    except ValueError as error:
        raise ModelError("not a tokenizer.json", where=str(checkpoint), hint=str(error)[:100]) from None


def _tokens(tokenizer: dict[str, Any]) -> dict[int, str]:
    vocabulary = tokenizer["model"]["vocab"]
    if not isinstance(vocabulary, dict):  # Unigram: [piece, score] by place
        vocabulary = {piece: number for number, (piece, _) in enumerate(vocabulary)}
    found = {number: token for token, number in vocabulary.items()}
    return found | {added["id"]: added["content"] for added in tokenizer.get("added_tokens", ())}


def _merges(tokenizer: dict[str, Any]) -> list[tuple[str, ...]]:
    """Merges in either of the two ways the library writes them."""
    merges = tokenizer["model"].get("merges") or ()
    return [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in merges]


def _differ(why: str, student: Path) -> ModelError:
    return ModelError(
        f"this student cannot learn the teacher's probabilities: {why}",
        where=str(student),
        hint="take a student of the teacher's family",
    )
