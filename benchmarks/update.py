"""Claim: an update of articles is small and quick, and checking a release costs little more than hashing it.

  moved         three changed articles of 1,000 move at most 1 % of the bundle's bytes, metadata included
  first answer  from `edgedesk update` with one changed article to the first answer from it: at most 15 s, at the first
                update, whose trial asks every golden question, and at the next, whose trial asks what has changed
  verification  every file of an installed bundle checked at no less than 0.8 times the speed of `sha256sum`

Needs a built bundle (`./build.sh demo`, or --bundle FOLDER); without one nothing holds. Everything is real: keys, a
signed release, an installed branch, the commands in processes of their own, the trial included. For `moved` articles of
the bundle are copied under other names until there are 1,000; what is copied is counted, nothing is embedded.
`sha256sum` (coreutils) and our check read the same files in turns, from the page cache.

    python benchmarks/update.py [--bundle FOLDER] [--quick] [--json]

Some two minutes. `--quick` takes two updates and one check instead of four and three. `--part` measures one alone.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from _harness import Bar, Run, begin, main, median, spread

from runtime.base.manifest import read_manifest, verify
from runtime.base.progress import say
from runtime.bundle.gate_record import write_gate_record
from runtime.bundle.generations import current_bundle
from runtime.bundle.keys import KeyFolder, make_keys
from runtime.bundle.publish import publish
from runtime.bundle.release_parts import articles_part, model_part
from runtime.bundle.releases import install_release
from runtime.bundle.sources import FolderSource
from runtime.bundle.updater import update
from runtime.errors import MissingError

ROOT = Path(__file__).parents[1]
BARS = {
    "moved_percent": Bar(most=1),
    "first_answer_s": Bar(most=15),
    "first_answer_next_s": Bar(most=15),
    "verification_vs_sha256sum": Bar(least=0.8),
}
PARTS = ("moved", "answers", "verification")
ARTICLES = 1000
QUESTION = "How many days does a parcel to the Moon take?"


class Counting:
    """A release folder that counts the bytes that are read of it."""

    def __init__(self, folder: Path) -> None:
        self._inner = FolderSource(folder)
        self.count = 0

    @property
    def where(self) -> str:
        """The folder."""
        return self._inner.where

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """As `FolderSource.read`."""
        for chunk in self._inner.read(name, start):
            self.count += len(chunk)
            yield chunk


def now() -> datetime:
    """For signatures."""
    return datetime.now(UTC)


def copy_bundle(bundle: Path, to: Path) -> Path:
    """The bundle with a gate's record of its own, for a build that has none yet."""
    shutil.copytree(bundle, to)
    write_gate_record(to, bounds={}, figures={})
    return to


def moved(bundle: Path, keys: KeyFolder, folder: Path) -> float:
    """Percent of the bundle's bytes that three changed articles of a thousand move."""
    articles = shutil.copytree(bundle / "articles", folder / "articles")
    originals = sorted(articles.rglob("*.md"))
    number = len(originals)
    while number < ARTICLES:
        path = originals[number % len(originals)]
        copy = path.with_name(f"{path.stem}-{number}.md")
        text = re.sub(r"(?m)^id: .*$", f"id: {path.stem}-{number}", path.read_text(encoding="utf-8"), count=1)
        copy.write_text(text, encoding="utf-8")
        number += 1
    release, home = folder / "release", folder / "home"
    publish(release, keys, {"model": model_part(bundle, {}), "articles": articles_part(articles)}, now())
    install_release(FolderSource(release), home)
    for path in sorted(articles.rglob("*.md"))[100:400:100]:
        path.write_text(path.read_text(encoding="utf-8") + "\nThis has changed.\n", encoding="utf-8")
    publish(release, keys, {"articles": articles_part(articles)}, now())
    source = Counting(release)
    update(source, home, lambda _: "")
    whole = sum(entry.bytes for entry in read_manifest(current_bundle(home).root).files)
    say(f"three of {number:,} articles: {source.count:,} of {whole:,} bytes")
    return 100 * source.count / whole


def edgedesk(home: Path, *words: str) -> str:
    """A command in a process of its own."""
    command = [sys.executable, str(ROOT / "edgedesk.py"), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "EDGEDESK_HOME": str(home)}
    )
    return done.stdout


def processor_s() -> float:
    """Processor seconds of all commands so far, and of what they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first_answers(run: Run, bundle: Path, keys: KeyFolder, folder: Path, rounds: int) -> list[float]:
    """Seconds from the start of `edgedesk update` to an answer that cites the changed article, update by update."""
    articles = shutil.copytree(bundle / "articles", folder / "articles")
    release, home = folder / "release", folder / "home"
    publish(release, keys, {"model": model_part(bundle, {}), "articles": articles_part(articles)}, now())
    edgedesk(home, "install", str(release))
    path = next(iter(sorted((articles / "en").glob("*.md"))))
    before = path.read_text(encoding="utf-8")
    took = []
    for number in range(rounds):
        mark = f"A parcel to the Moon takes {number + 19} days."
        path.write_text(f"{before}\n\n## Parcels to the Moon {{#moon}}\n\n{mark}\n", encoding="utf-8")
        publish(release, keys, {"articles": articles_part(articles)}, now())
        began, computed = time.monotonic(), processor_s()
        edgedesk(home, "update", str(release))
        updated, computed_then = time.monotonic(), processor_s()
        answer = json.loads(edgedesk(home, "ask", QUESTION, "--json"))
        took.append(time.monotonic() - began)
        if not any(mark in one["text"] for one in answer["citations"]):
            raise MissingError(
                "the answer does not rest on the changed article", where=str(path), hint=str(answer)[:300]
            )
        run.row(
            f"update {number + 1}: update, answer, s",
            f"{updated - began:.1f}, {took[-1] - (updated - began):.1f}",
            f"processor {computed_then - computed:.1f}, {processor_s() - computed_then:.1f}",
        )
    return took


def verification(bundle: Path, rounds: int) -> list[float]:
    """How many times as fast as `sha256sum` our check of the same files is, round by round."""
    manifest = read_manifest(bundle)
    names = [str(bundle / entry.path) for entry in manifest.files]
    ratios = []
    for number in range(rounds + 1):
        began = time.monotonic()
        subprocess.run(["sha256sum", *names], check=True, stdout=subprocess.DEVNULL)
        theirs, began = time.monotonic() - began, time.monotonic()
        verify(bundle, manifest)
        ours = time.monotonic() - began
        if number:  # the first round fills the page cache
            ratios.append(theirs / ours)
            say(f"sha256sum {theirs:.2f} s, verified in {ours:.2f} s")
    return ratios


def work(run: Run) -> None:
    """Everything."""
    bundle: Path = run.options.bundle
    if not (bundle / "manifest.json").is_file():
        run.absent.append(f"{bundle}: no built bundle (./build.sh demo, or --bundle FOLDER)")
        return
    rounds = run.options.rounds or (1 if run.options.quick else 3)
    parts = PARTS if run.options.part is None else (run.options.part,)
    run.row("", "median (least to most)")
    with tempfile.TemporaryDirectory(prefix="edgedesk-update-") as name:
        folder = Path(name)
        keys = make_keys(folder / "keys", now())
        built = copy_bundle(bundle, folder / "build" / "bundle")
        for part in parts:
            (folder / part).mkdir()
        if "moved" in parts:
            run.figures["moved_percent"] = round(moved(built, keys, folder / "moved"), 3)
            shutil.rmtree(folder / "moved")
        if "answers" in parts:
            first, *later = first_answers(run, built, keys, folder / "answers", rounds + 1)
            run.figures["first_answer_s"] = round(first, 1)
            run.figures["first_answer_next_s"] = round(median(later), 1)
            run.row("next updates and first answers", spread(later, " s"))
        if "verification" in parts:
            ratios = verification(built, rounds)
            run.figures["verification_vs_sha256sum"] = round(median(ratios), 2)
            run.row("verification / sha256sum", spread(ratios))


def options(parser: ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--bundle", type=Path, default=ROOT / "work" / "demo" / "bundle", help="a built bundle")
    parser.add_argument("--part", choices=PARTS, help="measure this alone; the others' bars are missed then")


if __name__ == "__main__":
    sys.exit(main(begin("update", __doc__, BARS, options), work))
