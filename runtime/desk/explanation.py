"""Why a draft is as it is: what was understood, searched, found, shown and cited, and where the time went. Pure.

Read from what the journal keeps of the turn (`runtime.journal.turn_details`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runtime.grounding.citations import supporting_sentences
from runtime.journal.stored_turn import StoredTurn
from runtime.journal.turn_details import FoundSection
from runtime.text.articles import Section


def explain_turn(turn: StoredTurn, section: Callable[[str, str], Section | None]) -> dict[str, Any]:
    """The account of one turn; `section(reference, lang)` finds a section of the articles as they are now."""
    kept = turn.details
    cited, read, reused = kept.citations, kept.prompt_tokens, kept.reused_tokens
    return {
        "turn": turn.key.number,
        "decided": kept.decided,
        "rule": kept.rule,
        "intent": {
            "name": turn.intent,
            "confidence": kept.intent_confidence,
            "corrected": bool(turn.label and turn.label.intent),
        },
        "emotion": {
            "name": turn.emotion,
            "confidence": kept.emotion_confidence,
            "corrected": bool(turn.label and turn.label.emotion),
        },
        "unfamiliar": kept.unfamiliar,
        "answerable": kept.answerable,
        "reasons": kept.reasons,
        "query": kept.query,
        "entities": kept.entities,
        "sections": [_found(one, cited, section(one.ref, turn.lang)) for one in kept.found],
        "cited": [
            {"ref": ref, "sentences": supporting_sentences(turn.draft, here) if here else []}
            for ref in cited
            for here in [section(ref, turn.lang)]
        ],
        "unsupported": kept.unsupported,
        "layout": kept.layout,
        "layout_reason": kept.layout_reason,
        "prompt_tokens": read,
        "reused_tokens": reused,
        "computed_tokens": read - reused,
        "answer_tokens": kept.answer_tokens,
        "model": turn.model,
        "bundle": turn.model.split("/")[0].rpartition("-")[0],
        "version": turn.model.split("/")[0].rpartition("-")[2],
        "times": {
            "asked": turn.asked,
            "ended": turn.ended,
            "queued_s": kept.queued_s,
            "ttft_s": kept.ttft_s,
            "took_s": kept.took_s,
            "tokens_per_s": kept.tokens_per_s,
        },
    }


def _found(one: FoundSection, cited: tuple[str, ...], section: Section | None) -> dict[str, Any]:
    return {
        **one.model_dump(),
        "cited": one.ref in cited,
        "title": section.title if section else None,
        "heading": section.heading if section else None,
        "audience": section.audience if section else None,
    }
