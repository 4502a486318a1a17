"""`edgedesk release`: signs what branches install; head office only."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runtime.base.files import new_file
from runtime.base.home import locked
from runtime.base.progress import counter, say
from runtime.bundle.publish import publish
from runtime.bundle.release_format import Part
from runtime.bundle.release_parts import INSTALL_SCRIPT, app_part, articles_part, model_part
from runtime.cli.keys import MoreKeys, open_keys
from runtime.cli.main import AsJson
from runtime.cli.output import out, out_json

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: edgedesk release work/northlight/bundle --keys keys --to /srv/release")
def release(
    bundle: Annotated[
        Path | None, typer.Argument(help="A bundle that passed its gate; without one the released model stays.")
    ] = None,
    keys: Annotated[Path, typer.Option("--keys", help="The folder of the company's keys.")] = Path("keys"),
    to: Annotated[Path, typer.Option("--to", help="The folder of the release.")] = Path("release"),
    articles: Annotated[
        Path | None, typer.Option(help="A folder of articles, <lang>/*.md; by default the bundle's own.")
    ] = None,
    wheels: Annotated[Path | None, typer.Option(help="A folder with Edgedesk's wheels and install.sh.")] = None,
    key: MoreKeys = None,
    as_json: AsJson = False,
) -> None:
    """Sign a release: a bundle that passed its gate, new articles alone, Edgedesk's own wheels, or all of them.

    Without any of them the release is signed again as it is, so that it does not expire.
    """
    parts: dict[Part, dict[str, Path]] = {}
    if bundle is not None:
        parts["model"] = model_part(bundle, {})
    if articles is not None or bundle is not None:
        parts["articles"] = articles_part(articles or bundle / "articles")  # type: ignore[operator]
    if wheels is not None:
        parts["app"] = app_part(wheels)
    to.mkdir(parents=True, exist_ok=True)
    with locked(to / ".lock", "release", to), counter("releasing") as step:
        if wheels is not None and (wheels / INSTALL_SCRIPT).is_file():
            with new_file(to / INSTALL_SCRIPT) as partial:
                shutil.copyfile(wheels / INSTALL_SCRIPT, partial)
                partial.chmod(0o755)
        done = publish(to, open_keys(keys, key), parts, datetime.now(UTC), progress=step)
    if as_json:
        out_json({"release": done.version, "parts": done.parts, "files": done.new_files, "bytes": done.new_bytes})
        return
    versions = ", ".join(f"{part} {version}" for part, version in done.parts.items())
    out(f"release {done.version}: {versions}; {done.new_files} new files, {done.new_bytes / 1e6:,.1f} MB")
    say(f"Copy {to} to a stick or a web server. Branches: edgedesk install {to}, then edgedesk update")
