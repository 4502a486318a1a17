"""`edgedesk fleet` and `edgedesk rollout`: head office looks at all branches, from what they exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

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
    """Write one page about all branches: versions, use, hand-offs, failures, knowledge gaps."""
    from datetime import UTC, datetime

    from runtime.base.files import write_atomic
    from runtime.feedback.export_file import read_export
    from runtime.feedback.fleet_page import fleet_page, summarise
    from runtime.feedback.import_exports import find_exports

    read = [read_export(path) for path in find_exports(exports)]
    write_atomic(out, fleet_page(read, now=datetime.now(UTC), lang=lang), mode=0o600)
    branches = summarise(read)
    if as_json:
        rows = [{**one.header.model_dump(), "use": one.use.as_dict()} for one in branches]
        out_json({"file": str(out), "branches": rows})
    else:
        out_line(f"{out}: {len(branches)} branches, {sum(one.use.turns for one in branches):,} questions")


@app.command(epilog="Example: edgedesk rollout rollout.toml uploads/ --json")
def rollout(
    plan: Annotated[Path, typer.Argument(help="The rings of a release (TOML, docs/how-to/feedback.md).")],
    exports: Exports,
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
    if as_json:
        out_json(vars(decision))
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
            hint="take the release away from the other rings; branches that have it go back with edgedesk rollback",
        )
