"""The front door: lists the commands, imports the one that is asked for, prints errors.

`--help` loads no command: a name and its line come from the table below, and only the module of the command that runs
is imported.
"""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from runtime import __version__
from runtime.cli.output import run_app


class Entry(NamedTuple):
    """Where a command is defined: a Typer app, in which it is `name`, or which as a whole is the command."""

    module: str
    about: str
    whole: bool = False


COMMANDS = {
    "init": Entry(
        "distill.cli.init", "head office: recipe, house rules and policy for a folder of articles", whole=True
    ),
    "build": Entry(
        "edgedesk_build", "head office: build a bundle from a recipe, re-running only stale stages", whole=True
    ),
    "models": Entry("edgedesk_models", "head office: list and fetch base models", whole=True),
    "data": Entry("distill.cli.data", "head office: prepare training records and inspect them", whole=True),
    "classifiers": Entry(
        "distill.cli.classifiers",
        "head office: cross-validate intent or emotion classifiers on a labelled file",
        whole=True,
    ),
    "quantize": Entry("quantize.cli.main", "head office: quantize a checkpoint, plan sizes, compare files", whole=True),
    "evaluate": Entry("runtime.cli.evaluate", "head office: measure retrieval and answers", whole=True),
    "keys": Entry("runtime.cli.keys", "head office: make, replace and revoke the keys of releases", whole=True),
    "release": Entry("runtime.cli.release", "head office: sign bundles, articles or wheels for branches", whole=True),
    "install": Entry("runtime.cli.main", "branch: verify a release and make it the one this branch runs"),
    "update": Entry("runtime.cli.update", "branch: bring this branch to the newest release", whole=True),
    "rollback": Entry("runtime.cli.main", "branch: return to the previous generation"),
    "generations": Entry("runtime.cli.main", "branch: list the installed bundles"),
    "doctor": Entry("runtime.cli.main", "branch: check this machine, its bundle and its server"),
    "serve": Entry("runtime.cli.main", "branch: answer the console and other programs over a socket"),
    "probe": Entry("runtime.cli.probe", "branch: tell a watcher whether the server answers", whole=True),
    "ask": Entry("runtime.cli.main", "branch: ask one question and print the answer with its sources"),
    "agents": Entry("runtime.cli.agents", "branch: manage who may use the server over TCP", whole=True),
    "knowledge": Entry("runtime.cli.knowledge", "branch: compile articles, so that answers begin sooner", whole=True),
    "journal": Entry("runtime.cli.journal", "branch: copy, search and prune the journal", whole=True),
    "feedback": Entry("runtime.cli.feedback", "branch: what leaves for head office, seen before it leaves", whole=True),
    "fleet": Entry("runtime.cli.fleet", "head office: one page about all branches, from their exports"),
    "rollout": Entry("runtime.cli.fleet", "head office: which branches get a release next, canaries first"),
    "experiment": Entry("runtime.cli.experiment", "branch: A/B-test a policy against the bundle's own", whole=True),
    "console": Entry("tui.cli.main", "agent: open the console"),
}


_COMPLETION = ("install_completion", "show_completion")


class FrontDoor(TyperGroup):
    """Knows the commands by name and loads the one that runs."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the work."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the module that defines the command."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = typer.main.get_command(import_module(entry.module).app)
        if not entry.whole and hasattr(command, "commands"):
            return command.commands[cmd_name]
        command.name = cmd_name
        # The front door completes for all; a group mounted below it would offer to install itself.
        command.params = [param for param in command.params if param.name not in _COMPLETION]
        return command

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete a command's name from the table: loading all of them takes seconds."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            SimpleNamespace(type="plain", value=name, help=entry.about)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List them without loading any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.about) for name, entry in COMMANDS.items()])


app = typer.Typer(
    cls=FrontDoor,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A company's own support model in every branch: build it, install it, ask it, offline.",
    epilog='Example: edgedesk build recipes/demo.toml; edgedesk install work/northlight-en/bundle; edgedesk ask "…"',
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    # By the option's own callback: the group refuses a line without a command before it runs this function.
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run a command; an error on purpose ends in its exit code, Ctrl-C in 130, nothing in a traceback."""
    run_app(app)


if __name__ == "__main__":
    main()
