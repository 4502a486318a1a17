"""`edgedesk fleet` and `edgedesk rollout`: head office looks at all branches, from what they exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from runtime.base.progress import say
from runtime.cli.keys import MoreKeys
from runtime.cli.main import AsJson
from runtime.cli.output import out as out_line
from runtime.cli.output import out_json

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
Exports = Annotated[list[Path], typer.Argument(help="Feedback files, or folders of them.")]


@app.command(epilog="Example: edgedesk fleet uploads/ --out fleet.html")
def fleet(
    exports: Exports,
    out: Annotated[Path, typer.Option(help="The page to write (HTML); an existing one is replaced.")] = Path(
        "fleet.html"
    ),
    lang: Annotated[Literal["en", "zh"], typer.Option(help="The page's language.")] = "en",
    as_json: AsJson = False,
) -> None:
    """Write one page about all branches: versions, use, hand-offs, failures, knowledge gaps.

    Exit code 3: some files could not be read, and the page is about the others.
    """
    from datetime import UTC, datetime

    from runtime.base.files import write_atomic
    from runtime.feedback.export_file import read_exports, require_all_read
    from runtime.feedback.fleet_page import fleet_page, summarise
    from runtime.feedback.import_exports import find_exports

    read, unreadable = read_exports(find_exports(exports))
    names = [one.path.name for one in unreadable]
    write_atomic(out, fleet_page(read, now=datetime.now(UTC), lang=lang, unreadable=names), mode=0o600)
    branches = summarise(read)
    if as_json:
        rows = [{**one.header.model_dump(), "use": one.use.as_dict()} for one in branches]
        left_out = {str(one.path): one.what for one in unreadable}
        out_json({"file": str(out), "branches": rows, "unreadable": left_out})
    else:
        out_line(f"{out}: {len(branches)} branches, {sum(one.use.turns for one in branches):,} questions")
    require_all_read(unreadable, "the page")


@app.command(epilog="Example: edgedesk rollout rollout.toml uploads/ --to /srv/release --keys keys")
def rollout(
    plan: Annotated[Path, typer.Argument(help="The rings of a release (TOML, docs/how-to/feedback.md).")],
    exports: Exports,
    to: Annotated[
        Path | None, typer.Option("--to", help="Sign the decision into the release in this folder: branches obey it.")
    ] = None,
    keys: Annotated[Path, typer.Option("--keys", help="The folder of the company's keys, for --to.")] = Path("keys"),
    key: MoreKeys = None,
    as_json: AsJson = False,
) -> None:
    """Say which branches may have a release next. Exit code 8: the roll-out stops, the release does worse."""
    from runtime.errors import GateError
    from runtime.feedback.export_file import read_export
    from runtime.feedback.import_exports import find_exports
    from runtime.feedback.rollout import decide_rollout, gather_evidence, read_plan

    rings = read_plan(plan)
    read = [read_export(path) for path in find_exports(exports)]
    decision = decide_rollout(rings, gather_evidence(rings, read))
    signed = _sign(rings.release, decision.branches, to, keys, key) if to else None
    if as_json:
        out_json(vars(decision) | {"signed": signed})
    else:
        out_line(f"{decision.action}: {rings.release} in ring {decision.ring}")
        for reason in decision.reasons:
            out_line(f"  {reason}")
        if decision.branches:
            out_line(f"branches: {', '.join(decision.branches)}")
    if decision.action == "stop":
        raise GateError(
            f"the roll-out of {rings.release} stops: {'; '.join(decision.reasons)}",
            where=str(plan),
            hint="branches that have it go back with edgedesk rollback"
            if to
            else "take it away from all others: --to RELEASE; branches that have it go back with edgedesk rollback",
        )


def _sign(title: str, branches: tuple[str, ...], to: Path, keys: Path, more: list[Path] | None) -> int | None:
    """Publish the branches that may take the release; returns the release's version, None where nothing changed."""
    from datetime import UTC, datetime

    from runtime.base.home import locked
    from runtime.bundle.publish import publish, published_model
    from runtime.bundle.rings import EVERYBODY, AllowedBranches
    from runtime.cli.keys import open_keys
    from runtime.errors import MissingError, UsageError

    if not to.is_dir():
        raise MissingError("no such folder", where=str(to), hint="name the folder of the release")
    with locked(to / ".lock", "rollout", to):
        model = published_model(to)
        if model is None or model.title != title:
            there = model.title if model else "no model"
            raise UsageError(f"the plan is for {title}, the release holds {there}", where=str(to), hint="correct it")
        wanted = AllowedBranches(None if EVERYBODY in branches else frozenset(branches))
        if wanted == model.branches:
            return None
        done = publish(to, open_keys(keys, more), {}, datetime.now(UTC), branches=branches)
    names = "everybody" if wanted.names is None else f"{len(wanted.names)} branches"
    say(f"release {done.version} is for {names}")
    return done.version
