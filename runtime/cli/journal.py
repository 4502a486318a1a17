"""`edgedesk journal`: look after the journal of a branch, beside a running server or without one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from runtime.base.progress import counter, say
from runtime.cli.main import AsJson, Home
from runtime.cli.output import out, out_json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Copy, search and prune the journal.",
    epilog="Example: edgedesk journal backup /mnt/stick/journal.sqlite",
)


@app.callback()
def _group() -> None:
    """Copy, search and prune the journal."""


@app.command(epilog="Example: edgedesk journal backup /mnt/stick/journal.sqlite")
def backup(
    target: Annotated[Path, typer.Argument(help="File to write; an existing one is replaced.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Copy the journal to one verified file; also while a server runs."""
    from runtime.base.home import find_home
    from runtime.journal.journal import FILE_NAME
    from runtime.journal.maintenance import backup as copy

    with counter("copying", unit="pages") as step:
        where = find_home(home)
        size = copy(where / FILE_NAME, target.absolute(), step, _key(where))
    if as_json:
        out_json({"file": str(target), "bytes": size})
    else:
        out(f"{target}: {size:,} bytes")


@app.command(epilog="Example: edgedesk journal search 退货期限 --json")
def search(
    query: Annotated[str, typer.Argument(help="Words that must all occur; Chinese needs no spaces.")],
    home: Home = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of turns.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find past turns by their words."""
    from runtime.base.home import find_home
    from runtime.journal.journal import FILE_NAME
    from runtime.journal.maintenance import open_reading
    from runtime.journal.search import search as find
    from runtime.journal.sqlite_errors import translated_errors

    where = find_home(home)
    path = where / FILE_NAME
    with translated_errors(path), closing(open_reading(path, _key(where))) as db:
        found = find(db, query, limit)
    if as_json:
        out_json({"turns": [asdict(one) for one in found]})
        return
    if not found:
        say("nothing found")
    for one in found:
        out(f"{one.asked[:16]}  {one.conversation}/{one.turn}")
        out(f"  ? {one.question}")
        out(f"  > {one.reply or one.draft}")


@app.command(epilog="Example: edgedesk journal encrypt --key-file /media/key/branch.key")
def encrypt(
    key_file: Annotated[Path, typer.Option(help="The key's file, on another disk or stick; made if it is not there.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Encrypt the journal; from then on `journal_key` in settings.toml must name the key's file."""
    from runtime.base.home import find_home, lock_home
    from runtime.errors import InputError
    from runtime.journal.encrypt import delete_plain_copies, encrypt_journal
    from runtime.journal.encryption import make_key, read_key
    from runtime.journal.journal import FILE_NAME

    where = find_home(home)
    path = key_file.absolute()
    with lock_home(where, "journal encrypt"):
        if not (where / FILE_NAME).is_file():
            raise InputError("there is no journal yet", where=str(where), hint="set journal_key; it begins encrypted")
        if not path.exists():
            make_key(path)
        key = read_key(path, where)
        assert key is not None
        turns = encrypt_journal(where / FILE_NAME, key)
        for name in delete_plain_copies(where):
            say(f"deleted, it was in clear: {name}")
    say(f'add to {where / "settings.toml"}: journal_key = "{path}"; without that file nobody reads the journal again')
    if as_json:
        out_json({"turns": turns})
    else:
        out(f"{turns} turns encrypted")


def _key(home: Path) -> str | None:
    from runtime.base.settings import load_settings
    from runtime.journal.encryption import read_key

    return read_key(load_settings(home).journal_key, home)


@app.command(epilog="Example: edgedesk journal prune --keep-days 365 --redact-after-days 30")
def prune(
    home: Home = None,
    keep_days: Annotated[
        int | None, typer.Option(min=0, help="Delete older conversations; 0 keeps all. Default: the policy's.")
    ] = None,
    redact_after_days: Annotated[
        int | None, typer.Option(min=0, help="Redact older conversations; 0 never. Default: the policy's.")
    ] = None,
    unsent: Annotated[
        bool, typer.Option("--unsent", help="Delete conversations that wait to leave the branch too.")
    ] = False,
    clock_is_right: Annotated[
        bool, typer.Option("--clock-is-right", help="Trust the clock after a long pause, or after it was wrong.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete and redact old conversations now. A running server does so every six hours."""
    from dataclasses import replace

    from runtime.base.home import find_home, lock_home
    from runtime.bundle.generations import current_bundle
    from runtime.desk.policy import outbox_cap, personal_rules, retention
    from runtime.journal.journal import FILE_NAME, Journal
    from runtime.journal.outbox_queue import drop_over_cap
    from runtime.journal.retention import apply_retention, forget_files
    from runtime.text.redaction import Redactor

    where = find_home(home)
    bundle = current_bundle(where)
    rule, cap = retention(bundle), outbox_cap(bundle)
    public, rules = bundle.public_text(), personal_rules(bundle)
    keep = rule.keep_days if keep_days is None else keep_days
    redact = rule.redact_after_days if redact_after_days is None else redact_after_days
    with lock_home(where, "journal prune"), Journal(where / FILE_NAME, key=_key(where)) as journal:
        dropped = drop_over_cap(journal, cap.max_turns, cap.drop)
        done = apply_retention(
            journal,
            keep_days=keep,
            redact_after_days=redact,
            redactor=lambda: Redactor(public, rules).redact,
            unsent=unsent,
            clock_is_right=clock_is_right,
        )
        if not done.paused:
            files = forget_files(where, journal.now(), keep_days=keep, redact_after_days=redact)
            done = replace(done, files=files)
        done = replace(done, dropped=dropped)
    if as_json:
        out_json(done.as_dict())
        return
    if done.paused:
        say(f"{done.paused}; if the clock is right: edgedesk journal prune --clock-is-right")
    if done.waiting:
        say(f"{done.waiting} conversations wait to leave the branch: redacted, not deleted; --unsent deletes them")
    if done.dropped:
        say(f"{done.dropped} turns will not leave the branch: more waited than [outbox] max_turns of the policy lets")
    if not done.overwritten:
        say("another program reads the journal; what was deleted is overwritten when it has finished")
    lost = f", of which {done.unsent} turns had not left the branch" if done.unsent else ""
    out(f"{done.deleted} conversations deleted{lost}; {done.redacted} redacted; {done.files} files deleted")
