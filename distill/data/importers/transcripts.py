"""Reads support transcripts, from whatever form they come in, into one raw conversation form.

    tables   one message a row (CSV, TSV, XLSX, Parquet, lines of JSON), one question and answer a row, or one question
             with its label and no reply
    objects  one conversation each: our own form, OpenAI's `messages`, ShareGPT's `conversations`, help desks' tickets,
             the seed form {query, response, context, intent, entities}, a branch's journal, chats of tau-bench

Promises: a file that is no transcript raises; a row that does not fit is handed on as the error that refuses it, with
file and line, and takes its conversation with it, because a question must never be paired with the reply to another;
`FileAccount` tells what became of every row. Nothing is redacted, paired or split here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from distill.data.conversation import RawConversation
from distill.data.importers.account import FileAccount
from distill.data.importers.columns import ColumnMap, MessageRow
from distill.data.importers.conversation_objects import flat_text, message_list, read_object
from distill.data.importers.file_forms import tell_form
from distill.data.importers.grouping import group_messages
from distill.data.importers.json_files import JsonItem, read_json
from distill.data.importers.seed_form import labelled_columns, labelled_question, pair_columns, pair_conversation
from distill.data.importers.tables import SourceTable, read_table
from distill.recipe.transcript_settings import Transcripts
from runtime.errors import InputError
from runtime.text.articles import guess_language

TABLES = ("csv", "tsv", "xlsx", "parquet")


def read_transcripts(wanted: Transcripts, account: FileAccount | None = None) -> Iterator[RawConversation | InputError]:
    """Conversations of a file, or the error that refuses a row; raises `InputError` for a file that is none at all.

    `account` is filled as rows are read.
    """
    account = FileAccount() if account is None else account
    form = tell_form(wanted.path) if wanted.form == "auto" else wanted.form
    account.file, account.form = str(wanted.path), form
    columns = ColumnMap(wanted.columns, wanted.roles, wanted.preset)
    read = _tables if form in TABLES else _objects
    for item in read(wanted, form, columns, account):
        if isinstance(item, InputError):
            yield item
            continue
        account.conversations += 1
        if item.lang:
            yield item
        else:
            text = "".join(turn.content for turn in item.turns)
            yield item.model_copy(update={"lang": wanted.lang or guess_language(text)})


def _tables(
    wanted: Transcripts, form: str, columns: ColumnMap, account: FileAccount
) -> Iterator[RawConversation | InputError]:
    for table in read_table(wanted.path, form, encoding=wanted.encoding, sheet=wanted.sheet):
        found = columns.find(table.columns, table.where)
        missing = columns.missing(found)
        if missing and (pairs := pair_columns(table.columns)):
            yield from _one_a_row(table, pairs, account, lambda given, _, where: pair_conversation(given, where))
            return
        if missing and (labels := labelled_columns(table.columns)):
            yield from _one_a_row(table, labels, account, labelled_question)
            return
        if missing:
            raise InputError(
                f"column '{missing}' is missing",
                where=table.where,
                hint=f'found: {", ".join(filter(None, table.columns))[:300]}; map it: columns = {{ {missing} = "…" }}',
            )
        yield from group_messages(_table_messages(table, columns, found), account, pause_minutes=wanted.pause_minutes)


def _table_messages(
    table: SourceTable, columns: ColumnMap, found: Mapping[str, str]
) -> Iterator[MessageRow | InputError]:
    places = {name: place for place, name in enumerate(table.columns)}
    for row in table.rows:
        message = columns.message(_cell_getter(row.cells, places), found, row.where)
        if row.problem:
            message = replace(message, problem=row.problem, hint="quote cells that hold the separator")
        yield message


def _cell_getter(cells: Sequence[str], places: Mapping[str, int]) -> Callable[[str], str]:
    return lambda name: cells[places[name]]


def _missing(part: str, names: Iterable[str], where: str) -> InputError:
    found = ", ".join(filter(None, names))[:300]
    return InputError(
        f"column '{part}' is missing", where=where, hint=f'found: {found}; map it: columns = {{ {part} = "…" }}'
    )


def _one_a_row(
    table: SourceTable,
    parts: Mapping[str, str],
    account: FileAccount,
    make: Callable[[Mapping[str, str], int, str], RawConversation],
) -> Iterator[RawConversation | InputError]:
    """Each row by itself; `make` gets its parts, its number and its place."""
    places = {name: place for place, name in enumerate(table.columns)}
    for row in table.rows:
        account.rows += 1
        try:
            if row.problem:
                raise InputError(row.problem, where=row.where, hint="quote cells that hold the separator")
            given = {part: row.cells[places[name]] for part, name in parts.items()}
            yield make(given, account.rows, row.where)
            account.used_rows += 1
        except InputError as error:
            account.refused_rows += 1
            yield error


def _objects(
    wanted: Transcripts, form: str, columns: ColumnMap, account: FileAccount
) -> Iterator[RawConversation | InputError]:
    items = read_json(wanted.path, encoding=wanted.encoding)
    first = next((item for item in items), None)
    if first is None:
        raise InputError("the list is empty", where=str(wanted.path), hint="put something into it, or leave it out")
    items = chain([first], items)
    # Rows of messages belong together; whether they are, the first object that can be read says.
    held: list[JsonItem] = []
    flat: bool | None = None
    for item in items:
        held.append(item)
        if not isinstance(item.value, InputError):
            flat = form != "taubench" and read_object(item, columns, wanted.messages) is None
            break
    items = chain(held, items)
    if flat:
        rows = _flat_messages(items, columns)
        yield from group_messages(rows, account, pause_minutes=wanted.pause_minutes)
        return
    for item in items:
        yield from _one_object(item, columns, wanted, account)


def _one_object(
    item: JsonItem, columns: ColumnMap, wanted: Transcripts, account: FileAccount
) -> Iterator[RawConversation | InputError]:
    if isinstance(item.value, InputError):
        account.rows += 1
        account.refused_rows += 1
        yield item.value
        return
    listed = message_list(item.value, columns, wanted.messages)
    if listed is not None:
        # One conversation a time: its messages need no other object's.
        yield from group_messages(listed(item.where), account, pause_minutes=wanted.pause_minutes)
        return
    account.rows += 1
    try:
        read = read_object(item, columns, wanted.messages)
        if read is None:
            raise InputError(
                f"no conversation in it; its names: {', '.join(map(str, item.value))[:200]}",
                where=item.where,
                hint='say where its messages are: messages = "…" or columns = { content = "…" }',
            )
        yield read()
        account.used_rows += 1
    except InputError as error:
        account.refused_rows += 1
        yield error


def _flat_messages(items: Iterator[JsonItem], columns: ColumnMap) -> Iterator[MessageRow | InputError]:
    first = True
    for item in items:
        if isinstance(item.value, InputError):
            yield item.value
            continue
        cells = flat_text(item.value)
        found = columns.find(cells, item.where)
        if missing := columns.missing(found):
            problem = InputError(
                f"column '{missing}' is missing",
                where=item.where,
                hint=f'found: {", ".join(cells)[:300]}; map it: columns = {{ {missing} = "…" }}',
            )
            if first:
                raise problem
            yield problem
            continue
        first = False
        yield columns.message(_getter(cells), found, item.where)


def _getter(cells: Mapping[str, Any]) -> Callable[[str], str]:
    return lambda name: str(cells.get(name, ""))
