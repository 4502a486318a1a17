"""`edgedesk experiment`: two policies or two models side by side in a branch."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from runtime.cli.main import AsJson, Home
from runtime.cli.output import out

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="A/B-test a policy or a model against the one in use.",
    epilog="Example: edgedesk experiment start softer --policy policy.toml --share 0.5",
)
_RESTART = "from the server's next start"


@app.command(epilog="Example: edgedesk experiment start softer --policy policy.toml --share 0.5")
def start(
    name: Annotated[str, typer.Argument(help="Letters, digits, '.', '-' and '_'.")],
    policy: Annotated[Path | None, typer.Option(help="The candidate, a policy.toml.")] = None,
    generation: Annotated[int | None, typer.Option(help="Or an installed generation, its model.")] = None,
    lang: Annotated[
        str | None, typer.Option(help="The language it is for.", show_default="en; all for a model")
    ] = None,
    share: Annotated[float, typer.Option(help="Share of conversations that get it, above 0 to 1.")] = 0.5,
    by: Annotated[str, typer.Option(help="Randomize by `conversation` (default) or by `agent`.")] = "conversation",
    home: Home = None,
) -> None:
    """Give a share of the conversations another policy or model; each keeps its own to the end."""
    from pydantic import ValidationError

    from runtime.base.home import find_home
    from runtime.base.validation import first_problem
    from runtime.desk.ab_test import AbTest
    from runtime.desk.ab_test import start as begin
    from runtime.errors import InputError

    try:
        lang = ("" if generation else "en") if lang is None else lang
        experiment = AbTest.model_validate(
            {"name": name, "lang": lang, "share": share, "by": by, "generation": generation}
        )
    except ValidationError as error:
        problem = first_problem(error, "option", AbTest)
        raise InputError(problem.sentence, hint="edgedesk experiment start --help") from None
    begin(find_home(home), experiment, policy)
    out(f"{name}: {share:.0%} of {by}s in {lang or 'every language'} {_RESTART}")


@app.command(epilog="Example: edgedesk experiment status --json")
def status(home: Home = None, as_json: AsJson = False) -> None:
    """Compare what became of both arms' drafts, with 95 % intervals."""
    from runtime.base.home import find_home
    from runtime.base.settings import load_settings
    from runtime.desk.ab_test import as_text, compare, read_trial
    from runtime.errors import MissingError
    from runtime.journal.encryption import read_key
    from runtime.journal.journal import FILE_NAME
    from runtime.journal.maintenance import open_reading
    from runtime.journal.queries import experiment_outcomes
    from runtime.journal.sqlite_errors import translated_errors

    where = find_home(home)
    trial = read_trial(where)
    if trial is None:
        raise MissingError("no experiment is there", where=str(where), hint="edgedesk experiment start NAME")
    key = read_key(load_settings(where).journal_key, where)
    path = where / FILE_NAME
    with translated_errors(path), closing(open_reading(path, key)) as db:
        compared = compare(experiment_outcomes(db, trial.experiment.name))
    shown = {**trial.experiment.model_dump(), **compared}
    out(json.dumps(shown) if as_json else f"{trial.experiment}\n{as_text(compared)}")


@app.command(epilog="Example: edgedesk experiment promote")
def promote(home: Home = None) -> None:
    """Give everybody the candidate."""
    from runtime.base.home import find_home
    from runtime.desk.ab_test import promote as keep

    out(f"{keep(find_home(home)).name} is everybody's {_RESTART}")


@app.command(epilog="Example: edgedesk experiment drop")
def drop(home: Home = None) -> None:
    """Give everybody the policy, or the model, in use again."""
    from runtime.base.home import find_home
    from runtime.desk.ab_test import drop as end

    out(f"{end(find_home(home)).name} is dropped {_RESTART}")
