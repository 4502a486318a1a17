"""`edgedesk agents`: who may use the server's TCP port, each with a token and a role."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from runtime.base.progress import say
from runtime.cli.main import AsJson, Home
from runtime.cli.output import out, out_json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Manage who may use the server over TCP.",
    epilog="Example: edgedesk agents add counter-2 --role agent",
)


class RoleName(StrEnum):
    """The roles, least first."""

    AGENT = "agent"
    SUPERVISOR = "supervisor"
    ADMIN = "admin"


@app.callback()
def _group() -> None:
    """Add, list and remove agents."""


@app.command(epilog="Example: edgedesk agents add counter-2 --role agent")
def add(
    name: Annotated[str, typer.Argument(help="Letters, digits, '.', '-' and '_'.")],
    role: Annotated[RoleName, typer.Option(help="What the agent may do.")] = RoleName.AGENT,
    internal: Annotated[
        bool, typer.Option("--internal", help="Also answer from articles for staff; by default only public ones.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Create an agent's token, which is shown once. A known agent gets a new one."""
    from runtime.base.home import find_home
    from runtime.server.access import AccessList, Role

    token = AccessList(find_home(home)).add(name, Role[role.name], internal=internal)
    if as_json:
        out_json({"agent": name, "role": role, "token": token})
    else:
        out(token)


@app.command("list", epilog="Example: edgedesk agents list --json")
def list_(home: Home = None, as_json: AsJson = False) -> None:
    """List names and roles."""
    from runtime.base.home import find_home
    from runtime.server.access import AccessList

    rows = [{"agent": name, "role": role.name.lower()} for name, role in AccessList(find_home(home)).names()]
    if as_json:
        out_json({"agents": rows})
        return
    if not rows:
        say("no agents: edgedesk agents add NAME")
    for row in rows:
        out(f"{row['role']:<11}{row['agent']}")


@app.command(epilog="Example: edgedesk agents remove counter-2")
def remove(name: str, home: Home = None) -> None:
    """Revoke an agent's token at once."""
    from runtime.base.home import find_home
    from runtime.server.access import AccessList

    AccessList(find_home(home)).remove(name)
    say(f"{name} is removed")
