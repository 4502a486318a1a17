"""`edgedesk data`: make records of transcripts, and look at them before anything is trained on them."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer

from distill.cli import review
from distill.recipe.transcript_settings import Form, PresetName, Transcripts, check_language

app = typer.Typer(
    no_args_is_help=True,
    help="Make records and look at them.",
    epilog="Example: edgedesk data prepare chats.csv --out records",
)
app.add_typer(review.app, name="review")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("prepare", epilog="Example: edgedesk data prepare chats.csv --articles articles/ --out records")
def prepare_records(
    transcripts: Annotated[list[Path], typer.Argument(help="Files: CSV, TSV, JSON, JSONL, XLSX or Parquet.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    articles: Annotated[Path | None, typer.Option(help="Articles the replies are linked to.")] = None,
    form: Annotated[Form, typer.Option(help="Form of the files; auto goes by their first bytes.")] = "auto",
    preset: Annotated[PresetName, typer.Option(help="Help desk whose export they are.")] = "",
    encoding: Annotated[str, typer.Option(help="Of text files, where their bytes do not tell.")] = "",
    lang: Annotated[str, typer.Option(help="Two-letter code of the language where a file names none.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Clean, redact, link and split transcripts into records; every refused row is named."""
    from distill.data.dataset import evidence_linker
    from distill.data.importers.transcripts import read_transcripts
    from distill.data.prepare import prepare
    from runtime.base.files import new_folder
    from runtime.base.progress import say
    from runtime.errors import UsageError
    from runtime.text.articles import load_articles

    try:
        lang = lang and check_language(lang)
    except ValueError as error:
        raise UsageError(str(error), where="--lang", hint="leave it out to go by the script") from None
    loaded = load_articles(articles) if articles else []
    public = "\n".join(section.text for article in loaded for section in article.sections)
    wanted = [Transcripts(path=path, form=form, lang=lang, preset=preset, encoding=encoding) for path in transcripts]
    rows = (row for each in wanted for row in read_transcripts(each))
    with new_folder(out) as folder:
        report = prepare(rows, folder, seed=seed, link=evidence_linker(loaded) if loaded else None, public=public)
    for refused in report["refused"]:
        say(f"refused: {refused}")
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False))
    else:
        typer.echo(
            f"{report['kept']} records in {out}; {len(report['refused'])} rows refused, see {out / 'report.json'}"
        )


@app.command("simulate", epilog="Example: edgedesk data simulate examples/shop/en --conversations 100 > chats.jsonl")
def simulate_conversations(
    shop: Annotated[Path, typer.Argument(help="Folder with cases/, simulate.toml and policy.toml.")],
    conversations: Annotated[int, typer.Option(min=1)] = 100,
    seed: Annotated[int, typer.Option()] = 7,
) -> None:
    """Write simulated conversations as transcripts (JSONL) to stdout."""
    from distill.data.simulate import simulate

    for conversation in simulate(shop, conversations=conversations, seed=seed):
        typer.echo(conversation.model_dump_json(exclude_defaults=True))


@app.command("show", epilog="Example: edgedesk data show work/northlight-en/records --split test --count 3")
def show_records(
    folder: Annotated[Path, typer.Argument(help="A folder of records.")],
    split: Annotated[Literal["train", "valid", "test"], typer.Option()] = "train",
    count: Annotated[int, typer.Option(min=1)] = 5,
    as_json: AsJson = False,
) -> None:
    """Print records as a person reads them."""
    from runtime.base.jsonl import read_rows
    from runtime.cli.main import printable
    from runtime.text.records import Record

    for record in islice(read_rows(Record, folder / f"{split}.jsonl"), count):
        if as_json:
            typer.echo(record.model_dump_json(exclude_none=True))
            continue
        typer.echo(f"{record.id}  {record.lang}  {record.intent or '-'}  {record.emotion or '-'}")
        for turn in record.context:
            typer.echo(f"    {turn.role}: {printable(turn.content)}")
        typer.echo(f"  customer: {printable(record.query)}")
        typer.echo(f"  reply:    {printable(record.response)}   {list(record.evidence)}")
