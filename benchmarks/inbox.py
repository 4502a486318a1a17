"""Claim: a page of the agents' inbox takes at most 20 ms in a journal of 50,000 conversations, whatever is filtered.

The peer is what the inbox did before it had an index: read all conversations, newest first, and filter them in Python.
Both read the same file in turns. Conversations have one turn each, a tenth of them open, the rest closed, all tagged.

    python benchmarks/inbox.py [--quick] [--json]

About a minute. `--quick` takes 5,000 conversations.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _harness import Bar, Run, begin, main, median, spread

from runtime.journal.inbox import Inbox
from runtime.journal.journal import Journal
from runtime.journal.schema import rebuild_derived
from runtime.journal.turn_details import TurnDetails

PAGES: dict[str, dict[str, Any]] = {
    "first page": {},
    "open": {"status": "open"},
    "closed": {"status": "closed"},
    "tag": {"tag": "vip"},
    "open with a tag": {"status": "open", "tag": "vip"},
    "page 800": {"offset": 40_000},
}
BARS = {f"{name}, ms": Bar(most=20) for name in PAGES}
ROUNDS = 9


def fill(journal: Journal, count: int) -> None:
    """As many conversations, the last asked last."""
    details = TurnDetails(intent="return_policy", emotion="calm", citations=("returns-window#how-long",)).to_json()
    with journal.transaction() as db:
        for number in range(count):
            name, asked = f"talk-{number}", f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}"
            db.execute("INSERT INTO conversation VALUES (?, ?)", (name, asked))
            db.execute(
                "INSERT INTO turn VALUES (?, 1, ?, 'en', 'How long may I return it?', '30 days.', 'complete', NULL,"
                " 'm', ?, ?)",
                (name, asked, details, asked),
            )
            status = "closed" if number % 10 else "open"
            db.execute(
                "INSERT INTO meta VALUES (?, ?, 'ann', ?, NULL, NULL, '[\"vip\"]', '', '', NULL)", (name, asked, status)
            )
        rebuild_derived(db)


def by_reading_all(db: sqlite3.Connection, **wanted: Any) -> list[dict[str, Any]]:
    """The way before."""
    rows = db.execute(
        "SELECT id, turn.number, asked, question, details, status, tags FROM conversation JOIN turn"
        " ON turn.conversation = id AND turn.number ="
        " (SELECT max(number) FROM turn AS later WHERE later.conversation = id)"
        " LEFT JOIN feedback ON feedback.conversation = id AND feedback.number = turn.number"
        " LEFT JOIN handoff ON handoff.conversation = id AND handoff.number = turn.number"
        " LEFT JOIN label ON label.conversation = id AND label.number = turn.number"
        " LEFT JOIN meta ON meta.conversation = id ORDER BY asked DESC"
    ).fetchall()
    listed = [{"status": row[5], "tags": json.loads(row[6]), "details": json.loads(row[4])} for row in rows]
    kept = [
        row
        for row in listed
        if wanted.get("status") in (None, row["status"]) and wanted.get("tag") in (None, *row["tags"])
    ]
    start = wanted.get("offset", 0)
    return kept[start : start + 50]


def timed(work: Callable[[], list[Any]]) -> tuple[float, int]:
    """Milliseconds, and rows."""
    begun = time.perf_counter()
    rows = work()
    return (time.perf_counter() - begun) * 1000, len(rows)


def work(run: Run) -> None:
    """Fill, then read in turns."""
    count = 5_000 if run.options.quick else 50_000
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:
        fill(journal, count)
        inbox = Inbox(journal)
        for name, wanted in PAGES.items():
            ours, before = [], []
            for number in range(ROUNDS):
                took, found = timed(partial(inbox.conversations, **wanted))
                ours.append(took)
                if number % 3 == 0:
                    with journal.reading() as db:
                        took, expected = timed(partial(by_reading_all, db, **wanted))
                    before.append(took)
                    if found != expected:
                        sys.exit(f"{name}: {found} rows, expected {expected}")
            run.figures[f"{name}, ms"] = round(median(ours), 2)
            run.details[f"{name}, by reading all, ms"] = round(median(before), 1)
            run.row(name, spread(ours, " ms"), f"by reading all {spread(before, ' ms')}")


if __name__ == "__main__":
    sys.exit(main(begin("inbox", __doc__, BARS), work))
