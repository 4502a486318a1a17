"""Claim: of 60 receipts and labels 3% of characters are read wrong, 8% when photographed, in 3 s a page and 600 MB.

Half English, half Chinese, two in three receipts, each drawn twice: clean, and as a phone at a counter sees it
(`benchmarks/_receipt_pictures.py`: leaning, askew, blurred, noisy, lit from one side, JPEG). Character errors are
Levenshtein's distance over the text's length, all pages together, runs of white space as one. A field counts as right
when exactly its value is offered as that kind: order number, model codes, serial number, date, total. Seconds and
memory are of whole readings, each in its process, its start included, on photographs enlarged to 12 megapixels. With
`--home` of an installed demo the example shop's questions are searched for alone, with a whole receipt behind them, and
with the lines of it that `asking_lines` takes along.

    python benchmarks/receipts.py
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import tempfile
import threading
import time
from pathlib import Path

from _harness import SHOP, Bar, begin
from _receipt_pictures import (
    HAN_FONTS,
    LATIN_FONTS,
    ORDER_NUMBER,
    Slip,
    degrade,
    draw,
    encoded,
    make_label,
    make_receipt,
)
from PIL import Image

from runtime.base.progress import say
from runtime.bundle.generations import current_bundle
from runtime.feedback.edit_distance import levenshtein
from runtime.perception.attachment import attach
from runtime.perception.attachment_text import AttachmentText, TextLine, asking_lines, with_question
from runtime.perception.entities import offer_entities
from runtime.perception.picture_child import PageReader
from runtime.perception.picture_reader import assemble, read_picture
from runtime.retrieval.retriever import Retriever
from runtime.text.normalize import nfkc
from runtime.text.personal_data import PersonalRules

BARS = {
    "pictures": Bar(least=60),
    "character errors, clean": Bar(most=0.03),
    "character errors, photographed": Bar(most=0.08),
    "fields right, clean": Bar(least=0.95),
    "fields right, photographed": Bar(least=0.85),
    "seconds a page": Bar(most=3.0),
    "memory MB": Bar(most=600),
}
RULES = PersonalRules(order_number=(ORDER_NUMBER,))


def normal(text: str) -> str:
    """One spelling for what means the same: full-width forms, runs of white space."""
    return re.sub(r"\s+", " ", nfkc(text)).strip()


def errors(read: AttachmentText, slip: Slip) -> tuple[float, int]:
    """(wrong characters, characters) of a page."""
    wanted, got = normal(slip.text), normal(read.text)
    return levenshtein(wanted, got), len(wanted)


def right_fields(read: AttachmentText, slip: Slip) -> tuple[int, int]:
    """(fields right, fields) of a page."""
    offered = {(one.kind, normal(one.value)) for one in read.entities}
    wanted = [(kind, normal(value)) for kind, values in slip.fields.items() for value in values]
    return sum(one in offered for one in wanted), len(wanted)


def slips(count: int, rng: random.Random) -> list[tuple[Slip, Path]]:
    """So many slips with their fonts."""
    out = []
    for number in range(count):
        lang = ("en", "zh")[number % 2]
        make = make_label if number % 3 == 2 else make_receipt
        out.append((make(rng, lang), rng.choice(LATIN_FONTS if lang == "en" else HAN_FONTS)))
    return out


def peak_mb(attempt: bytes, threads: int) -> tuple[float, float]:
    """(seconds, resident MB at most) of one reading in its process."""
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/status"):
                try:
                    status = path.read_text()
                    command = (path.parent / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"runtime.perception.picture_child" in command and (found := re.search(r"VmHWM:\s+(\d+)", status)):
                    peak = max(peak, int(found[1]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    try:
        read_picture(attach(attempt, "page"), RULES, threads=threads)
        return time.monotonic() - began, peak / 1024
    finally:
        done.set()
        watcher.join()


def search_with_receipts(home: Path, count: int, rng: random.Random) -> dict[str, float]:
    """The share of the shop's questions whose section is among the five best, by what goes into the search."""
    found: dict[str, list[bool]] = {"alone": [], "whole receipt": [], "asking lines": []}
    with tempfile.TemporaryDirectory() as folder, Retriever.open(current_bundle(home), Path(folder)) as retriever:
        for lang in ("en", "zh"):
            files = sorted((SHOP / lang).glob("questions-*.jsonl"))
            rows = [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
            for row in rng.sample([one for one in rows if one.get("evidence")], count):
                slip = make_receipt(rng, lang)
                lines = tuple(TextLine(text=text) for text in slip.text.splitlines())
                offered = tuple(offer_entities([line.text for line in lines], RULES))
                read = AttachmentText(kind="picture", lines=lines, entities=offered)
                for name, query in (
                    ("alone", row["question"]),
                    ("whole receipt", with_question(row["question"], read)),
                    ("asking lines", asking_lines(row["question"], read)),
                ):
                    hits = retriever.search(str(query), lang=lang, limit=5)
                    found[name].append(any(hit.section.ref in row["evidence"] for hit in hits))
    return {name: sum(each) / len(each) for name, each in found.items()}


def main() -> int:
    """Run it."""

    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--each", type=int, default=64, help="slips; each is drawn clean and photographed")
        parser.add_argument("--home", type=Path, help="an installed demo, to search in")
        parser.add_argument("--show", action="store_true", help="print what was read wrong")

    run = begin("receipts", __doc__, BARS, more)
    if run.options.quick:
        run.bars = {name: bar for name, bar in BARS.items() if name != "pictures"}
    rng = random.Random(20)  # noqa: S311  # repeatable, not secret
    made = slips(8 if run.options.quick else run.options.each, rng)
    reader = PageReader(run.options.threads)
    tally: dict[str, list[float]] = {}
    for number, (slip, font) in enumerate(made):
        page = draw(slip, font)
        for look, picture in (("clean", page), ("photographed", degrade(page, rng))):
            read = assemble([reader.read(picture.convert("RGB"))], RULES)
            found = (*errors(read, slip), *right_fields(read, slip))
            for key in (look, f"{look} {slip.lang}"):
                tally[key] = [a + b for a, b in zip(tally.get(key, [0.0] * 4), found, strict=True)]
            if run.options.show and (found[0] or found[2] < found[3]):
                say(f"--- {number} {look} {font.stem}\n{slip.text}\n>>>\n{read.text}\n{read.entities}")
        say(f"{number + 1} of {len(made)}")
    run.row("", "character errors", "fields right")
    for key, (wrong, letters, right, fields) in sorted(tally.items()):
        run.row(key, f"{wrong / letters:.2%} of {letters:,.0f}", f"{right / fields:.1%} of {fields:.0f}")
    timed = [
        peak_mb(
            encoded(
                degrade(draw(slip, font), rng).convert("RGB").resize((3000, 4000), Image.Resampling.BICUBIC), "JPEG"
            ),
            run.options.threads,
        )
        for slip, font in made[: 2 if run.options.quick else 6]
    ]
    figures = {look: tally[look] for look in ("clean", "photographed")}
    run.figures = {
        "pictures": len(made),
        **{f"character errors, {look}": one[0] / one[1] for look, one in figures.items()},
        **{f"fields right, {look}": one[2] / one[3] for look, one in figures.items()},
        "seconds a page": statistics.median(seconds for seconds, _ in timed),
        "memory MB": max(peak for _, peak in timed),
    }
    if run.options.home:
        shares = search_with_receipts(run.options.home, 20 if run.options.quick else 60, rng)
        run.figures |= {f"sections found, {name}": share for name, share in shares.items()}
    run.details = {"fonts": sorted({font.stem for _, font in made})}
    say(f"fonts: {', '.join(run.details['fonts'])}")
    return run.end()


if __name__ == "__main__":
    raise SystemExit(main())
