"""What must be looked at before a reply goes to a customer.

Promises: pure, and marks too much rather than too little. A figure, promise, name or address that no public source and
nothing the customer said supports is `unsupported`; a sentence that rests on an internal source is `internal`. Proves
nothing right (`runtime.grounding.claim_check`). Knows nothing of screens.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.events import Citation
from runtime.grounding.citations import cite, source_text
from runtime.grounding.claim_check import unsupported_claims
from runtime.text.articles import Section

MAX_CHARS = 20_000
"""Of a reply that is looked at; no reply is as long."""


def unsupported_parts(
    reply: str, questions: Sequence[str], citations: Sequence[Citation]
) -> tuple[tuple[str, str], ...]:
    """(`unsupported` or `internal`, what is meant), in that order; empty when nothing needs a second look.

    `questions` are the customer's own words: an order number may be said back to them.
    """
    text = reply[:MAX_CHARS]
    public = [_section(one) for one in citations if one.audience == "public"]
    internal = [_section(one) for one in citations if one.audience == "internal"]
    shown = [*map(source_text, public), *questions]
    known = unsupported_claims(text, [*shown, *map(source_text, internal)])
    found = [("unsupported", item) for item in known]
    # Its figures and its wording: a figure that only an internal source has, or a sentence that one supports best.
    leaked = [item for item in unsupported_claims(text, shown) if item not in known] if internal else []
    rests = {(one.title, one.heading) for one in cite(text, [*public, *internal]) if one in internal}
    names = [" > ".join(dict.fromkeys(part for part in name if part)) for name in sorted(rests)]
    return (*found, *(("internal", item) for item in (*names, *leaked)))


def _section(one: Citation) -> Section:
    return Section(one.article, one.section, one.title, one.heading, one.text, one.lang, one.audience)
