"""From a record back to the row that it was made of.

Knows nothing of how records are made.
"""

from __future__ import annotations

import json
from pathlib import Path

from distill.data.prepare import LINEAGE_FILE
from distill.data.splits import SHARES
from runtime.base.files import read_lines
from runtime.base.jsonl import read_rows
from runtime.errors import MissingError
from runtime.text.records import Record


def find_record(folder: Path, identity: str) -> tuple[Record, str]:
    """The record of that id, and the `file:line` of its conversation ("" for one that was made here).

    `MissingError` where no split has it.
    """
    for split in SHARES:
        path = folder / f"{split}.jsonl"
        if not path.is_file() or not path.stat().st_size:
            continue
        for record in read_rows(Record, path):
            if record.id == identity:
                return record, _where(folder, identity)
    raise MissingError(f"no record '{identity}'", where=str(folder), hint="edgedesk data show FOLDER lists some")


def _where(folder: Path, identity: str) -> str:
    if not (folder / LINEAGE_FILE).is_file():
        return ""
    for _, line in read_lines(folder / LINEAGE_FILE):
        row = json.loads(line)
        if row["id"] == identity:
            return str(row["where"])
    return ""
