"""`edgedesk release`: signs what branches install; head office only."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runtime.base.files import new_file, read_text
from runtime.base.home import locked
from runtime.base.jsonl import read_rows
from runtime.base.progress import counter, say
from runtime.bundle.gate_record import FILE_NAME as GATE
from runtime.bundle.gate_record import require_passed
from runtime.bundle.keys import KeyFolder
from runtime.bundle.oci_registry import OciAddress, Registry, read_login
from runtime.bundle.oci_source import PushedRelease, push_release
from runtime.bundle.publish import PublishedRelease, publish, read_published
from runtime.bundle.release_format import Part
from runtime.bundle.release_parts import INSTALL_SCRIPT, app_part, articles_part, model_part
from runtime.cli.keys import MoreKeys, open_keys
from runtime.cli.main import AsJson
from runtime.cli.output import out, out_json
from runtime.errors import EdgedeskError, MissingError, UsageError

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
    probes: Annotated[
        Path | None, typer.Option(help="Golden questions (JSONL) that a branch asks before it relies on the model.")
    ] = None,
    rollout: Annotated[
        Path | None,
        typer.Option(help="The plan of a roll-out (TOML): only its first ring may take the bundle for now."),
    ] = None,
    key: MoreKeys = None,
    oci: Annotated[
        str | None, typer.Option(help="Push the release to a registry as well: oci://registry.example/model:stable.")
    ] = None,
    login: Annotated[Path | None, typer.Option(help="A file with user:password for the registry.")] = None,
    ca: Annotated[Path | None, typer.Option(help="Certificates (PEM) that the registry's must be signed by.")] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(help="Another host that the registry may send to, such as its token server; repeatable."),
    ] = None,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Sign nothing and need no keys: push the release that lies in --to.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sign a release: a bundle that passed its gate, new articles alone, Edgedesk's own wheels, or all of them.

    Without any of them the release is signed again as it is, so that it does not expire.
    """
    address = OciAddress.parse(oci) if oci else None  # a wrong address is named before anything is signed
    secret = read_login(login)
    if as_is:
        if address is None or bundle or articles or wheels or probes or rollout:
            raise UsageError("--as-is pushes what is signed", where="--as-is", hint="only --to and --oci go with it")
        _tell_push(_push(to, address, secret, ca, host or ()), address, as_json=as_json)
        return
    if address is None and (login or ca or host):
        raise UsageError("nothing is pushed", where="--login, --ca, --host", hint="name the registry: --oci")
    parts: dict[Part, dict[str, Path]] = {}
    ring = _first_ring(rollout, bundle) if rollout else None
    with tempfile.TemporaryDirectory(prefix="edgedesk-release-") as scratch:
        if bundle is not None:
            parts["model"] = model_part(bundle, _documents(bundle, Path(scratch), wheels, probes))
        elif probes is not None:
            raise UsageError("golden questions belong to a model", where="--probes", hint="name its bundle as well")
        done = _publish(parts, bundle, articles, wheels, to, open_keys(keys, key), ring)
    pushed: PushedRelease | None = None
    if address:
        try:
            pushed = _push(to, address, secret, ca, host or ())
        except EdgedeskError:
            say(f"release {done.version} is signed; push it later: edgedesk release --to {to} --oci {address} --as-is")
            raise
    if as_json:
        out_json(
            {
                "release": done.version,
                "parts": done.parts,
                "files": done.new_files,
                "bytes": done.new_bytes,
                **({"pushed": pushed._asdict()} if pushed else {}),
            }
        )
        return
    versions = ", ".join(f"{part} {version}" for part, version in done.parts.items())
    out(f"release {done.version}: {versions}; {done.new_files} new files, {done.new_bytes / 1e6:,.1f} MB")
    if pushed and address:
        _tell_push(pushed, address)
        return
    say(f"Copy {to} to a stick or a web server. Branches: edgedesk install {to}, then edgedesk update")


def _push(folder: Path, address: OciAddress, login: str, ca: Path | None, hosts: Collection[str]) -> PushedRelease:
    if not folder.is_dir():
        raise MissingError("no signed release", where=str(folder), hint="edgedesk release BUNDLE --to FOLDER")
    with (
        locked(folder / ".lock", "release", folder),
        Registry(address, login=login, ca=ca, hosts=hosts, write=True) as registry,
        counter("pushing") as step,
    ):
        return push_release(folder, registry, step)


def _tell_push(pushed: PushedRelease, address: OciAddress, *, as_json: bool = False) -> None:
    if as_json:
        out_json({"pushed": pushed._asdict()})
        return
    sent = f"{pushed.sent_files} of {pushed.files} files sent, {pushed.sent_bytes / 1e6:,.1f} MB"
    out(f"{address}: {pushed.digest}; {sent}")
    say(f"Branches: edgedesk install {address}, then edgedesk update {address}")


def _publish(
    parts: dict[Part, dict[str, Path]],
    bundle: Path | None,
    articles: Path | None,
    wheels: Path | None,
    to: Path,
    keys: KeyFolder,
    ring: tuple[str, ...] | None,
) -> PublishedRelease:
    own = bundle / "articles" if bundle is not None and articles is None else None
    articles = own or articles
    if articles is not None:
        parts["articles"] = articles_part(articles)
    if wheels is not None:
        parts["app"] = app_part(wheels)
    to.mkdir(parents=True, exist_ok=True)
    with locked(to / ".lock", "release", to), counter("releasing") as step:
        if wheels is not None and (wheels / INSTALL_SCRIPT).is_file():
            with new_file(to / INSTALL_SCRIPT) as partial:
                shutil.copyfile(wheels / INSTALL_SCRIPT, partial)
                partial.chmod(0o755)
        before = read_published(to).get("articles")
        done = publish(to, keys, parts, datetime.now(UTC), branches=ring, progress=step)
    if own is not None and before is not None and done.parts.get("articles") != before.signed.version:
        say("the bundle's own articles replace those released before; --articles FOLDER releases others")
    return done


def _first_ring(plan: Path, bundle: Path | None) -> tuple[str, ...]:
    """The branches that a roll-out begins with; `UsageError` where the plan is of another bundle."""
    from runtime.bundle.bundle import open_bundle
    from runtime.feedback.rollout import read_plan

    rings = read_plan(plan)
    if bundle is None:
        raise UsageError("a roll-out begins with a bundle", where="--rollout", hint="edgedesk rollout widens it later")
    info = open_bundle(bundle, verify=False).info
    if rings.release != (title := f"{info.name} {info.version}"):
        raise UsageError(f"the plan is for {rings.release}, the bundle is {title}", where=str(plan), hint="correct it")
    return rings.ring[0].branches


def _documents(bundle: Path, scratch: Path, wheels: Path | None, probes: Path | None) -> dict[str, Path]:
    """What a release adds to a bundle, by its path in it: card, bill of materials, the gate's record, probes."""
    from runtime.bundle.bundle import open_bundle, read_bundle_manifest
    from runtime.bundle.release_documents import CARD, SBOM, bill_of_materials, card_with_front_matter
    from runtime.desk.probes import EXAMPLE_PROBE, PROBES_FILE, Probe

    gate = require_passed(bundle)
    info, manifest = open_bundle(bundle, verify=False).info, read_bundle_manifest(bundle)
    licences = [entry.path for entry in manifest.files if entry.path.startswith("licences/")]
    (scratch / CARD).write_text(
        card_with_front_matter(read_text(bundle / CARD), info, gate, licences), encoding="utf-8"
    )
    (scratch / SBOM).write_text(bill_of_materials(info, manifest, wheels), encoding="utf-8")
    files = {CARD: scratch / CARD, SBOM: scratch / SBOM, f"report/{GATE}": bundle.parent / GATE}
    if probes is None and not any(entry.path == PROBES_FILE for entry in manifest.files):
        say(
            "warning: no golden questions go with this release. Branches will try it with a few earlier questions of"
            " the bundle, and a model that answers badly may pass. Write some, one JSON object a line, and add"
            f" --probes FILE: {EXAMPLE_PROBE}"
        )
    if probes is not None:
        list(read_rows(Probe, probes))  # a row that does not fit is named here and not in the branches
        files[PROBES_FILE] = probes
    return files
