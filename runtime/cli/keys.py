"""`edgedesk keys`: the keys that sign releases; head office only."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from runtime.base.progress import say
from runtime.bundle.keys import DRAFT, ROLES, Change, KeyFolder, make_keys
from runtime.bundle.token_keys import TokenKeys
from runtime.cli.main import AsJson
from runtime.cli.output import out, out_json
from runtime.errors import UsageError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make, replace and revoke the keys that sign releases.",
    epilog="Example: edgedesk keys init keys; edgedesk keys show keys",
)

Folder = Annotated[Path, typer.Argument(help="The folder of the company's keys.")]
MoreKeys = Annotated[
    list[Path] | None, typer.Option("--key", help="A private key that lies elsewhere, such as on a stick; repeatable.")
]
Module = Annotated[
    Path | None,
    typer.Option(
        "--pkcs11",
        envvar="EDGEDESK_PKCS11_MODULE",
        help="The PKCS#11 library of an HSM or a security key, such as /usr/lib/softhsm/libsofthsm2.so.",
    ),
]
Tokens = Annotated[
    list[str] | None,
    typer.Option("--token", help="Make the key in the token of this label; repeatable, root keys take turns."),
]
PASSPHRASE = "EDGEDESK_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
PIN = "EDGEDESK_PKCS11_PIN"


def passphrase() -> bytes | None:
    """What private keys are encrypted with, from the environment; None when they are in clear."""
    return os.environ.get(PASSPHRASE, "").encode() or None


def pin() -> str | None:
    """What a token asks for, from the environment; None without one."""
    return os.environ.get(PIN) or None


def open_keys(folder: Path, more: list[Path] | None, module: Path | None = None) -> KeyFolder:
    """The keys in a folder and those named beside it; `module` reaches tokens in place of the one their files name."""
    return KeyFolder(folder, passphrase=passphrase, more=more or (), pin=pin, module=module)


def _in_tokens(module: Path | None, tokens: list[str] | None, existing: int | None = None) -> TokenKeys | None:
    """What makes keys in tokens, where tokens are named."""
    if not tokens:
        if existing is not None:
            raise UsageError("which token holds it", where="--object", hint="name the token: --token LABEL")
        return None
    if module is None:
        raise UsageError("no PKCS#11 library is named", where="--token", hint="--pkcs11 /usr/lib/…/library.so")
    return TokenKeys(module, tokens, pin, existing)


@app.command(epilog="Example: EDGEDESK_KEY_PASSPHRASE=… edgedesk keys init keys")
def init(folder: Folder, pkcs11: Module = None, token: Tokens = None, as_json: AsJson = False) -> None:
    """Make the keys of a company: three for root, of which two must sign, and one for every other role.

    With --pkcs11 and --token the private keys are made in tokens and stay there.
    """
    held = _in_tokens(pkcs11, token)
    keys = make_keys(folder, datetime.now(UTC), passphrase=passphrase, make=held, pin=pin)
    if as_json:
        out_json({"folder": str(folder), "keys": [row._asdict() for row in _rows(keys)]})
        return
    for row in _rows(keys):
        out(f"{row.role:<10} {row.keyid[:8]}")
    if held:
        say(f"The private keys are in: {', '.join(token or ())}. {folder}/1.root.json is public.")
        return
    say(f"Move the root keys (root-*.pem) to three sticks and lock them away; {folder}/1.root.json is public.")
    if passphrase() is None:
        say(f"The private keys have no passphrase: {PASSPHRASE} sets one.")


@app.command(epilog="Example: edgedesk keys show keys --json")
def show(folder: Folder, key: MoreKeys = None, pkcs11: Module = None, as_json: AsJson = False) -> None:
    """List roles and their keys, and which private keys are at hand."""
    keys = open_keys(folder, key, pkcs11)
    rows = _rows(keys)
    if as_json:
        out_json({"root_version": keys.root_versions()[-1], "keys": [row._asdict() for row in rows]})
        return
    for row in rows:
        out(f"{row.role:<10} {row.keyid[:8]}  {'private key here' if row.here else ''}".rstrip())


@app.command(epilog="Example: edgedesk keys rotate keys articles")
def rotate(
    folder: Folder,
    role: Annotated[str, typer.Argument(help=f"One of {', '.join(ROLES)}.")],
    old: Annotated[str, typer.Option(help="The beginning of the old key's id; needed for root.")] = "",
    key: MoreKeys = None,
    pkcs11: Module = None,
    token: Tokens = None,
    existing: Annotated[
        int | None,
        typer.Option("--object", min=0, help="Take the key that the token has under this CKA_ID already."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a role a new key in place of an old one. The next release makes it known to the branches."""
    held = _in_tokens(pkcs11, token, existing)
    change = open_keys(folder, key, pkcs11).rotate(role, datetime.now(UTC), old, held)
    _report(change, folder, as_json=as_json)


@app.command(epilog="Example: edgedesk keys revoke keys 1a2b3c4d --key /media/stick/root-9f8e7d6c.pem")
def revoke(
    folder: Folder,
    keyid: Annotated[str, typer.Argument(help="The beginning of the key's id.")],
    key: MoreKeys = None,
    pkcs11: Module = None,
    as_json: AsJson = False,
) -> None:
    """Take a key away from its role without a new one; refused where the role would be left with too few."""
    _report(open_keys(folder, key, pkcs11).revoke(keyid, datetime.now(UTC)), folder, as_json=as_json)


@app.command(epilog="Example: edgedesk keys sign keys --key /media/stick/root-9f8e7d6c.pem")
def sign(folder: Folder, key: MoreKeys = None, pkcs11: Module = None, as_json: AsJson = False) -> None:
    """Add root signatures to a change of keys that waits for them."""
    _report(open_keys(folder, key, pkcs11).sign_draft(datetime.now(UTC)), folder, as_json=as_json)


def _report(change: Change, folder: Path, *, as_json: bool) -> None:
    if as_json:
        out_json({"role": change.role, "version": change.version, "missing_signatures": change.missing})
    elif change.missing:
        out(f"{folder / DRAFT} waits: {change.missing} more root signatures")
        say("Sign it where another root key is: edgedesk keys sign KEYS --key FILE")
    else:
        out(f"{change.role}: version {change.version}")
        say("Branches learn of it with the next release: edgedesk release --keys KEYS --to RELEASE")


class _Row(NamedTuple):
    """A public key, and whether its private half is at hand."""

    role: str
    keyid: str
    here: bool


def _rows(keys: KeyFolder) -> list[_Row]:
    return [_Row(role, key.keyid, key.keyid in keys.signers()) for role in ROLES for key in keys.keys_of(role)]
