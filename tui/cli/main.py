"""`edgedesk console`. Imports the console itself only when it is run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from runtime.errors import UsageError
from tui.base.i18n import LANGUAGES, Catalogue, system_language

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: edgedesk console --lang zh")
def console(
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder of this branch.", envvar="EDGEDESK_HOME", show_default="the user's data folder", readable=False
        ),
    ] = None,
    socket: Annotated[Path | None, typer.Option(help="Talk to the server on this socket; never start one.")] = None,
    lang: Annotated[str, typer.Option(help=f"Interface language: {', '.join(LANGUAGES)}.")] = "",
    theme: Annotated[str, typer.Option(help="dark, light or contrast.")] = "",
    settings: Annotated[
        Path | None, typer.Option(help="Your console.toml: theme, language, keys.", show_default="the user's own")
    ] = None,
    start: Annotated[bool, typer.Option(help="Start a server when none runs; it stops with the console.")] = True,
    browser: Annotated[
        int, typer.Option(help="Serve it to a browser on this machine at this port.", show_default="in this terminal")
    ] = 0,
) -> None:
    """Open the agents' console in this terminal, or in a browser on this machine."""
    from tui.base.settings import read_settings

    if browser:
        from runtime.base.child_process import module_command
        from tui.cli.browser import serve

        given = {"--home": home, "--socket": socket, "--lang": lang, "--theme": theme, "--settings": settings}
        flags = [part for name, value in given.items() if value for part in (name, str(value))]
        serve(module_command("tui.cli.main", *flags, *([] if start else ["--no-start"])), browser)
        return

    chosen = read_settings(settings)
    if theme and theme not in ("dark", "light", "contrast"):
        raise UsageError(f"no theme '{theme}'", where="--theme", hint="use one of dark, light, contrast")
    if theme:
        chosen = chosen.model_copy(update={"theme": theme})
    words = Catalogue(lang or chosen.lang or system_language())
    served = "TEXTUAL_DRIVER" in os.environ  # by `tui.cli.browser`
    if not served and not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError("the console needs a terminal", where="console", hint='in a script use: edgedesk ask "…"')

    from runtime.base.home import find_home
    from tui.app.console import Console
    from tui.services.server_link import HttpServerLink
    from tui.services.speech_input import MicrophoneInput

    folder = find_home(home)
    link = HttpServerLink(folder, socket=socket, may_start=start)
    Console(link, words, settings=chosen, folder=folder, speech=MicrophoneInput(folder)).run()


if __name__ == "__main__":
    app()
