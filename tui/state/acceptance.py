"""Whether a draft is safe to accept, and why not.

Each reason is a fact of the turn that an agent can check; a draft without one is called safe, which is no proof that it
is right. Pure. Knows nothing of languages and screens.
"""

from __future__ import annotations

from typing import Literal

from tui.state.turn import ConsoleTurn

UNLIKELY = 0.2
"""Of answerable questions, so many look less answerable: a bundle's desk hands off well below it."""
Doubt = Literal["disputed", "unsupported", "unsourced", "internal", "unasked", "unlikely", "unfamiliar"]


def acceptance_doubts(turn: ConsoleTurn) -> tuple[Doubt, ...]:
    """What speaks against accepting an offered draft, weightiest first; empty = nothing does.

    `disputed`: another article gives other figures; `unsupported`: it claims what no section says; `unsourced`: a model
    wrote it and it rests on no section; `internal`: it rests on a section that customers must not see; `unasked`: its
    source is about a case that the customer did not name and was not asked about; `unlikely`: articles seldom answer
    such questions; `unfamiliar`: nobody asked the like before.
    """
    out: list[Doubt] = []
    if turn.disputed:
        out.append("disputed")
    if turn.unsupported:
        out.append("unsupported")
    if turn.decided == "model" and not turn.citations:
        out.append("unsourced")
    if any(one.audience == "internal" for one in turn.citations):
        out.append("internal")
    if turn.special_case:
        out.append("unasked")
    if turn.answerable is not None and turn.answerable < UNLIKELY:
        out.append("unlikely")
    if turn.labels.unfamiliar:
        out.append("unfamiliar")
    return tuple(out)
