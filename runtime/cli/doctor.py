"""What `edgedesk doctor` looks at: the machine, the branch's folder, its bundle, its server, and the model at work.

Promises: every problem comes with what cures it; one check that fails, whatever it raises, does not keep the others
from running; a model that crashes takes a process of its own down, not this one. Looks only; repairs nothing.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runtime.base.files import need_space
from runtime.cli.doctor_perception import look_at_microphone, look_at_pictures, look_at_speech
from runtime.errors import EdgedeskError, IntegrityError

PYTHONS = ((3, 11), (3, 13))
"""The oldest and the newest that the wheels are made for."""
GLIBC = (2, 34)
"""What llama.cpp is linked with; Debian 12 has 2.36."""
SPARE_BYTES = 512 * 1024 * 1024
"""Room for an update, the index and the journal to grow."""
WORK_BYTES = 768 * 1024 * 1024
"""Above the model file itself: context, embedder, index, Python."""
CLOCK_SLACK = timedelta(days=2)
"""A clock may be this far behind the day on which the bundle was built."""
UNIT = "edgedesk.service"


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    said: str
    hint: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    """What was measured."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


Said = str | tuple[str, dict[str, float]] | tuple[str, str]
"""What a check that found nothing wrong says, with figures where it measured, or with what could be had beside it."""


def examine(home: Path) -> list[Finding]:
    """All checks in the order in which a problem causes the next."""
    checks: tuple[tuple[str, Callable[[Path], Said]], ...] = (
        ("system", _system),
        ("python", _python),
        ("processor", _processor),
        ("disk", _disk),
        ("memory", _memory),
        ("owner", _owner),
        ("settings", _settings),
        ("threads", _threads),
        ("bundle", _bundle),
        ("clock", _clock),
        ("index", _index),
        ("articles", _articles),
        ("server", _server),
        ("service", _service),
        ("model", _model),
        ("pictures", look_at_pictures),
        ("speech", look_at_speech),
        ("microphone", look_at_microphone),
    )
    return [_examine(name, check, home) for name, check in checks]


def _examine(name: str, check: Callable[[Path], Said], home: Path) -> Finding:
    try:
        said = check(home)
    except EdgedeskError as error:
        return Finding(name, False, str(error), error.hint)
    except (OSError, ImportError) as error:
        # A file that may not be read, a library that the wheel or the system lacks: said like any other problem.
        return Finding(name, False, f"{type(error).__name__}: {error}", "run install.sh again, as the branch's owner")
    if isinstance(said, str):
        return Finding(name, True, said)
    text, more = said
    return Finding(name, True, text, hint=more) if isinstance(more, str) else Finding(name, True, text, figures=more)


def _system(_: Path) -> str:
    machine, libc = os.uname().machine, _libc()
    if libc is None:
        raise EdgedeskError(
            "this system's C library is not glibc", hint="use Debian 12 or newer: the libraries are built for glibc"
        )
    if libc < GLIBC:
        raise EdgedeskError(
            f"glibc {libc[0]}.{libc[1]} is too old, {GLIBC[0]}.{GLIBC[1]} is needed", hint="use Debian 12 or newer"
        )
    return f"Linux {os.uname().release}, {machine}, glibc {libc[0]}.{libc[1]}"


def _libc() -> tuple[int, int] | None:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = version.split(".")[:2]
        return (int(major), int(minor)) if name == "glibc" else None
    except (OSError, ValueError):
        return None


def _python(_: Path) -> str:
    version = sys.version.split()[0]
    oldest, newest = (".".join(map(str, bound)) for bound in PYTHONS)
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        raise EdgedeskError(f"Python {version} is not one of {oldest} to {newest}", hint="run install.sh again")
    return f"{version} in {sys.prefix}"


def _processor(_: Path) -> str:
    from runtime.base.hardware import processors
    from runtime.engine.llama.bindings import loaded_variant

    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return f"{processors()} processors, {model or os.uname().machine}, llama.cpp's code for: {loaded_variant()}"


def _disk(home: Path) -> str:
    need_space(home, SPARE_BYTES, "an update")
    there = home
    while not there.exists():
        there = there.parent
    return f"{shutil.disk_usage(there).free / 1e9:.1f} GB free"


def _memory(home: Path) -> str:
    from runtime.bundle.generations import current_bundle
    from runtime.engine.core.memory_capacity import available_bytes

    try:
        need = current_bundle(home).model_path.stat().st_size + WORK_BYTES
    except EdgedeskError:
        need = WORK_BYTES
    free = available_bytes()
    if free < need:
        raise EdgedeskError(
            f"{free / 1e9:.1f} GB of memory free, about {need / 1e9:.1f} GB needed",
            hint="close other programs, raise the limit of the container or service, or install a smaller bundle",
        )
    return f"{free / 1e9:.1f} GB free, about {need / 1e9:.1f} needed"


def _owner(home: Path) -> str:
    if not home.exists():
        return "the branch's folder is not made yet"
    owner = home.stat().st_uid
    if owner != os.geteuid():
        name = _user(owner)
        raise EdgedeskError(
            f"it belongs to {name}, and you are {_user(os.geteuid())}",
            where=str(home),
            hint=f"sudo -u {name} edgedesk doctor, or name your own folder with --home",
        )
    for path in (home, home / "run", home / "agents.json", home / "journal.sqlite"):
        if path.exists() and (mode := path.stat().st_mode & 0o777) & 0o077:
            raise EdgedeskError(f"other users may read it (mode {mode:o})", where=str(path), hint=f"chmod go= {path}")
    return f"{home} is yours alone"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _settings(home: Path) -> str:
    from runtime.base.settings import FILE_NAME, load_settings

    load_settings(home)
    return f"{home / FILE_NAME}" if (home / FILE_NAME).exists() else "the defaults"


def _threads(home: Path) -> str:
    from runtime.base.hardware import read_measurement
    from runtime.base.settings import load_settings

    found, threads = read_measurement(home), load_settings(home).threads
    if found is None:
        return f"{threads} (not measured; edgedesk install measures)"
    return str(found) if threads == found.threads else f"{threads} (from settings; measured: {found})"


def _bundle(home: Path) -> str:
    from runtime.bundle.bundle import open_bundle
    from runtime.bundle.generations import current_bundle

    current = current_bundle(home)
    try:
        bundle = open_bundle(current.root, verify=True)
    except IntegrityError as error:
        cure = "install it again from the stick: edgedesk install BUNDLE; until then: edgedesk rollback"
        raise IntegrityError(error.what, where=error.where, hint=cure) from None
    return f"{bundle.info.name} {bundle.info.version}, every file verified"


def _clock(home: Path) -> str:
    from runtime.bundle.generations import current_bundle

    now = datetime.now(UTC)
    try:
        built = datetime.fromisoformat(current_bundle(home).info.created)
    except (EdgedeskError, ValueError):
        return f"{now:%Y-%m-%d %H:%M} UTC"
    built = built if built.tzinfo else built.replace(tzinfo=UTC)
    if now < built - CLOCK_SLACK:
        raise EdgedeskError(
            f"the clock says {now:%Y-%m-%d}, before the bundle was built ({built:%Y-%m-%d})",
            hint="set it: sudo timedatectl set-time 'YYYY-MM-DD HH:MM'; nothing is deleted or rolled back by it",
        )
    return f"{now:%Y-%m-%d %H:%M} UTC"


def _index(home: Path) -> str:
    if not (home / "index").is_dir():
        return "none yet; the next start makes it"
    size = sum(path.stat().st_size for path in (home / "index").rglob("*") if path.is_file())
    return f"{size / 1e6:.0f} MB; rebuilt by the next start when it is damaged"


def _articles(home: Path) -> str:
    from runtime.base.settings import load_settings
    from runtime.bundle.generations import current_bundle
    from runtime.desk.compile_articles import all_sections
    from runtime.desk.open_engine import FOLDER
    from runtime.engine.llama.kv_store import usage

    bundle = current_bundle(home)
    sections = len(all_sections(bundle))
    if bundle.prompt.layout == "exact":
        return f"{sections} sections, read with each question (layout exact)"
    used = usage(home / FOLDER)
    limit = load_settings(home).knowledge_mib
    return f"{min(used.packs, sections)} of {sections} sections compiled, {used.bytes / 2**20:.0f} of {limit:,} MiB"


def _server(home: Path) -> str:
    from runtime.base.home import socket_path
    from runtime.client.client import Client

    client = Client(home)
    if not client.is_alive():
        return "not running"
    mode = socket_path(home).stat().st_mode & 0o777
    if mode & 0o077:
        raise EdgedeskError(f"other users may use the socket (mode {mode:o})", hint="restart the server")
    return str(client.status()["state"])


def _service(_: Path) -> str:
    """The unit of install.sh, in whichever of systemd's instances it is."""
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemctl") is None:
        return "systemd does not run here"
    for words in ((), ("--user",)):
        command = ["systemctl", *words, "show", "--property=LoadState,ActiveState,Result", UNIT]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        state = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
        if done.returncode or state.get("LoadState") != "loaded":
            continue
        if state.get("ActiveState") == "failed":
            where = " ".join(["systemctl", *words])
            raise EdgedeskError(
                f"{UNIT} has failed ({state.get('Result', '')})",
                hint=f"see why with: journalctl {' '.join(words)} --unit {UNIT}; then: {where} restart {UNIT}",
            )
        return f"{UNIT} is {state.get('ActiveState', 'unknown')}"
    return "no service is installed"


def _model(home: Path) -> Said:
    """Load the model in a process of its own, and predict the first word from how fast it reads."""
    from runtime.base.settings import load_settings
    from runtime.bundle.generations import current_bundle
    from runtime.desk.first_word import predict_first_word
    from runtime.engine.core.options import EngineOptions
    from runtime.engine.onnx.engine import OnnxEngine
    from runtime.engine.process.remote_engine import RemoteEngine
    from runtime.retrieval.embedder import Embedder

    settings, bundle = load_settings(home), current_bundle(home)
    tokens = bundle.prompt.context_tokens
    if settings.runtime == "onnx":
        path = bundle.onnx_path
        engine: RemoteEngine | OnnxEngine = OnnxEngine(path, context_tokens=tokens, threads=settings.threads)
    else:
        path = bundle.model_path
        # Reads exactly and keeps nothing on disk: a running server has its own compiled articles and conversations.
        engine = RemoteEngine(EngineOptions(path, context_tokens=tokens, threads=settings.threads, slots=1))
    embedder = Embedder(bundle.embedder_path, threads=settings.threads)
    try:
        found = predict_first_word(bundle, engine, lambda question: embedder.queries([question]))
    finally:
        engine.close()
    said = (
        f"{path.name} loads and answers; first word after about {found.compiled_s:.2f} s with compiled articles, "
        f"{found.uncompiled_s:.2f} s without ({found.tokens_read_per_s:.0f} tokens read a second)"
    )
    return said, {
        "compiled_s": round(found.compiled_s, 3),
        "uncompiled_s": round(found.uncompiled_s, 3),
        "search_s": round(found.search_s, 3),
        "tokens_read_per_s": round(found.tokens_read_per_s, 1),
        "question_tokens": found.question_tokens,
        "article_tokens": found.article_tokens,
    }
