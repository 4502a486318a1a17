"""The outbox of a branch, whether a server owns the journal or this process does, and its export to a file.

Promises: a turn counts as sent only when its file is whole on disk; a turn that was forgotten or changed while rows
were made is not in it; a turn that cannot be read is set aside and the rest goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from runtime import __version__
from runtime.bundle.bundle import Bundle
from runtime.desk.policy import hand_off_reasons, outbox_cap, personal_rules, read_policy
from runtime.feedback.export_file import ExportHeader, write_export
from runtime.journal.journal import Journal
from runtime.journal.outbox import OutboxPage, OutboxRow, acknowledge, outbox_page, put_aside, still_waiting
from runtime.journal.outbox_queue import drop_over_cap, outbox_counts, release_aside

PAGE_ROWS = 500
"""Rows asked for at a time: a page of long drafts stays below the limits of a response."""


class Outgoing(Protocol):
    """What may leave a branch."""

    def header(self) -> ExportHeader:
        """Who exports, and from what."""
        ...

    def page(self, limit: int, skip: int = 0) -> OutboxPage:
        """Turns that wait, oldest first, after the first `skip`."""
        ...

    def acknowledge(self, keys: Collection[str]) -> int:
        """These have arrived."""
        ...

    def put_aside(self, keys: Collection[str]) -> int:
        """These cannot leave as they are."""
        ...

    def still_waiting(self, keys: Collection[str]) -> Collection[str]:
        """Of these, those that were neither forgotten nor changed meanwhile."""
        ...

    def release_aside(self) -> int:
        """What was set aside waits again."""
        ...


class JournalOutbox:
    """The outbox of a journal that this process owns."""

    def __init__(
        self, journal: Journal, bundle: Bundle, *, branch: str, generation: int, refused: tuple[str, ...] = ()
    ) -> None:
        """Turns over the policy's cap are dropped at once, so that what leaves is what the policy wants."""
        policies = [read_policy(path) for path in sorted(bundle.root.glob("policy*.toml"))]
        self._journal, self._bundle = journal, bundle
        self._branch, self._generation, self._refused = branch, generation, refused
        self._public, self._rules = bundle.public_text(), personal_rules(bundle)
        self._reasons = hand_off_reasons(policies)
        cap = outbox_cap(bundle)
        drop_over_cap(journal, cap.max_turns, cap.drop)

    def header(self) -> ExportHeader:
        """Who exports, and from what."""
        return make_header(
            self._journal, self._bundle, branch=self._branch, generation=self._generation, refused=self._refused
        )

    def page(self, limit: int, skip: int = 0) -> OutboxPage:
        """Turns that wait."""
        return outbox_page(
            self._journal, public=self._public, limit=limit, skip=skip, reasons=self._reasons, rules=self._rules
        )

    def acknowledge(self, keys: Collection[str]) -> int:
        """These have arrived."""
        return acknowledge(self._journal, keys)

    def put_aside(self, keys: Collection[str]) -> int:
        """These cannot leave as they are."""
        return put_aside(self._journal, keys)

    def still_waiting(self, keys: Collection[str]) -> Collection[str]:
        """Neither forgotten nor changed."""
        return still_waiting(self._journal, keys)

    def release_aside(self) -> int:
        """What was set aside waits again."""
        return release_aside(self._journal)


def make_header(
    journal: Journal, bundle: Bundle, *, branch: str, generation: int, refused: tuple[str, ...]
) -> ExportHeader:
    """The line about a branch; one without a name gets one that says nothing of it and stays the same."""
    counts = outbox_counts(journal)
    return ExportHeader(
        branch=branch or f"branch-{journal.alias('')[:12]}",
        exported=journal.time(),
        edgedesk=__version__,
        bundle=bundle.info.name,
        version=bundle.info.version,
        generation=generation,
        waiting=counts.waiting,
        aside=counts.aside,
        dropped=counts.dropped,
        refused=refused,
    )


@dataclass(frozen=True)
class ExportReport:
    """What one export did."""

    file: str
    turns: int
    aside: int
    """Turns that could not be read, set aside by this run."""


def all_waiting(outbox: Outgoing, *, set_aside: bool = True) -> tuple[list[OutboxRow], int]:
    """Every turn that waits, and how many could not be read; those are set aside, or just passed over."""
    rows: dict[str, OutboxRow] = {}
    passed = aside = 0
    while True:
        page = outbox.page(PAGE_ROWS, len(rows) + passed)
        if not page.rows and not page.unreadable:
            return list(rows.values()), aside
        rows |= {row.key: row for row in page.rows}
        aside += len(page.unreadable)
        if page.unreadable and set_aside:
            outbox.put_aside(page.unreadable)  # they wait no longer: the pages behind move up
        else:
            passed += len(page.unreadable)


def export_turns(
    outbox: Outgoing, path: Path, *, keep: bool = False, advance: Callable[[int, int], None] = lambda _done, _all: None
) -> ExportReport:
    """Write everything that waits to a file; with `keep` it goes on waiting."""
    header = outbox.header()
    rows, aside = all_waiting(outbox)
    advance(len(rows), 2 * len(rows))
    # Asked last, so that what was forgotten while the rows were made is in no file.
    there = outbox.still_waiting([row.key for row in rows])
    rows = [row for row in rows if row.key in there]
    write_export(path, header, rows)
    if not keep:
        outbox.acknowledge([row.key for row in rows])
    advance(len(rows), len(rows))
    return ExportReport(str(path), len(rows), aside)


def default_file(header: ExportHeader, now: datetime) -> str:
    """The name of an export: branch and time, in letters that every file system takes."""
    name = "".join(char if char.isalnum() else "-" for char in header.branch)
    return f"feedback-{name}-{now:%Y%m%dT%H%M%SZ}.jsonl"
