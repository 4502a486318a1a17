"""Programs that are started from a folder in which somebody else has put modules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.paths import ROOT

STARTS_ALL = """
import os, sys
from pathlib import Path
home = Path(sys.argv[1])
os.environ["PYTHONPATH"] += os.pathsep + os.pathsep + "."  # as a careless profile has it
from runtime.client.server_process import ensure_server
from runtime.events import Done
with ensure_server(home) as client:  # the server, and the engine's process under it
    assert isinstance(list(client.ask("How long can I return an item after delivery?"))[-1], Done)
from runtime.bundle.generations import current_bundle
from runtime.engine.tools.thread_benchmark import measure_threads
measure_threads(home, current_bundle(home).model_path)
import subprocess
from runtime.base.child_process import child_environment, module_command
# As a launcher does: it starts Python by itself, without -P.
subprocess.run([sys.executable, "-m", "distill.pipeline.launch"], env=child_environment(), stderr=subprocess.DEVNULL)
subprocess.run(module_command("quantize.formats.gguf_vocab"), env=child_environment(), stderr=subprocess.DEVNULL)
subprocess.run(module_command("tui.cli.main", "--help"), env=child_environment(), stdout=subprocess.DEVNULL)
print("done")
"""


def test_child_runs_no_module_of_the_folder_it_is_started_in(
    make_home: Callable[..., Path], scripted_gguf: Path, tmp_path: Path
) -> None:
    """Server, engine, thread benchmark, launcher's processes and quantizer, beside hostile modules."""
    home, evil = make_home(scripted_gguf), tmp_path / "evil"
    for name in ("typer", "numpy", "json", "runtime/__init__", "distill/__init__", "sitecustomize", "uvicorn"):
        (evil / name).parent.mkdir(parents=True, exist_ok=True)
        (evil / f"{name}.py").write_text(f"open({str(evil / 'RAN')!r}, 'a').write(__file__)")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-c", STARTS_ALL, str(home)]
    done = subprocess.run(command, cwd=evil, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert not (evil / "RAN").exists(), (evil / "RAN").read_text()


def test_relative_entries_of_the_search_path_are_not_handed_on(tmp_path: Path) -> None:
    program = "from runtime.base.child_process import child_environment; print(child_environment()['PYTHONPATH'])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), "", ".", "x/y", str(tmp_path)])}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.strip().split(os.pathsep) == [str(ROOT), str(tmp_path)]


def test_every_child_of_the_product_is_started_without_the_current_folder_on_its_path() -> None:
    """Python is started by `module_command`, or with -P beside it."""
    for package in ("runtime", "distill", "quantize", "tui"):
        for path in (ROOT / package).rglob("*.py"):
            for line in path.read_text(encoding="utf-8").splitlines():
                if re.search(r"\[sys\.executable", line):
                    assert '"-P"' in line, (path, line)
