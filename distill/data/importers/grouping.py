"""Puts messages together into conversations, in the order they were written in.

By the conversation's id, else by the customer and the pauses between messages. Ordered by time where the rows have one;
where they have none, a file whose replies come before their questions is refused. Messages wait in an unnamed temporary
file, so that memory holds two numbers a message and no text. Promises: an id that a spreadsheet has rounded never melts
two customers into one; what is left out is counted with its reason. Knows nothing of files' forms.
"""

from __future__ import annotations

import json
import re
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from itertools import pairwise
from typing import BinaryIO

from pydantic import ValidationError

from distill.data.conversation import RawConversation, RawTurn
from distill.data.importers.account import FileAccount
from distill.data.importers.columns import MessageRow
from distill.data.importers.message_text import message_text
from distill.data.importers.times import day_comes_first, parse_time
from runtime.base.validation import first_problem
from runtime.errors import InputError

MAX_MESSAGE_CHARS = 50_000
"""Of a message's plain text; nobody reads a longer one, and no prompt holds it."""
MAX_MESSAGES = 5_000
"""Of one conversation: more under one id are not a conversation."""
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d{1,3}")
_ERROR_VALUE = re.compile(r"#(?:N/A|REF!|VALUE!|NAME\?|NULL!|DIV/0!|NUM!|#+)|NaN|nan|None|null")
_LONG_NUMBER = re.compile(r"\d{16,30}")
_REVERSED = 0.5
"""Share of conversations that begin with a reply and end with a question, from which a file is taken to be reversed."""


def group_messages(
    rows: Iterable[MessageRow | InputError], account: FileAccount, *, pause_minutes: float
) -> Iterator[RawConversation | InputError]:
    """Conversations, by the place of their first message; rows that do not fit are handed on as their errors."""
    with tempfile.TemporaryFile(prefix="edgedesk-rows-") as store:
        groups = _Groups(store)
        for row in rows:
            account.rows += 1
            if isinstance(row, InputError):
                account.refused_rows += 1
                yield row
                continue
            name = row.conversation or row.customer
            if why := id_problem(name):
                account.refused_rows += 1
                yield InputError(why, where=row.where, hint="export the ids as text, or map another column")
                continue
            groups.add(row)
        if cut := groups.cut_ids():
            raise InputError(
                "its ids end in zeros from the sixteenth digit on: a spreadsheet cut them",
                where=cut,
                hint="export the ids as text, so that no two customers share one",
            )
        yield from _conversations(groups, account, pause_minutes * 60)


def id_problem(name: str) -> str:
    """Why a value names no conversation; "" where it does."""
    if not name:
        return "column 'conversation' is empty"
    if _ROUNDED.fullmatch(name):
        return "the id was rounded by a spreadsheet"
    if _ERROR_VALUE.fullmatch(name):
        return "the id is a spreadsheet's error value"
    return ""


class _Groups:
    """Messages by conversation: their places in the store, in the order they came in."""

    def __init__(self, store: BinaryIO) -> None:
        self._store = store
        self._places: dict[str, array[int]] = {}
        self._long: list[str] = []
        self._long_where = ""
        self.dates: set[str] = set()
        self.timed = 0

    def add(self, row: MessageRow) -> None:
        """Keep one message."""
        name = row.conversation or row.customer
        if len(self._long) < 1000 and _LONG_NUMBER.fullmatch(name):
            self._long.append(name)
            self._long_where = self._long_where or row.where
        if row.time:
            self.timed += 1
            if len(self.dates) < 100_000:
                self.dates.add(row.time[:10])
        self._places.setdefault(name, array("Q")).append(self._store.tell())
        self._store.write(json.dumps(astuple(row), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")

    def cut_ids(self) -> str:
        """Where ids stand that all end in zeros after their fifteenth digit; "" where they do not."""
        cut = self._long and all(set(name[15:]) == {"0"} for name in self._long)
        sure = cut and (len(self._long[0]) >= 18 or len(self._long) >= 8)
        return self._long_where if sure else ""

    def __iter__(self) -> Iterator[tuple[str, list[MessageRow]]]:
        """Each conversation's messages, in the order of the file."""
        self._store.flush()
        for name, places in self._places.items():
            rows = []
            for place in places[: MAX_MESSAGES + 1]:
                self._store.seek(place)
                rows.append(MessageRow(*json.loads(self._store.readline())))
            yield name, rows


def _conversations(groups: _Groups, account: FileAccount, pause_s: float) -> Iterator[RawConversation | InputError]:
    day_first = day_comes_first(groups.dates)
    if not groups.timed:
        _refuse_reversed(groups)
    for name, rows in groups:
        if len(rows) > MAX_MESSAGES:
            account.refused_rows += len(rows)
            yield InputError(
                f"over {MAX_MESSAGES} messages in one conversation",
                where=rows[0].where,
                hint="is the id the right column?",
            )
            continue
        try:
            ordered, times = _in_order(rows, day_first=day_first)
        except InputError as error:
            account.refused_rows += len(rows)
            yield error
            continue
        begins = _by_pause(times, pause_s) if not rows[0].conversation else []
        parts = [ordered[start:end] for start, end in pairwise([0, *begins, len(ordered)])]
        for number, (start, part) in enumerate(zip([0, *begins], parts, strict=True), start=1):
            time = times[start] if times else None
            yield from _conversation(name if len(parts) == 1 else f"{name}-{number}", part, time, account)


def _in_order(rows: list[MessageRow], *, day_first: bool | None) -> tuple[list[MessageRow], list[float]]:
    """Messages by time; those of the same second as they came, backwards in a file whose newest come first."""
    if not any(row.time for row in rows):
        return rows, []
    times = []
    for row in rows:
        moment = parse_time(row.time, day_first=bool(day_first))
        if moment is None or (day_first is None and "/" in row.time[:6]):
            what = "no time that can be read" if moment is None else "a date that may be read two ways"
            raise InputError(what, where=row.where, hint="write times as 2026-01-31 12:00:00, or leave the column out")
        times.append(moment)
    falling = sum(later < earlier for earlier, later in pairwise(times))
    rising = sum(later > earlier for earlier, later in pairwise(times))
    sign = -1 if falling > rising else 1
    order = sorted(range(len(rows)), key=lambda place: (times[place], sign * place))
    return [rows[place] for place in order], [times[place] for place in order]


def _by_pause(times: Sequence[float], pause_s: float) -> list[int]:
    """Where one customer's messages begin a new conversation: after nobody wrote for longer than `pause_s`."""
    return [place for place, (before, now) in enumerate(pairwise(times), start=1) if now - before > pause_s]


def _conversation(
    name: str, rows: Sequence[MessageRow], time: float | None, account: FileAccount
) -> Iterator[RawConversation | InputError]:
    turns: list[RawTurn] = []
    skipped: list[str] = []
    try:
        for row in rows:
            if row.problem:
                raise InputError(row.problem, where=row.where, hint=row.hint)
            if row.hidden:
                skipped.append(row.hidden)
                continue
            if not row.content.strip():
                raise InputError("column 'content' is empty", where=row.where)
            text = message_text(row.content)
            if not text:
                skipped.append("only a quote or a signature")
                continue
            turns.append(_turn(row, text))
        if not turns:
            account.skipped.update(skipped)
            account.skipped_rows += len(skipped)
            return
        lang = next((row.lang for row in rows if row.lang), "")
        yield RawConversation(conversation=name, lang=lang, turns=tuple(turns), where=rows[0].where, time=time)
    except InputError as error:
        account.refused_rows += len(rows)
        yield InputError(f"{error.what}; conversation '{name}' is left out", where=error.where, hint=error.hint)
    except ValidationError as error:
        account.refused_rows += len(rows)
        problem = first_problem(error, "column")
        hint = problem.hint or "a two-letter code such as en or zh, or an empty cell to go by the script"
        yield InputError(f"{problem.sentence}; conversation '{name}' is left out", where=rows[0].where, hint=hint)
    else:
        account.skipped.update(skipped)
        account.skipped_rows += len(skipped)
        account.used_rows += len(rows) - len(skipped)


def _turn(row: MessageRow, text: str) -> RawTurn:
    if len(text) > MAX_MESSAGE_CHARS:
        raise InputError(f"a message of {len(text):,} characters, at most {MAX_MESSAGE_CHARS:,}", where=row.where)
    try:
        return RawTurn.model_validate(
            {
                "role": row.side,
                "content": text,
                "intent": row.intent or None,
                "emotion": row.emotion or None,
                "evidence": None if row.evidence is None else tuple(row.evidence.split()),
            }
        )
    except ValidationError as error:
        raise InputError(first_problem(error, "column", RawTurn).sentence, where=row.where) from None


def _refuse_reversed(groups: _Groups) -> None:
    """`InputError` for a file without times whose replies come before their questions."""
    seen = backwards = 0
    first = ""
    for _, rows in groups:
        said = [row for row in rows if not row.hidden]
        if {row.side for row in said} != {"user", "assistant"}:
            continue
        seen += 1
        ends_asking = said[-1].content.rstrip().endswith(("?", "？"))
        backwards += said[0].side == "assistant" and said[-1].side == "user" and ends_asking
        first = first or said[0].where
        if seen >= 2000:
            break
    if seen and backwards > _REVERSED * seen:
        raise InputError(
            "replies come before their questions, and no column says when messages were written",
            where=first,
            hint="export the time of each message too, or turn the rows round",
        )
