"""`edgedesk data`: make records of transcripts, and look at them before anything is trained on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from distill.cli import review
from distill.recipe.transcript_settings import Columns, Form, PresetName, Roles, Transcripts, check_language
from runtime.cli.output import out as print_line
from runtime.cli.output import out_json

if TYPE_CHECKING:
    from runtime.text.records import Record

app = typer.Typer(
    no_args_is_help=True,
    help="Make records and look at them.",
    epilog="Example: edgedesk data prepare chats.csv --out records",
)
app.add_typer(review.app, name="review")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("prepare", epilog="Example: edgedesk data prepare chats.csv --articles articles/ --out records")
def prepare_records(
    transcripts: Annotated[
        list[Path], typer.Argument(help="A recipe (TOML), or files: CSV, TSV, JSON, JSONL, XLSX, Parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    articles: Annotated[Path | None, typer.Option(help="Articles the replies are linked to.")] = None,
    form: Annotated[Form, typer.Option(help="Form of the files; auto goes by their first bytes.")] = "auto",
    preset: Annotated[PresetName, typer.Option(help="Help desk whose export they are.")] = "",
    encoding: Annotated[str, typer.Option(help="Of text files, where their bytes do not tell.")] = "",
    column: Annotated[
        list[str] | None, typer.Option(help='A column by its part, such as "content=what was said"; repeat.')
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option(help='An author by side, such as "user=K" or "skip=auto"; repeat.')
    ] = None,
    lang: Annotated[str, typer.Option(help="Two-letter code of the language where a file names none.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Make records of a recipe or of transcript files, with a data card; every row is accounted for."""
    from distill.data.prepare import REFUSED_FILE
    from runtime.base.files import new_folder
    from runtime.base.progress import say

    recipe = transcripts[0] if transcripts[0].suffix.lower() == ".toml" else None
    with new_folder(out) as folder:
        if recipe is not None:
            report = _prepare_recipe(recipe, folder)
        else:
            wanted = [_wanted(path, form, preset, encoding, lang, column or (), role or ()) for path in transcripts]
            report = _prepare_files(wanted, folder, articles, seed)
    for refused in report["refused"][:_REFUSED_SHOWN]:
        say(f"refused: {refused}")
    if as_json:
        out_json(report)
    else:
        refused_file = out / REFUSED_FILE
        labelled = f", {report['labelled']} labelled questions without a reply" if report["labelled"] else ""
        print_line(
            f"{report['kept']} records{labelled} in {out}; {report['refused_count']} rows refused, see {refused_file}"
        )
        print_line(str(out / "card.html"))


_REFUSED_SHOWN = 20
"""Refused rows that are said; all of them are in their file."""


def _wanted(
    path: Path, form: Form, preset: PresetName, encoding: str, lang: str, columns: Sequence[str], roles: Sequence[str]
) -> Transcripts:
    from runtime.errors import UsageError

    known = _named(columns, "--column", tuple(Columns.model_fields))
    sides = _named(roles, "--role", tuple(Roles.model_fields))
    named = {side: tuple(name for each, name in sides if each == side) for side, _ in sides}
    try:
        lang = lang and check_language(lang)
    except ValueError as error:
        raise UsageError(str(error), where="--lang", hint="leave it out to go by the script") from None
    return Transcripts(
        path=path, form=form, lang=lang, preset=preset, encoding=encoding, columns=Columns(**dict(known)),
        roles=Roles(**named),
    )  # fmt: skip


def _named(options: Sequence[str], option: str, parts: Sequence[str]) -> list[tuple[str, str]]:
    """`PART=NAME` options as pairs."""
    from runtime.errors import UsageError

    pairs = [(each.partition("=")[0].strip(), each.partition("=")[2].strip()) for each in options]
    for given, (part, name) in zip(options, pairs, strict=True):
        if part not in parts or not name:
            raise UsageError(f"'{given}' is not PART=NAME", where=option, hint=f"PART is one of {', '.join(parts)}")
    return pairs


def _prepare_recipe(path: Path, folder: Path) -> dict[str, Any]:
    from distill.data.dataset import gather_articles, make_records
    from distill.recipe.load_recipe import load_recipe
    from runtime.base.files import read_text

    recipe = load_recipe(path)
    gather_articles(recipe.data, folder / "articles")
    make_records(recipe, folder / "articles", folder)
    report: dict[str, Any] = json.loads(read_text(folder / "report.json"))
    return report


def _prepare_files(wanted: list[Transcripts], folder: Path, articles: Path | None, seed: int) -> dict[str, Any]:
    from distill.data.dataset import evidence_linker
    from distill.data.importers.account import FileAccount
    from distill.data.importers.documents import read_documents
    from distill.data.importers.transcripts import read_transcripts
    from distill.data.prepare import Preparation, prepare
    from runtime.base.files import sha256_file

    loaded = read_documents(articles) if articles else []
    public = "\n".join(section.text for article in loaded for section in article.sections)
    accounts = [FileAccount(sha256=sha256_file(each.path)) for each in wanted]
    rows = (row for each, account in zip(wanted, accounts, strict=True) for row in read_transcripts(each, account))
    how = Preparation(seed=seed, link=evidence_linker(loaded) if loaded else None, public=public)
    return prepare(rows, folder, how=how, accounts=accounts, title=", ".join(each.path.name for each in wanted)[:200])


@app.command("card", epilog="Example: edgedesk data card work/northlight-en/records")
def show_card(
    folder: Annotated[Path, typer.Argument(help="A folder of records.")],
    as_json: AsJson = False,
) -> None:
    """Print the data card: counts by stage, reasons, languages, lengths, redactions, sources and hashes."""
    from distill.data.data_card import MARKDOWN
    from runtime.base.files import read_text

    text = read_text(folder / ("report.json" if as_json else MARKDOWN))
    if as_json:
        out_json(json.loads(text))
    else:
        print_line(text)


@app.command("simulate", epilog="Example: edgedesk data simulate examples/shop/en --conversations 100 > chats.jsonl")
def simulate_conversations(
    shop: Annotated[Path, typer.Argument(help="Folder with cases/, simulate.toml and policy.toml.")],
    conversations: Annotated[int, typer.Option(min=1)] = 100,
    seed: Annotated[int, typer.Option()] = 7,
) -> None:
    """Write simulated conversations as transcripts (JSONL) to stdout."""
    from distill.data.simulate import simulate

    for conversation in simulate(shop, conversations=conversations, seed=seed):
        out_json(conversation.model_dump(mode="json", exclude_defaults=True))


@app.command("export", epilog="Example: edgedesk data export work/northlight-en/records --split test > pairs.jsonl")
def export_records(
    folder: Annotated[Path, typer.Argument(help="A folder of records.")],
    split: Annotated[Literal["train", "valid", "test"], typer.Option()] = "train",
) -> None:
    """Write records as question and answer (JSONL: query, response, context, intent, entities), for other programs."""
    from distill.data.importers.seed_form import seed_rows
    from runtime.base.jsonl import read_rows
    from runtime.text.records import Record

    path = folder / f"{split}.jsonl"
    if path.is_file() and not path.stat().st_size:
        return
    for row in seed_rows(read_rows(Record, path)):
        out_json(row)


@app.command("show", epilog="Example: edgedesk data show work/northlight-en/records c17-2")
def show_records(
    folder: Annotated[Path, typer.Argument(help="A folder of records.")],
    identity: Annotated[str, typer.Argument(metavar="[ID]", help="One record; with the row that it comes from.")] = "",
    split: Annotated[Literal["train", "valid", "test"], typer.Option()] = "train",
    count: Annotated[int, typer.Option(min=1)] = 5,
    as_json: AsJson = False,
) -> None:
    """Print records as a person reads them; of one record also the file and line it was made from."""
    from distill.data.lineage import find_record
    from runtime.base.jsonl import read_rows
    from runtime.text.records import Record

    if identity:
        record, where = find_record(folder, identity)
        if as_json:
            out_json({"record": record.model_dump(mode="json"), "where": where})
            return
        _print_record(record)
        print_line(f"  from:     {where or '(made here)'}   {record.source}, {record.split}")
        return
    for record in islice(read_rows(Record, folder / f"{split}.jsonl"), count):
        if as_json:
            out_json(record.model_dump(mode="json", exclude_none=True))
        else:
            _print_record(record)


def _print_record(record: Record) -> None:
    print_line(f"{record.id}  {record.lang}  {record.intent or '-'}  {record.emotion or '-'}")
    for turn in record.context:
        print_line(f"    {turn.role}: {turn.content}")
    print_line(f"  customer: {record.query}")
    print_line(f"  reply:    {record.response}   {list(record.evidence)}")
