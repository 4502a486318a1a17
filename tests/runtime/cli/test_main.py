from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks._receipt_pictures import SANS_SC, draw, encoded, make_receipt
from runtime.base.home import find_home, lock_home
from runtime.client.server_process import ensure_server, start_server
from runtime.engine.core.memory_capacity import available_memory
from runtime.errors import ExitCode
from runtime.journal.journal import Journal
from tests.support.paths import ROOT

ANSWER = "You can return most items within 30 days of delivery or collection. 大多数商品可在30天内退货。"
EN = "How long can I return an item after delivery?"
ZH = "大多数商品多长时间内可以退货？"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runtime.cli.main", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def home(make_home: Callable[..., Path], scripted_gguf: Path) -> Path:
    return make_home(scripted_gguf)


def test_ask_prints_answer_and_sources_on_stdout_and_its_talk_on_stderr(home: Path) -> None:
    done = run("ask", EN)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == ANSWER
    assert lines[1].startswith("[1] returns-window#how-long  Return period: How long")
    assert "first word after" in done.stderr
    assert "tokens a second (shop-1/q4_k_m)" in done.stderr


def test_ask_json_has_exactly_its_five_keys_with_and_without_a_server(home: Path) -> None:
    alone = run("ask", EN, "--json")
    assert not (home / "run" / "edgedesk.sock").exists()
    with ensure_server(home):
        served = run("ask", EN, "--json", "--home", home)
    for done in (alone, served):
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert sorted(said) == ["answer", "citations", "model", "tokens_per_s", "ttft_s"]
        assert said["answer"] == ANSWER
        assert sorted(said["citations"][0]) == ["article", "section", "text"]
        assert said["ttft_s"] > 0


@pytest.mark.parametrize(("lang", "words"), [("en", EN), ("zh", ZH)])
def test_ask_about_a_picture_shows_what_it_says_and_answers(home: Path, tmp_path: Path, lang: str, words: str) -> None:
    receipt = tmp_path / "receipt.png"
    slip = make_receipt(random.Random(1), lang)
    receipt.write_bytes(encoded(draw(slip, SANS_SC)))
    done = run("ask", "--image", receipt, words, "--json")
    assert done.returncode == 0, done.stderr
    (order,) = slip.fields["order_number"]
    assert f"order number: {order}" in done.stderr
    said = json.loads(done.stdout)
    assert said["citations"][0]["article"] == "returns-window"
    assert {"kind": "order_number", "value": order} in [
        {key: one[key] for key in ("kind", "value")} for one in said["read"]["entities"]
    ]
    assert said["read"]["lines"][0]["box"]["page"] == 1
    with Journal(home / "journal.sqlite") as opened:
        (turn,) = opened.search(order, limit=5)
    assert turn.question.startswith(words), "stored as the customer's words, what was read behind them"


def test_ask_about_a_file_that_is_no_picture_says_so_before_anything_is_asked(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name, code, said in (
        ("empty.png", ExitCode.BAD_INPUT, "the file is empty"),
        ("half.png", ExitCode.BAD_INPUT, "half.png: the PNG is cut short or damaged"),
        ("none.png", ExitCode.MISSING, "no such file"),
    ):
        done = run("ask", "--image", tmp_path / name, EN)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    two = run("ask", "--image", tmp_path / "empty.png", "--image", tmp_path / "half.png", EN)
    assert two.returncode == ExitCode.USAGE
    assert "one picture goes with a question" in two.stderr


def test_ask_prints_what_stands_in_the_end_not_the_draft_that_gave_way(
    make_home: Callable[..., Path], scripted_gguf: Path
) -> None:
    make_home(scripted_gguf, "checking", min_agreement=0.5)
    done = run("ask", "What does standard delivery of a parcel cost?")
    assert done.returncode == 0, done.stderr
    assert "Standard delivery costs €4.90" in done.stdout
    assert ANSWER not in done.stdout


def test_ask_in_chinese_prints_chinese(home: Path) -> None:
    done = run("ask", "大多数商品多长时间内可以退货？", "--json")
    assert "大多数商品可在送达或自提后30天内退货。" in done.stdout
    assert json.loads(done.stdout)["citations"][0]["section"] == "how-long"


def test_what_is_wrong_is_one_line_a_hint_and_an_exit_code(home: Path, tmp_path: Path) -> None:
    cases = (
        (("ask", EN, "--home", tmp_path / "empty"), ExitCode.MISSING, "edgedesk install BUNDLE"),
        (("ask", ""), ExitCode.BAD_INPUT, "question"),
        (("ask", "长" * 4001), ExitCode.BAD_INPUT, "4,001 characters"),
        (("ask", EN, "--threads", "0"), ExitCode.USAGE, "threads"),
        (("serve", "--home", tmp_path / "empty"), ExitCode.MISSING, "edgedesk install BUNDLE"),
        (("install", tmp_path / "nothing"), ExitCode.MISSING, "no such bundle folder"),
        (("rollback",), ExitCode.MISSING, "no earlier generation"),
    )
    for words, code, text in cases:
        done = run(*words)
        assert done.returncode == code, (words, done.stderr)
        assert text in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "empty" / "journal.sqlite").exists()


def test_ask_does_not_wait_for_another_process_that_owns_the_home(home: Path) -> None:
    with lock_home(home, "test"):
        done = run("ask", EN)
    assert done.returncode == ExitCode.BUSY
    assert f"edgedesk test (process {os.getpid()})" in done.stderr


def test_install_generations_and_rollback(home: Path, make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    second = make_bundle("second", version="2")
    assert run("install", second).stdout == "shop 2 is generation 2\n"
    assert json.loads(run("generations", "--json").stdout) == {
        "generations": [
            {"generation": 1, "bundle": "shop", "version": "1", "current": False},
            {"generation": 2, "bundle": "shop", "version": "2", "current": True},
        ]
    }
    assert json.loads(run("rollback", "--json").stdout) == {"generation": 1, "bundle": "shop", "version": "1"}
    assert run("generations").stdout == "* 1  shop 1\n  2  shop 2\n"
    (second / "policy.toml").write_text("changed")
    broken = run("install", second, "--home", tmp_path / "other")
    assert broken.returncode == ExitCode.INTEGRITY
    assert "policy.toml" in broken.stderr


def test_doctor_finds_a_whole_branch_well_and_names_what_is_wrong(home: Path) -> None:
    well = json.loads(run("doctor", "--json").stdout)
    assert [one["name"] for one in well["checks"]] == [
        "system", "python", "processor", "disk", "memory", "owner", "settings", "threads",
        "bundle", "clock", "index", "articles", "server", "service", "model", "pictures", "speech", "microphone",
    ]  # fmt: skip
    assert well["ok"], well
    (home / "current" / "policy.toml").write_text("changed")
    ill = run("doctor")
    assert ill.returncode == ExitCode.FAILED
    assert "FAIL bundle:" in ill.stdout
    assert "policy.toml" in ill.stdout
    assert "ok   model:" in ill.stdout


def test_the_home_is_flag_then_environment_then_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEDESK_HOME", str(tmp_path / "from environment"))
    assert find_home(tmp_path / "flag") == tmp_path / "flag"
    assert find_home() == tmp_path / "from environment"
    monkeypatch.delenv("EDGEDESK_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert find_home() == tmp_path / "edgedesk"


def test_available_memory_is_read_from_the_kernels_table() -> None:
    assert available_memory("MemTotal: 8 kB\nMemAvailable:    2048 kB\n") == 2048 * 1024


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    program = (
        "import sys; import runtime.cli.main\n"
        "heavy = {'llama_cpp', 'chromadb', 'fastapi', 'onnxruntime', 'numpy', 'torch', 'textual', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_ask_waits_for_a_server_that_is_starting(home: Path) -> None:
    with start_server(home):  # as the console starts it: nothing waits until it is ready
        done = run("ask", EN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(ANSWER)


AS_ANOTHER_USER = """
import contextlib, io, json, os, sys
from importlib import import_module
from pathlib import Path
from edgedesk import COMMANDS, main
import runtime
# Whatever a command needs is loaded first: the interpreter may not be another user's to read.
for entry in COMMANDS.values():
    if entry.module.startswith(("runtime", "tui")):
        import_module(entry.module)
folder = Path(runtime.__file__).parent
for path in folder.rglob("*.py"):
    name = ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
    if "release_documents" not in name and "settings_page" not in name:
        import_module(name)
import chromadb, httpx, tokenizers, onnxruntime, uvicorn, fastapi, rich, typer.rich_utils
os.setgid(65534); os.setuid(65534)
for words in json.loads(sys.argv[1]):
    sys.argv = ["edgedesk", *words]
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, said.getvalue()]))
"""
OF_A_BRANCH = (
    ("ask", EN), ("ask", ZH), ("journal", "search", "退货"), ("journal", "backup", "/tmp/never.sqlite"),
    ("journal", "prune"), ("feedback", "preview"), ("feedback", "export", "/tmp/never.jsonl"), ("feedback", "send"),
    ("generations",), ("rollback",), ("serve",), ("agents", "list"), ("agents", "add", "ann"),
    ("knowledge", "compile"), ("knowledge", "check"), ("update", "/tmp"), ("experiment", "status"),
)  # fmt: skip


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_users_branch_is_named_as_such_whatever_is_asked_of_it(home: Path) -> None:
    """The service runs as one user, and somebody types as another."""
    command = [sys.executable, "-c", AS_ANOTHER_USER, json.dumps(OF_A_BRANCH)]
    env = {**os.environ, "EDGEDESK_HOME": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    for words, line in zip(OF_A_BRANCH, done.stdout.splitlines(), strict=True):
        code, said = json.loads(line)
        assert code == ExitCode.USAGE, (words, said)
        assert "may not be opened by this user" in said, (words, said)


def test_home_is_its_owners_only_and_doctor_says_where_it_is_not(home: Path) -> None:
    """S13."""
    assert home.stat().st_mode & 0o777 == 0o700
    home.chmod(0o755)
    run("ask", EN)
    assert home.stat().st_mode & 0o777 == 0o700
    home.chmod(0o755)
    ill = run("doctor")
    assert ill.returncode == ExitCode.FAILED
    assert f"{home}: other users may read it (mode 755)" in ill.stdout
    assert f"chmod go= {home}" in ill.stdout


BY_NAME = """
import os, sys
from edgedesk import COMMANDS, main
from importlib import import_module
# What the commands need is loaded first: the interpreter may not be another user's to read.
for name in ("cli.main", "cli.doctor", "base.home", "bundle.generations"):
    import_module("runtime." + name)
os.setegid(65534)
os.seteuid(65534)
sys.argv = ["edgedesk", *sys.argv[1:]]
main()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("words", "below"), [(("generations",), ""), (("generations",), "branch/里斯本"), (("doctor",), "")]
)
def test_closed_home_of_another_user_is_a_sentence_that_names_its_owner(words: tuple[str, ...], below: str) -> None:
    """A folder of mode 700: what it holds, and whether it holds anything, cannot be seen."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        closed = Path(folder) / "closed"
        closed.mkdir(mode=0o700)
        command = [sys.executable, "-c", BY_NAME, *words, "--home", str(closed / below)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=ROOT)
    assert done.returncode == ExitCode.USAGE
    assert f"{closed}: the folder belongs to root and may not be opened by this user" in done.stderr
    assert "sudo -u root edgedesk" in done.stderr
    assert "Usage" not in done.stderr
    assert "Traceback" not in done.stderr


def test_rollback_of_a_damaged_generation_offers_another(home: Path, make_bundle: Callable[..., Path]) -> None:
    for version in ("2", "3"):
        assert run("install", make_bundle(f"bundle {version}", version=version)).returncode == 0
    (home / "generations/2/policy.toml").unlink()
    (home / "generations/2/policy.toml").write_text("changed")
    ill = run("rollback")
    assert ill.returncode == ExitCode.INTEGRITY
    assert "generation 2 is damaged" in ill.stderr
    assert "policy.toml" in ill.stderr
    assert "rollback --to 1" in ill.stderr
    assert run("rollback", "--to", 1).stdout == "generation 1 is current again: shop 1\n"
