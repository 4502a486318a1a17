"""`edgedesk feedback`: what leaves a branch, as a file or over its uplink."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.base.progress import counter, say
from runtime.cli.main import AsJson, Home
from runtime.cli.output import out, out_json

if TYPE_CHECKING:
    from runtime.base.settings import Settings
    from runtime.feedback.outgoing import Outgoing

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See and take out what leaves the branch: redacted questions, drafts, replies and ratings.",
    epilog="Example: edgedesk feedback export /media/stick",
)
RetryAside = Annotated[
    bool, typer.Option("--retry-aside", help="Try turns again that were set aside, once their cause is mended.")
]


@app.callback()
def _group() -> None:
    """See and take out what leaves the branch."""


@app.command(epilog="Example: edgedesk feedback preview --json")
def preview(
    home: Home = None,
    limit: Annotated[int, typer.Option(min=0, help="Turns to print; 0 prints all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Print exactly what would leave, and change nothing."""
    from runtime.base.home import find_home
    from runtime.feedback.outgoing import all_waiting
    from runtime.feedback.use import measure_use

    with _outbox(find_home(home)) as (outbox, _):
        header = outbox.header()
        rows, unreadable = all_waiting(outbox, set_aside=False)
    use = measure_use(rows)
    shown = rows[: limit or len(rows)]
    if as_json:
        fields = [row.model_dump(mode="json", exclude_none=True) for row in shown]
        out_json({"header": header.model_dump(), "use": use.as_dict(), "unreadable": unreadable, "turns": fields})
        return
    for row in shown:
        out(row.key)
        for name, value in row.model_dump(mode="json", exclude_none=True).items():
            if name != "key" and value not in ("", []):
                out(f"  {name}: {', '.join(value) if isinstance(value, list) else value}")
    if len(shown) < len(rows):
        say(f"{len(rows) - len(shown)} more: --limit 0")
    shares = {"helped": use.helped_share, "unchanged": use.unchanged_share, "handed over": use.hand_off_rate}
    told = "".join(f", {name} {share:.0%}" for name, share in shares.items() if share is not None)
    say(f"{len(rows)} turns of {header.branch} would leave{told}")
    if header.aside or unreadable:
        say(f"{header.aside + unreadable} turns cannot leave as they are; see docs/how-to/feedback.md")
    if header.dropped:
        say(f"{header.dropped} turns were dropped because more waited than the policy lets: [outbox] max_turns")


@app.command(epilog="Example: edgedesk feedback export /media/stick")
def export(
    target: Annotated[Path, typer.Argument(help="File to write, or a folder, such as a stick.")],
    home: Home = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the turns waiting: they will be exported again.")] = False,
    retry_aside: RetryAside = False,
    as_json: AsJson = False,
) -> None:
    """Write what waits to leave to one file. The turns then count as sent."""
    from datetime import UTC, datetime

    from runtime.base.home import find_home
    from runtime.errors import InputError, MissingError
    from runtime.feedback.outgoing import default_file, export_turns

    path = target.absolute()
    # A name without a suffix means a folder: as a file it would lie under the name of a stick that is not put in.
    folder = path.parent if path.suffix else path
    if not path.exists() and not folder.is_dir():
        raise MissingError(
            "no such folder",
            where=str(folder),
            hint="put the stick in, or name a file such as feedback.jsonl",
        )
    with _outbox(find_home(home), retry_aside=retry_aside) as (outbox, _):
        if path.is_dir():
            path /= default_file(outbox.header(), datetime.now(UTC))
        if path.exists() or path.is_symlink():
            raise InputError("is there already", where=str(path), hint="name another file: what is in it may be needed")
        with counter("exporting", unit="turns") as step:
            report = export_turns(outbox, path, keep=keep, advance=step)
    if as_json:
        out_json(asdict(report))
        return
    if report.aside:
        say(f"{report.aside} turns cannot be read and were set aside; see docs/how-to/feedback.md")
    out(f"{report.file}: {report.turns} turns")


@app.command(epilog="Example: edgedesk feedback send")
def send(home: Home = None, retry_aside: RetryAside = False, as_json: AsJson = False) -> None:
    """Post what waits to leave to the uplink of settings.toml. Run it by a timer."""
    import time

    from runtime.base.home import find_home
    from runtime.feedback.uplink import Uplink, read_token, send_turns

    where = find_home(home)
    with _outbox(where, retry_aside=retry_aside) as (outbox, settings):
        token = read_token(settings.uplink_token)
        with (
            Uplink(settings.uplink, token=token, ca=settings.uplink_ca) as uplink,
            counter("sending", unit="turns") as step,
        ):
            report = send_turns(outbox, uplink, wait=time.sleep, advance=step)
    if as_json:
        out_json(asdict(report))
        return
    if report.aside:
        say(f"{report.aside} turns are refused or unreadable and were set aside; see docs/how-to/feedback.md")
    out(f"{report.sent} turns sent, {report.waiting} wait")


@app.command("import", epilog="Example: edgedesk feedback import /media/stick uploads/ --out work/feedback")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Feedback files, or folders of them, in any order and number.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write; an earlier import is replaced.")],
    as_json: AsJson = False,
) -> None:
    """Head office: make records, corrections and knowledge gaps of what branches exported.

    Exit code 3: some files could not be read and were left out.
    """
    from runtime.base.jsonl import read_rows
    from runtime.feedback.export_file import UnreadableExport, require_all_read
    from runtime.feedback.import_exports import GAPS, import_exports
    from runtime.feedback.learning import KnowledgeGap

    report = import_exports(files, out_folder.absolute())
    unreadable = [UnreadableExport(Path(path), what) for path, what in report.unreadable.items()]
    if as_json:
        out_json(asdict(report))
        require_all_read(unreadable, "the import")
        return
    for name, branch in report.branches.items():
        out(f"{name}: {branch['turns']} turns, {branch['bundle']} {branch['version']}")
    for reason, count in report.refused.items():
        say(f"{count} turns left out: {reason}")
    for gap in list(read_rows(KnowledgeGap, out_folder / GAPS) if report.gaps else [])[:10]:
        out(f"no article: {gap.asked} x {gap.questions[0]}")
    out(
        f"{out_folder}: {report.records} records, {report.corrections} corrections, {report.gaps} knowledge gaps"
        f" of {report.turns} turns in {report.files} files"
    )
    require_all_read(unreadable, "the import")


@app.command(epilog="Example: edgedesk feedback shadow work/feedback --current OLD --candidate NEW --out shadow.html")
def shadow(
    imported: Annotated[Path, typer.Argument(help="What `edgedesk feedback import` wrote.")],
    current: Annotated[Path, typer.Option(help="The bundle that branches run.")],
    candidate: Annotated[Path, typer.Option(help="The bundle to release.")],
    out_file: Annotated[Path | None, typer.Option("--out", help="Also write a page (HTML).")] = None,
    since: Annotated[str, typer.Option(help="Only questions asked on or after this day: 2026-11-29.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Questions at most; the newest.")] = 200,
    lang: Annotated[str, typer.Option(help="Language of the page: en or zh.")] = "en",
    as_json: AsJson = False,
) -> None:
    """Head office: ask a candidate yesterday's questions beside the current bundle, before it is released."""
    from runtime.base.files import write_atomic
    from runtime.base.jsonl import read_rows
    from runtime.base.progress import bar
    from runtime.bundle.bundle import open_bundle
    from runtime.errors import MissingError, UsageError
    from runtime.evaluation.shadow_replay import (
        WORDS,
        ask_bundle,
        compare_answers,
        shadow_figures,
        shadow_page,
        shadow_report,
    )  # fmt: skip
    from runtime.feedback.import_exports import CORRECTIONS, QUESTIONS, ReplayedQuestion
    from runtime.feedback.learning import Correction

    if lang not in WORDS:
        raise UsageError(f"no page in '{lang}'", where="--lang", hint=f"one of {', '.join(WORDS)}")
    bundles = [open_bundle(path, verify=True) for path in (current, candidate)]
    rows = [row for row in read_rows(ReplayedQuestion, imported / QUESTIONS) if row.asked >= since]
    if not rows:
        raise MissingError(
            "no question was asked since then", where=str(imported / QUESTIONS), hint="an earlier --since"
        )
    asked = sorted(rows, key=lambda row: row.asked)[-limit:]
    corrections = imported / CORRECTIONS
    known = list(read_rows(Correction, corrections)) if corrections.stat().st_size else []
    answers = []
    for bundle in bundles:
        name = f"{bundle.info.name} {bundle.info.version}"
        with bar(f"asking {name}", len(asked), unit="questions") as advance:
            answers.append(ask_bundle(bundle, asked, advance=advance))
    compared = compare_answers(answers[0], answers[1], known)
    if out_file:
        names = [f"{bundle.info.name} {bundle.info.version}" for bundle in bundles]
        write_atomic(out_file, shadow_page(compared, (names[0], names[1]), lang=lang), mode=0o600)
    if as_json:
        out_json(shadow_report(compared))
        return
    for name, value in shadow_figures(compared).items():
        shown = f"{value[0]} -> {value[1]}" if isinstance(value, list) else value
        out(f"{name.replace('_', ' ')}: {shown}")


@contextmanager
def _outbox(home: Path, *, retry_aside: bool = False) -> Iterator[tuple[Outgoing, Settings]]:
    """The outbox of the running server, or of the journal itself where none runs."""
    from runtime.base.settings import load_settings
    from runtime.bundle.generations import current_bundle, generations
    from runtime.bundle.update_state import refused_titles
    from runtime.cli.server_or_home import server_or_home
    from runtime.client.outbox import ServerOutbox
    from runtime.errors import MissingError
    from runtime.feedback.outgoing import JournalOutbox
    from runtime.journal.encryption import read_key
    from runtime.journal.journal import FILE_NAME, Journal

    def has_journal() -> None:
        if not (home / FILE_NAME).is_file():
            raise MissingError("there is no journal yet", where=str(home), hint="it begins with the first question")

    settings = load_settings(home)
    with ExitStack() as stack:
        if stack.enter_context(server_or_home(home, "feedback", has_journal)) is not None:
            outbox = ServerOutbox(home)
            if retry_aside:
                outbox.release_aside()
            yield outbox, settings
            return
        bundle = current_bundle(home)
        number = next((one.number for one in generations(home) if one.current), 0)
        journal = stack.enter_context(Journal(home / FILE_NAME, key=read_key(settings.journal_key, home)))
        own = JournalOutbox(journal, bundle, branch=settings.branch, generation=number, refused=refused_titles(home))
        if retry_aside:
            own.release_aside()
        yield own, settings
