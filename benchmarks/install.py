"""Claim: a whole installation of the demo from a folder takes at most 3 minutes on two cores, without a network.

`install.sh` runs as a branch runs it: an environment from wheels, the bundle verified, copied, switched and indexed,
threads measured, the articles compiled, the self-test. Each run begins with an empty prefix and home. There is no peer.
`cpu_s` is the processor time of an installation, which other programs do not lengthen. `copy_s` is what merely copying
the same files takes. `predicted_s` and `first_s` compare the doctor's prediction of the first word with questions that
are then asked through a server. Needs `./build.sh app` and the demo's bundle.

    python benchmarks/install.py [--release FOLDER | --bundle FOLDER] [--rounds 3] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from _harness import Bar, Run, begin, main, spread

from runtime.base.progress import say
from runtime.errors import EdgedeskError

BARS = {"whole_s": Bar(most=180.0)}
ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "dist" / "app"
BUNDLE = ROOT / "work" / "northlight-en" / "bundle"
STEPS = {1: "program", 3: "bundle", 4: "compile", 5: "self_test"}
QUESTIONS = (
    "How long do I have to return something I bought?",
    "What does standard delivery cost?",
    "Can I pick an order up in a branch?",
    "How do I change the address of an order?",
)


def options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark alone."""
    parser.add_argument("--release", type=Path, help="a release's folder; default: one made of --bundle and --app")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="a bundle's folder (default: the demo's)")
    parser.add_argument("--app", type=Path, default=APP, help="what ./build.sh app made")
    parser.add_argument("--python", default="", help="the Python of the branch; default: what install.sh finds")


def make_release(app: Path, bundle: Path, folder: Path) -> Path:
    """A release of links, as a stick would hold it."""
    release = folder / "release"
    release.mkdir()
    shutil.copyfile(app / "install.sh", release / "install.sh")
    (release / "app").symlink_to(app.absolute())
    (release / "bundle").symlink_to(bundle.absolute())
    return release


def install(release: Path, folder: Path, *more: str) -> dict[str, float]:
    """One installation into empty folders: seconds of each step, and of the whole."""
    words = ["--prefix", folder / "prefix", "--home", folder / "home", "--bin", folder / "bin", "--no-service", *more]
    words += ["--run-as", "root"] if os.geteuid() == 0 else []
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    marks: list[tuple[int, float]] = []
    command = ["sh", str(release / "install.sh"), *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.match(r"\[(\d)/\d\]", line):
                marks.append((int(found[1]), time.monotonic() - began))
    whole = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise EdgedeskError(f"install.sh ended with {process.returncode}", hint=" / ".join(lines[-4:]))
    ends = [at for _, at in marks[1:]] + [whole]
    steps = {STEPS[number]: end - at for (number, at), end in zip(marks, ends, strict=True) if number in STEPS}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"whole": whole, "cpu": cpu, **steps}


def copy_seconds(release: Path, folder: Path) -> float:
    """What copying the program's wheels and the bundle takes, with nothing looked at."""
    began = time.monotonic()
    for name in ("app", "bundle"):
        if (release / name).exists():
            shutil.copytree(release / name, folder / "copy" / name)
    os.sync()
    seconds = time.monotonic() - began
    shutil.rmtree(folder / "copy", ignore_errors=True)
    return seconds


def first_words(folder: Path) -> tuple[float, list[float]]:
    """The doctor's prediction with compiled articles, and what questions through a server took."""
    program = str(folder / "bin" / "edgedesk")
    env = {**os.environ, "EDGEDESK_HOME": str(folder / "home")}

    def run(*words: str) -> str:
        return subprocess.run([program, *words], capture_output=True, text=True, check=True, env=env).stdout

    checks = {one["name"]: one for one in json.loads(run("doctor", "--json"))["checks"]}
    predicted = float(checks["model"]["figures"]["compiled_s"])
    with subprocess.Popen([program, "serve"], env=env, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                if line.startswith("ready"):
                    break
            run("ask", QUESTIONS[0], "--json")  # reads the system text, which is then kept
            took = [float(json.loads(run("ask", question, "--json"))["ttft_s"]) for question in QUESTIONS]
        finally:
            server.terminate()
            server.wait(60)
    return predicted, took


def measure(run: Run) -> None:
    """Install again and again, and print a row for each step."""
    given = run.options
    for what, path in (("./build.sh app", given.app), ("the demo's bundle: ./build.sh demo", given.bundle)):
        if given.release is None and not path.is_dir():
            run.absent.append(f"{path} ({what})")
    if run.absent:
        return
    rounds = given.rounds or (1 if given.quick else 3)
    more = ["--python", given.python] if given.python else []
    results: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="edgedesk-install-") as scratch:
        release = given.release.absolute() if given.release else make_release(given.app, given.bundle, Path(scratch))
        copies = []
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            copies.append(copy_seconds(release, Path(scratch)))
            folder = Path(scratch) / f"branch-{number}"
            for name, seconds in install(release, folder, *more).items():
                results.setdefault(name, []).append(seconds)
            if number < rounds - 1:
                shutil.rmtree(folder)
        predicted, took = first_words(folder)
    for name, seconds_of in results.items():
        run.row(name, spread(seconds_of, " s"))
        run.figures[f"{name}_s"] = statistics.median(seconds_of)
    run.row("copying alone", spread(copies, " s"))
    run.row("first word, predicted", f"{predicted:.2f} s")
    run.row("first word, through a server", spread(took, " s"))
    run.figures |= {
        "copy_s": statistics.median(copies),
        "predicted_s": predicted,
        "first_s": statistics.median(took),
    }


if __name__ == "__main__":
    raise SystemExit(main(begin("install", __doc__, BARS, options), measure))
