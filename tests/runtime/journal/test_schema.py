"""The journal's tables and the steps by which they came about."""

from __future__ import annotations

from pathlib import Path

from runtime.journal.journal import Journal
from runtime.journal.schema import DERIVED, TABLES


def test_tables_listed_are_those_of_the_database_parents_first(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal, journal.reading() as db:
        there = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        names = [table.name for table in TABLES]
        # FTS5 keeps its index in tables named after it.
        assert {name for name in there if not name.startswith("words_")} == {*names, *DERIVED}
        for place, name in enumerate(names):
            parents = {row[2] for row in db.execute(f"PRAGMA foreign_key_list({name})")}
            assert parents <= set(names[:place]), name


def test_tables_that_are_recovered_have_rows_of_different_shapes(tmp_path: Path) -> None:
    recovered = [table for table in TABLES if table.kinds]
    assert len({len(table.kinds) for table in recovered}) == len(recovered)
    with Journal(tmp_path / "journal.sqlite") as journal, journal.reading() as db:
        for table in recovered:
            columns = db.execute(f"PRAGMA table_info({table.name})").fetchall()
            assert len(columns) == len(table.kinds), table.name
