"""`edgedesk update`: from a folder, a stick or a server to a generation that has passed its trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.base.home import find_home
from runtime.base.progress import counter, say
from runtime.base.settings import Settings, load_settings
from runtime.bundle.sources import PacedSource
from runtime.bundle.update_window import WindowPace
from runtime.cli.main import AsJson, Home
from runtime.cli.output import out, out_json, show_error
from runtime.cli.release_source import open_source
from runtime.errors import EdgedeskError, ModelError, UnavailableError, UsageError

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle
    from runtime.bundle.updater import UpdateReport

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: edgedesk update /media/stick/release")
def update(
    source: Annotated[
        str | None,
        typer.Argument(help="A release: a folder, an https or an oci address; default: the setting update_from."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Try a release again that has failed its trial.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Copy also outside the setting update_window.")] = False,
    every: Annotated[
        int | None, typer.Option(min=1, help="Stay, and look for a newer release every so many minutes.")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Bring this branch to the newest release: copy what changed, try it out, go back by itself when it fails."""
    where = find_home(home)

    def once() -> None:
        settings = load_settings(where)
        report = _update(where, settings, source or settings.update_from, again=again, now=now)
        _tell(report, as_json=as_json)

    if every is None:
        once()
        return
    while True:
        # A stick that is not there, a closed window, a refused release: none of them ends the watch.
        try:
            once()
        except EdgedeskError as error:
            show_error(error)
        time.sleep(every * 60)


def _update(home: Path, settings: Settings, place: str, *, again: bool, now: bool) -> UpdateReport:
    from runtime.bundle.updater import Keep, update  # python-tuf takes a fifth of a second
    from runtime.desk.ab_test import read_trial

    if not place:
        raise UsageError("no place to update from", hint="edgedesk update RELEASE, or the setting update_from")
    pace = WindowPace("" if now else settings.update_window)
    pace.check()
    trial = read_trial(home)
    number = trial.experiment.generation if trial else None
    keep = Keep(settings.keep_generations, settings.keep_generations_mib, (number,) if number else ())
    with open_source(place, settings) as opened, counter("updating") as step:
        paced = PacedSource(opened, bytes_per_s=settings.update_kib_per_s * 1024, clock=pace)
        return update(
            paced,
            home,
            trial_of(home, settings),
            keep=keep,
            again=again,
            branch=settings.branch,
            progress=lambda _, done, total: step(done, total),
        )


def trial_of(home: Path, settings: Settings) -> Callable[[Bundle], str]:
    """What tries a generation out in this branch: its golden questions, within the branch's limits."""

    def try_out(bundle: Bundle) -> str:
        from runtime.desk.probes import TrialLimits, judge, remember, run_probes  # chromadb takes a second

        say(f"trying {bundle.info.name} {bundle.info.version} out …")
        report = run_probes(bundle, home, settings)
        known = f" ({report.known} as in the last trial)" if report.known else ""
        say(
            f"{report.right} of {report.asked} golden questions right{known}, first word after "
            f"{report.first_word_s:.1f} s, {report.memory_mib:,} MiB"
        )
        why = judge(report, TrialLimits(settings.trial_first_word_s, settings.trial_memory_mib))
        if not why:
            remember(home, report)
        return why

    return try_out


def _tell(report: UpdateReport, *, as_json: bool) -> None:
    if as_json:
        out_json(
            {
                "outcome": report.outcome,
                "why": report.why,
                "generation": report.generation,
                "release": report.release,
                "removed": list(report.removed),
                "held_back": report.held_back,
            }
        )
    if report.outcome == "returned":
        raise ModelError(
            f"the release failed its trial: {report.why}",
            hint=f"generation {report.generation} answers on; this release is not tried again but with --again",
        )
    if report.outcome == "refused":
        raise ModelError(
            f"release {report.release} has failed its trial before: {report.why}",
            hint="head office releases a better one; --again tries this one anyway",
        )
    if report.outcome == "postponed":
        raise UnavailableError(
            "the release could not be tried out now", hint="free memory, or stop the server, and update again"
        )
    if as_json:
        return
    if report.outcome == "up_to_date":
        out(f"up to date: release {report.release}, generation {report.generation}")
    elif report.outcome == "not_yet":
        out(f"release {report.release} is not for this branch yet, generation {report.generation} stays")
    else:
        out(f"release {report.release} is generation {report.generation}")
        if report.why:
            say(report.why)
    if report.held_back:
        say(f"the model of release {report.release} is held back: {report.held_back}; new articles are taken")
    if report.removed:
        say(f"deleted old generations: {', '.join(map(str, report.removed))}")
