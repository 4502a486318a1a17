"""Exports of a fleet, without files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runtime.feedback.export_file import ExportHeader, FeedbackExport
from runtime.journal.outbox import OutboxRow
from tests.support.feedback_rows import row


def export(
    branch: str,
    rows: Sequence[OutboxRow] = (),
    *,
    version: str = "1",
    day: int = 1,
    refused: tuple[str, ...] = (),
    **more: int,
) -> FeedbackExport:
    header = ExportHeader(
        branch=branch, exported=f"2026-11-{day:02d}T09:00:00.000+00:00", edgedesk="0.1.0", bundle="shop",
        version=version, generation=int(version), waiting=len(rows), refused=refused, **more,
    )  # fmt: skip
    return FeedbackExport(Path(f"{branch}-{day}"), header, tuple(rows))


def answered(branch: str, turns: int, *, version: str, handed_off: int = 0, failed: int = 0) -> list[OutboxRow]:
    """So many turns of a release, the first of them handed over, the last of them failed."""
    return [
        row(
            number + 1,
            f"{branch}-{version}",
            model=f"shop-{version}/q4_k_m",
            handoff="no_article" if number < handed_off else None,
            state="failed" if number >= turns - failed else "complete",
            question=f"What about {branch} number {number}?",
        )
        for number in range(turns)
    ]
