"""`edgedesk data review`: doubtful records into a sheet that people edit, and their decisions back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from runtime.cli.output import out as print_line
from runtime.cli.output import out_json

if TYPE_CHECKING:
    from runtime.text.records import Record

app = typer.Typer(
    no_args_is_help=True,
    help="Write doubtful records into a sheet, and read back what people decided.",
    epilog="Example: edgedesk data review export work/shop/records review.xlsx",
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Records = Annotated[Path, typer.Argument(help="A folder of records.")]


@app.command("export", epilog="Example: edgedesk data review export work/shop/records review.xlsx --most 300")
def export_sheet(
    records: Records,
    sheet: Annotated[Path, typer.Argument(help="The sheet to write: .csv or .xlsx.")],
    most: Annotated[int, typer.Option(min=1, max=100_000, help="Rows, the most doubtful first.")] = 500,
    as_json: AsJson = False,
) -> None:
    """Write the records whose intent the others speak against; fill `decision` with drop or the right intent."""
    from distill.data.labelling.label_errors import find_label_errors
    from distill.data.labelling.review_sheet import Doubt, write_sheet
    from runtime.base.progress import say

    rows = [record for record in _read(records) if record.intent]
    say(f"{len(rows)} records with an intent are compared")
    found = find_label_errors([row.query for row in rows], [row.intent or "" for row in rows], most=most)
    doubts = [
        Doubt(rows[error.place], "other questions of this kind have another intent", error.suggested, error.confidence)
        for error in found
    ]
    count = write_sheet(sheet, doubts)
    if as_json:
        out_json({"rows": count, "compared": len(rows)})
    else:
        print_line(f"{count} rows in {sheet}")


@app.command(
    "import", epilog="Example: edgedesk data review import work/shop/records review.xlsx --out records-reviewed"
)
def import_sheet(
    records: Records,
    sheet: Annotated[Path, typer.Argument(help="The edited sheet: .csv or .xlsx.")],
    out: Annotated[Path, typer.Option(help="Folder of the changed records.")],
    new_intents: Annotated[bool, typer.Option(help="Accept intents that no record has yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the records as they were decided, all or none."""
    from distill.data.labelling.review_sheet import apply_decisions, read_sheet
    from runtime.base.files import new_folder
    from runtime.base.jsonl import write_rows
    from runtime.text.records import Split

    known = list(_read(records))
    intents = [] if new_intents else sorted({record.intent for record in known if record.intent})
    decisions = read_sheet(sheet, intents=intents)
    changed = list(apply_decisions(known, decisions))
    with new_folder(out) as folder:
        for split in get_args(Split):
            write_rows(folder / f"{split}.jsonl", [record for record in changed if record.split == split])
    report = {
        "records": len(changed),
        "dropped": len(known) - len(changed),
        "intents changed": sum(decision.intent is not None for decision in decisions),
        "emotions given": sum(decision.emotion is not None for decision in decisions),
    }
    if as_json:
        out_json(report)
    else:
        print_line(f"{', '.join(f'{count} {what}' for what, count in report.items())}; in {out}")


def _read(folder: Path) -> Iterator[Record]:
    from runtime.base.jsonl import read_rows
    from runtime.errors import MissingError
    from runtime.text.records import Record, Split

    files = [folder / f"{split}.jsonl" for split in get_args(Split)]
    if not any(file.is_file() for file in files):
        raise MissingError("no records", where=str(folder), hint="make them with: edgedesk data prepare")
    for file in files:
        if file.is_file() and file.stat().st_size:
            yield from read_rows(Record, file)
