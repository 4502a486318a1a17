"""A branch under a kernel filter that kills any process, child or thread that asks for an internet socket.

A library that reports home does so late: onnxruntime first looked up its host some 8 s after a session was made, on
machines where it did so at all. What is watched here lives longer than that. A fixture shows that the filter kills.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.server import EN, ZH

UPLOAD_S = 20
"""More than twice what the library's first upload takes."""
LONG_S = 120
_SOCKET = {"x86_64": 41, "aarch64": 198}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000


def deny_internet(second_family: int = socket.AF_INET6) -> None:
    """For this process and all it starts, for good: socket(AF_INET or AF_INET6) kills. Unix sockets go on working."""
    machine = os.uname().machine
    steps = [
        (_LOAD, 0, 0, 0),  # the call's number
        (_EQUAL, 0, 4, _SOCKET[machine]),
        (_LOAD, 0, 0, 16),  # its first argument, the address family
        (_EQUAL, 1, 0, socket.AF_INET),
        (_EQUAL, 0, 1, second_family),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_filter, filter_mode = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_filter, filter_mode, program, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter")


def private_folders(folder: Path) -> dict[str, str]:
    """Variables that send whatever a program keeps for its user into one folder."""
    places = (
        "HOME",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_RUNTIME_DIR",
        "TMPDIR",
    )
    for place in places:
        (folder / place).mkdir(parents=True, exist_ok=True)
    return {place: str(folder / place) for place in places}


def start(
    *words: object, home: Path | None = None, deny: Callable[[], None] = deny_internet, **env: str
) -> subprocess.Popen[str]:
    """Python with these arguments, filtered from before its first instruction."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=deny,
        cwd=ROOT,
        env=env | ({"EDGEDESK_HOME": str(home)} if home else {}),
    )


def run(*words: object, home: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """`start`, until it has ended."""
    process = start(*words, home=home, **env)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="module", autouse=True)
def _filter_works() -> None:
    if os.uname().machine not in _SOCKET:
        pytest.skip("the filter knows x86-64 and ARM")
    for family in ("AF_INET", "AF_INET6"):
        done = run("-c", f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM)")
        assert done.returncode == -signal.SIGSYS, done
    assert run("-c", "import socket; socket.socket(socket.AF_UNIX)").returncode == 0


def test_a_branch_opens_no_internet_socket(
    make_home: Callable[..., Path], scripted_gguf: Path, tmp_path: Path, count_trials: Callable[[str, int], None]
) -> None:
    """S12: install, answer in both languages, compile, search, back up and evaluate."""
    home = make_home(scripted_gguf)
    bundle = (home / "current").resolve()
    new = tmp_path / "new home"
    sets = {
        "corpus.jsonl": [{"id": "a", "text": "Items may be returned."}, {"id": "b", "text": "送货免费。"}],
        "queries.jsonl": [{"id": "1", "text": "return", "gold": ["a"]}, {"id": "2", "text": "送货", "gold": ["b"]}],
    }
    for name, rows in sets.items():
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    for words in (
        ("install", bundle),
        ("ask", EN, "--json"),
        ("ask", ZH, "--json"),
        ("knowledge", "compile"),
        ("knowledge", "check"),
        ("journal", "search", "退货"),
        ("journal", "backup", tmp_path / "copy.sqlite"),
        ("evaluate", "retrieval", tmp_path / "corpus.jsonl", tmp_path / "queries.jsonl"),
    ):
        done = run("edgedesk.py", *words, home=new)
        assert done.returncode == 0, (words, done.returncode, done.stderr)
    count_trials("S12", 8)


SERVE = f"""
import sys, time
from pathlib import Path
from runtime.client.server_process import ensure_server, start_server
from runtime.events import Done
from tests.support.server import engine_pid
home, until = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2])
with start_server(home) as _, ensure_server(home) as client:
    server = next(
        int(path.name) for path in Path("/proc").glob("[0-9]*")
        if (path / "cmdline").exists() and b"serve\\0--home\\0" + str(home).encode() in (path / "cmdline").read_bytes()
    )
    engine, asked = engine_pid(server), 0
    while time.monotonic() < until or not asked:
        for question in ({EN!r}, {ZH!r}):
            client.typing(question[:-1])
            assert isinstance(list(client.ask(question))[-1], Done)
            asked += 1
        time.sleep(0.5)
    # The filter kills the process that asks: a dead engine would have been started again under another number.
    assert engine_pid(server) == engine is not None
    compiled = len(list((home / "knowledge").glob("*.pack")))
print(asked > 0, compiled)
"""

LIBRARIES = """
import asyncio, sys, time
from pathlib import Path
import runtime
bundle, folder, until = Path(sys.argv[1]), Path(sys.argv[2]), time.monotonic() + float(sys.argv[3])
import chromadb, onnxruntime, tokenizers
from runtime.retrieval.embedder import Embedder
vectors = Embedder(bundle / "embedder", threads=1).queries(["How long?", "多久？"])
from chromadb.config import Settings
store = chromadb.PersistentClient(str(folder / "chroma"), Settings(anonymized_telemetry=False))
found = store.create_collection("sections").add(["1", "2"], embeddings=vectors)
import datasets, transformers
datasets.Dataset.from_list([{"a": 1}]).map(lambda row: {"b": row["a"]}).save_to_disk(str(folder / "set"))
sizes = dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size"), 8)
config = transformers.LlamaConfig(**sizes, num_hidden_layers=1, num_attention_heads=1)
transformers.LlamaForCausalLM(config).save_pretrained(folder / "model")
transformers.AutoModelForCausalLM.from_pretrained(folder / "model")
from textual.app import App
async def console():
    async with App().run_test() as pilot:
        await pilot.press("a")
asyncio.run(console())
while time.monotonic() < until:
    time.sleep(0.5)
print("done")
"""


def watch_branch(home: Path, folder: Path, seconds: float) -> None:
    """A branch that answers, reads ahead and compiles, and the libraries of a build beside it, for so long."""
    env = private_folders(folder)
    branch = start("-c", SERVE, home, seconds, **env)
    # urllib3, which the build's libraries import, opens an IPv6 socket to see whether it could. A lookup needs IPv4.
    ipv4 = partial(deny_internet, socket.AF_INET)
    libraries = start("-c", LIBRARIES, home / "current", folder / "TMPDIR", seconds, deny=ipv4, **env)
    for process, said in ((branch, "True 8\n"), (libraries, "done\n")):
        out, err = process.communicate()
        assert (process.returncode, out) == (0, said), err


@pytest.mark.parametrize(
    "seconds", [UPLOAD_S, pytest.param(LONG_S, marks=[pytest.mark.slow, pytest.mark.timeout(4 * LONG_S)])]
)
def test_a_branch_that_serves_asks_and_compiles_opens_no_internet_socket(
    make_home: Callable[..., Path],
    random_gguf: Path,
    tmp_path: Path,
    seconds: float,
    count_trials: Callable[[str, int], None],
) -> None:
    """S12: server, engine and client over the Unix socket, longer than any library waits before it reports home."""
    watch_branch(make_home(random_gguf, layout="parallel", answer_tokens=8), tmp_path / "user", seconds)
    count_trials("S12", 6)  # the branch and five libraries


def test_a_branch_writes_nothing_outside_its_home(
    make_home: Callable[..., Path], random_gguf: Path, tmp_path: Path
) -> None:
    """No device id, event queue, cache or temporary file stays with the user, whatever libraries keep by default."""
    home, user = make_home(random_gguf, layout="parallel", answer_tokens=8), tmp_path / "user"
    bundle, new = (home / "current").resolve(), tmp_path / "new home"
    env = private_folders(user)
    before = names_below(user)
    for words in (("install", bundle), ("ask", EN, "--json")):
        done = run("edgedesk.py", *words, home=new, **env)
        assert done.returncode == 0, (words, done.stderr)
    done = run("-c", SERVE, new, 1, **env)
    assert done.returncode == 0, done.stderr
    assert names_below(user) == before


@pytest.mark.skipif(not shutil.which("strace"), reason="apt-get install strace")
def test_a_command_opens_no_file_outside_its_home_for_writing(
    make_home: Callable[..., Path], scripted_gguf: Path, tmp_path: Path
) -> None:
    """As the kernel sees it, so that a name that no variable moves is seen too."""
    home, calls = make_home(scripted_gguf), tmp_path / "calls"
    makes = "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mknod,mknodat"
    env = private_folders(tmp_path / "user") | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["strace", "-fqqs4096", "-o", calls, "-e", f"trace={makes}", sys.executable, "edgedesk.py", "ask", EN],
        env={**os.environ, **env, "EDGEDESK_HOME": str(home)}, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written, outside = [], []
    for call in calls.read_text(errors="replace").splitlines():
        for_reading = " open" in call and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", call)
        if for_reading or "= -1" in call:
            continue
        for path in re.findall(r'"((?:[^"\\]|\\.)*)"', call):
            written += [Path(path).name] if path.startswith(str(home)) else []
            if path.startswith("/") and not path.startswith((str(home), "/dev/", "/proc/")):
                outside.append(call)
    # The trace saw what a question must write: its journal, and the vectors that it searches.
    assert {"journal.sqlite", "vectors.npy"} <= set(written), written
    assert outside == []


def names_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
