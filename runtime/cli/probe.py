"""`edgedesk probe`: whether the branch's server answers, for whoever watches it (containers, monitoring)."""

from __future__ import annotations

from typing import Annotated

import typer

from runtime.cli.main import Home
from runtime.cli.output import out
from runtime.errors import UnavailableError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: edgedesk probe --live || systemctl restart edgedesk")
def probe(
    home: Home = None,
    live: Annotated[bool, typer.Option("--live", help="Only whether it lives, ready or not.")] = False,
) -> None:
    """Exit with 0 when the server answers questions, with 9 when it does not."""
    from runtime.base.home import find_home
    from runtime.client.client import Client

    client = Client(find_home(home))
    if client.is_ready():
        out("ready")
    elif live and client.is_alive():
        out("alive")
    else:
        raise UnavailableError(
            "the server is not ready" if client.is_alive() else "no server answers",
            where=str(client.home),
            hint="edgedesk doctor; the server's words are in run/serve.log or: journalctl --unit edgedesk",
        )
