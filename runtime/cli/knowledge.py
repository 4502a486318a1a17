"""`edgedesk knowledge`: compile the articles ahead of questions, and look at what is in them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from runtime.base.progress import counter, say
from runtime.cli.main import AsJson, Home, Threads
from runtime.cli.output import out, out_json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Compile articles, so that answers begin sooner, and check them.",
    epilog="Example: edgedesk knowledge compile",
)


@dataclass(frozen=True)
class _Deadline:
    """A cancel flag that raises itself at a time of the monotonic clock."""

    at: float

    def is_set(self) -> bool:
        return time.monotonic() >= self.at


@app.command("compile", epilog="Example: edgedesk knowledge compile --threads 2")
def compile_(
    home: Home = None,
    threads: Threads = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long; sections that customers asked about come first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile every article for the model, so that answers begin sooner. Ctrl-C stops; the next run continues."""
    from runtime.base.home import find_home, lock_home
    from runtime.base.settings import load_settings
    from runtime.bundle.generations import current_bundle
    from runtime.desk.compile_articles import compile_articles, hot_sections_first
    from runtime.desk.open_engine import open_engine

    where = find_home(home)
    bundle = current_bundle(where)
    settings = load_settings(where, threads=threads, slots=1)
    with lock_home(where, "knowledge compile"), open_engine(bundle, where, settings) as engine:
        stop = _Deadline(math.inf if seconds is None else time.monotonic() + seconds)
        with counter("compiling", unit="sections") as step:
            found = compile_articles(engine, bundle, stop, step, hot_sections_first(bundle))
        layout = engine.layout
    if as_json:
        out_json({"layout": layout, **found._asdict()})
        return
    if found.reason:
        say(f"nothing to compile: {found.reason}")
    out(f"{found.built} of {found.articles} sections compiled ({layout}), {found.on_disk} were there already")
    if found.no_room:
        say(f"{found.no_room} are compiled when they are asked for: knowledge_mib is used up by those asked for more")
    if stop.is_set():
        say("the rest is compiled while the server is idle")


@app.command(epilog="Example: edgedesk knowledge status --json")
def status(home: Home = None, as_json: AsJson = False) -> None:
    """Show how much is compiled; also while a server runs."""
    from runtime.base.home import find_home
    from runtime.base.settings import load_settings
    from runtime.bundle.generations import current_bundle
    from runtime.desk.open_engine import FOLDER
    from runtime.engine.llama.kv_store import usage

    where = find_home(home)
    bundle = current_bundle(where)
    used = usage(where / FOLDER)
    limit = load_settings(where).knowledge_mib
    layout = bundle.prompt.layout
    if as_json:
        out_json({"layout": layout, **used._asdict(), "limit_mib": limit})
    else:
        share = f" ({used.share:.0%} of f16)" if used.packs else ""
        out(f"{layout}: {used.packs} compiled sections, {used.bytes / 2**20:,.1f} of {limit:,} MiB{share}")


@app.command(epilog="Example: edgedesk knowledge check examples/shop/en/articles --json")
def check(
    articles: Annotated[
        Path | None, typer.Argument(help="A folder of articles; default: the installed bundle's.")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List sentences that look like prompt injection. Agents still see them; the model and customers do not.

    Orders to a model are detected by rules, sentences that dictate an answer by the installed bundle's classifier.
    """
    from runtime.base.home import find_home
    from runtime.bundle.generations import current_bundle, generations
    from runtime.text.articles import load_articles
    from runtime.understanding.dictation_classifier import load_classifier
    from runtime.understanding.injection_filter import find_suspicious

    where = find_home(home)
    bundle = None if articles and not generations(where) else current_bundle(where)
    loaded = load_articles(articles or current_bundle(where).articles_path)
    found = find_suspicious(loaded, load_classifier(bundle).dictated if bundle else None)
    sections = sum(len(article.sections) for article in loaded)
    if as_json:
        out_json({"sections": sections, "found": [one._asdict() for one in found]})
        return
    for one in found:
        out(f"{one.ref} ({one.lang}) {one.kind}: {one.sentence}")
    say(f"{len(found)} sentences withheld in {sections:,} sections")
