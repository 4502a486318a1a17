"""The journal's tables, as the steps by which they came to be what they are.

Every table that holds something nobody can compute again has its key in front and a number of columns of its own, so
that `runtime.journal.recovery` can tell its rows apart when nothing but the rows is left.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import NamedTuple

from runtime.journal import inbox_index
from runtime.journal.search import index_all


class Migration(NamedTuple):
    """A change of the tables, and why it is made. Applied in order, once, each in its own transaction."""

    why: str
    sql: str
    then: Callable[[sqlite3.Connection], None] | None = None


MIGRATIONS = (
    Migration(
        "Conversations with numbered turns: the question, the draft as the desk wrote it, and how it ended.",
        """
        CREATE TABLE conversation (
            id TEXT PRIMARY KEY,
            started TEXT NOT NULL
        ) STRICT;
        CREATE TABLE turn (
            conversation TEXT NOT NULL REFERENCES conversation (id),
            number INTEGER NOT NULL,
            asked TEXT NOT NULL,
            lang TEXT NOT NULL,
            question TEXT NOT NULL,
            draft TEXT NOT NULL DEFAULT '',
            state TEXT NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'complete', 'cancelled', 'failed', 'partial')),
            handoff TEXT,
            model TEXT NOT NULL DEFAULT '',
            details TEXT NOT NULL DEFAULT '{}',
            ended TEXT,
            PRIMARY KEY (conversation, number)
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    Migration(
        "What the agent did with a draft, who took a hand-off, and what has yet to leave the branch.",
        """
        CREATE TABLE feedback (
            conversation TEXT NOT NULL,
            number INTEGER NOT NULL,
            at TEXT NOT NULL,
            agent TEXT NOT NULL,
            verdict TEXT CHECK (verdict IN ('accepted', 'edited', 'rejected')),
            reply TEXT,
            reason TEXT,
            rating INTEGER CHECK (rating BETWEEN 1 AND 5),
            seconds REAL,
            PRIMARY KEY (conversation, number),
            FOREIGN KEY (conversation, number) REFERENCES turn (conversation, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE handoff (
            conversation TEXT NOT NULL,
            number INTEGER NOT NULL,
            reason TEXT NOT NULL,
            opened TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'taken', 'closed')),
            agent TEXT,
            changed TEXT NOT NULL,
            PRIMARY KEY (conversation, number),
            FOREIGN KEY (conversation, number) REFERENCES turn (conversation, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE outbox (
            conversation TEXT NOT NULL,
            number INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('waiting', 'sent')),
            changed TEXT NOT NULL,
            PRIMARY KEY (conversation, number),
            FOREIGN KEY (conversation, number) REFERENCES turn (conversation, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE redacted (
            conversation TEXT PRIMARY KEY REFERENCES conversation (id)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO outbox
            SELECT conversation, number, 1, 'waiting', coalesce(ended, asked) FROM turn WHERE ended IS NOT NULL;
        INSERT INTO handoff
            SELECT conversation, number, handoff, coalesce(ended, asked), 'open', NULL, coalesce(ended, asked)
            FROM turn WHERE handoff IS NOT NULL;
        """,
    ),
    Migration(
        "Full-text search over past conversations, in English and in Chinese (`runtime.journal.search`).",
        """
        CREATE TABLE searched (
            id INTEGER PRIMARY KEY,
            conversation TEXT NOT NULL,
            number INTEGER NOT NULL,
            UNIQUE (conversation, number)
        ) STRICT;
        CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'unicode61 remove_diacritics 0');
        """,
        index_all,
    ),
    Migration(
        "What people say of a turn, how a conversation stands in the inbox, and what is typed and not sent yet.",
        """
        CREATE TABLE label (
            conversation TEXT NOT NULL,
            number INTEGER NOT NULL,
            at TEXT NOT NULL,
            agent TEXT NOT NULL,
            intent TEXT,
            emotion TEXT,
            PRIMARY KEY (conversation, number),
            FOREIGN KEY (conversation, number) REFERENCES turn (conversation, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE meta (
            conversation TEXT PRIMARY KEY REFERENCES conversation (id),
            changed TEXT NOT NULL,
            agent TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('open', 'snoozed', 'closed')),
            snooze_until TEXT,
            assignee TEXT,
            tags TEXT NOT NULL,
            notes TEXT NOT NULL,
            summary TEXT NOT NULL,
            satisfaction INTEGER CHECK (satisfaction BETWEEN 1 AND 5)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE composer (
            conversation TEXT PRIMARY KEY,
            revision INTEGER NOT NULL,
            changed TEXT NOT NULL,
            text TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    Migration(
        "What the journal knows of itself, and an inbox whose pages cost the same however long the journal is.",
        """
        CREATE TABLE setting (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL,
            changed TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE inbox (
            conversation TEXT PRIMARY KEY REFERENCES conversation (id),
            number INTEGER NOT NULL,
            place INTEGER NOT NULL,
            touched TEXT NOT NULL,
            status TEXT NOT NULL DEFAULT 'open',
            snooze_until TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX inbox_place ON inbox (place, number);
        CREATE INDEX inbox_status ON inbox (status, place, number, snooze_until);
        CREATE INDEX inbox_touched ON inbox (touched);
        CREATE TABLE inbox_tag (
            conversation TEXT NOT NULL REFERENCES inbox (conversation),
            tag TEXT NOT NULL,
            place INTEGER NOT NULL,
            PRIMARY KEY (conversation, tag)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX inbox_tag_place ON inbox_tag (tag, place);
        CREATE INDEX outbox_waiting ON outbox (changed) WHERE state = 'waiting';
        CREATE INDEX turn_open ON turn (state) WHERE state = 'open';
        """,
        inbox_index.rebuild,
    ),
    Migration(
        "Turns that leave the outbox without leaving the branch: dropped over its cap, or set aside.",
        """
        CREATE TABLE outgoing (
            conversation TEXT NOT NULL,
            number INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'dropped', 'aside')),
            changed TEXT NOT NULL,
            PRIMARY KEY (conversation, number),
            FOREIGN KEY (conversation, number) REFERENCES turn (conversation, number)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO outgoing SELECT * FROM outbox;
        DROP TABLE outbox;
        ALTER TABLE outgoing RENAME TO outbox;
        CREATE INDEX outbox_waiting ON outbox (changed) WHERE state = 'waiting';
        """,
    ),
)


class Table(NamedTuple):
    """A table that holds something nobody can compute again."""

    name: str
    kinds: str = ""
    """One letter a column, by which a row found in a damaged file is recognised: s text, t text or nothing, i whole
    number, n any number or nothing. Empty where rows are not recovered: they follow from other tables' rows."""


TABLES = (
    Table("conversation"),
    Table("turn", "sissssstsst"),
    Table("feedback", "sisstttnn"),
    Table("handoff", "sisssts"),
    Table("outbox", "siiss"),
    Table("label", "sisstt"),
    Table("meta", "ssssttsssn"),
    Table("composer", "siss"),
    Table("redacted"),
    Table("setting", "sss"),
)
"""Every table that is not derived, parents before the rows that refer to them.

Copied in this order when a journal is encrypted, emptied in the reverse order when a conversation is forgotten.
"""

OF_A_CONVERSATION = tuple(table for table in TABLES if table.name != "setting")
"""Those whose rows go with their conversation."""

DERIVED = ("inbox", "inbox_tag", "searched", "words")
"""What follows from `TABLES`: the inbox's order and the full-text index (FTS5 keeps `words` in tables `words_…`)."""


def rebuild_derived(db: sqlite3.Connection) -> None:
    """Make the tables of `DERIVED` anew, inside the caller's transaction."""
    inbox_index.rebuild(db)
    index_all(db)


def migrate(db: sqlite3.Connection, done: int) -> None:
    """Apply the migrations after number `done`."""
    for number, migration in enumerate(MIGRATIONS[done:], start=done + 1):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in _statements(migration.sql):
                db.execute(statement)
            if migration.then:
                migration.then(db)
            db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _statements(sql: str) -> Iterator[str]:
    """One at a time: `executescript` would commit before it begins."""
    statement = ""
    for part in sql.split(";"):
        statement += part + ";"
        if statement.strip() != ";" and sqlite3.complete_statement(statement):
            yield statement
            statement = ""
