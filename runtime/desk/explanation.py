"""Why a draft is as it is: what was understood, searched, found, shown and cited, and where the time went. Pure.

Read from what the journal keeps of the turn (`runtime.desk.turn_state.details`); one written by an older Edgedesk has
less of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runtime.grounding.citations import supporting
from runtime.journal.journal import StoredTurn
from runtime.text.articles import Section


def explain_turn(turn: StoredTurn, section: Callable[[str, str], Section | None]) -> dict[str, Any]:
    """The account of one turn; `section(reference, lang)` finds a section of the articles as they are now."""
    kept = turn.details
    cited = kept.get("citations", [])
    read, reused = kept.get("prompt_tokens", 0), kept.get("reused_tokens", 0)
    return {
        "turn": turn.key.number,
        "decided": kept.get("decided", ""),
        "rule": kept.get("rule"),
        "intent": {
            "name": turn.intent,
            "confidence": kept.get("intent_confidence"),
            "corrected": _by_hand(turn, "intent"),
        },
        "emotion": {
            "name": turn.emotion,
            "confidence": kept.get("emotion_confidence"),
            "corrected": _by_hand(turn, "emotion"),
        },
        "reasons": kept.get("reasons", []),
        "query": kept.get("query", ""),
        "entities": kept.get("entities", {}),
        "sections": [_found(one, cited, section(one["ref"], turn.lang)) for one in kept.get("found", ())],
        "cited": [
            {"ref": ref, "sentences": supporting(turn.draft, here) if here else []}
            for ref in cited
            for here in [section(ref, turn.lang)]
        ],
        "unsupported": kept.get("unsupported", []),
        "layout": kept.get("layout", ""),
        "layout_reason": kept.get("layout_reason", ""),
        "prompt_tokens": read,
        "reused_tokens": reused,
        "computed_tokens": read - reused,
        "answer_tokens": kept.get("answer_tokens", 0),
        "model": turn.model,
        "bundle": turn.model.split("/")[0].rpartition("-")[0],
        "version": turn.model.split("/")[0].rpartition("-")[2],
        "times": {
            "asked": turn.asked,
            "ended": turn.ended,
            "queued_s": kept.get("queued_s"),
            "ttft_s": kept.get("ttft_s"),
            "took_s": kept.get("took_s"),
            "tokens_per_s": kept.get("tokens_per_s"),
        },
    }


def _by_hand(turn: StoredTurn, name: str) -> bool:
    return bool(turn.label and getattr(turn.label, name))


def _found(one: dict[str, Any], cited: list[str], section: Section | None) -> dict[str, Any]:
    return {
        **one,
        "shown": bool(one.get("shown")),
        "cited": one["ref"] in cited,
        "title": section.title if section else None,
        "heading": section.heading if section else None,
        "audience": section.audience if section else None,
    }
