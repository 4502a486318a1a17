"""Full-text search over past conversations: SQLite's FTS5 over words and pairs of Chinese characters.

FTS5's own tokenizers either take a Chinese sentence for one word or need three characters to find anything, and most
Chinese words have two. So a text is cut as `runtime.text.tokens` cuts it, before FTS5 sees it. Every run of Chinese
ends with its last character alone, which makes a single character findable as the beginning of a term.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from itertools import pairwise

from runtime.text.articles import is_han
from runtime.text.tokens import terms


@dataclass(frozen=True)
class FoundTurn:
    """A turn that a search found."""

    conversation: str
    turn: int
    asked: str
    """ISO 8601, UTC."""
    lang: str
    question: str
    draft: str
    reply: str | None
    """What the agent sent, where it was another text than the draft."""
    handoff: str | None


def query_terms(text: str) -> str:
    """A text as it is indexed: its terms with spaces between them."""
    out: list[str] = []
    cut = terms(text)
    for term, after in pairwise([*cut, ""]):
        out.append(term)
        if len(term) == 2 and is_han(term[0]) and not after.startswith(term[1]):
            out.append(term[1])
    return " ".join(out)


def expression(query: str) -> str:
    """A query as FTS5 reads it: every word of it, its terms side by side; "" when there is nothing to look for."""
    phrases = []
    for word in query.split():
        if cut := terms(word):
            # A single character is the beginning of a pair.
            begun = len(cut[-1]) == 1 and is_han(cut[-1])
            phrases.append(f'"{" ".join(cut)}"' + ("*" if begun else ""))
    return " AND ".join(phrases)


def search(db: sqlite3.Connection, query: str, limit: int) -> list[FoundTurn]:
    """Turns that hold every word of the query in question, draft or reply; best first, then newest."""
    if not (wanted := expression(query)):
        return []
    rows = db.execute(
        "SELECT turn.conversation, turn.number, asked, lang, question, draft, reply, handoff"
        " FROM words JOIN searched ON searched.id = words.rowid"
        " JOIN turn ON turn.conversation = searched.conversation AND turn.number = searched.number"
        " LEFT JOIN feedback ON feedback.conversation = turn.conversation AND feedback.number = turn.number"
        " WHERE words MATCH ? ORDER BY bm25(words), asked DESC LIMIT ?",
        (wanted, limit),
    )
    return [FoundTurn(*row) for row in rows]


def index_turn(db: sqlite3.Connection, conversation: str, number: int) -> None:
    """Bring the index up to date with one turn, inside the caller's transaction."""
    (text,) = db.execute(
        "SELECT question || char(10) || draft || char(10) || coalesce(reply, '') FROM turn"
        " LEFT JOIN feedback USING (conversation, number) WHERE conversation = ? AND number = ?",
        (conversation, number),
    ).fetchone()
    db.execute("INSERT OR IGNORE INTO searched (conversation, number) VALUES (?, ?)", (conversation, number))
    (row,) = db.execute(
        "SELECT id FROM searched WHERE conversation = ? AND number = ?", (conversation, number)
    ).fetchone()
    db.execute("DELETE FROM words WHERE rowid = ?", (row,))
    db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (row, query_terms(text)))


def forget_conversation(db: sqlite3.Connection, conversation: str) -> None:
    """Take a conversation out of the index."""
    rows = db.execute("SELECT id FROM searched WHERE conversation = ?", (conversation,)).fetchall()
    db.executemany("DELETE FROM words WHERE rowid = ?", rows)
    db.execute("DELETE FROM searched WHERE conversation = ?", (conversation,))


def index_all(db: sqlite3.Connection) -> None:
    """Index every turn."""
    for conversation, number in db.execute("SELECT conversation, number FROM turn").fetchall():
        index_turn(db, conversation, number)
