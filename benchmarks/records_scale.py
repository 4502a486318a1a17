"""Claim: a million rows become records on two cores within 4 GB, no slower than the same steps under `datasets.map`.

Rows are messages of customers and agents in two languages, written of the example shop's sentences, with a personal
value in one of five. The project's way is `edgedesk data prepare` whole: reading, redaction, records, exact and near
duplicates, splits, leaks, card. The peer is `datasets`: the same file by `load_dataset("csv")`, grouped, the same
row-wise function by `map` in as many processes, written by `to_json`; nothing over the whole. Each in a process of its
own, in turns; memory is that of the process with its children.

    python benchmarks/records_scale.py [--rows 1000000]
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path

from _harness import SHOP, Bar, begin, in_turns, median

from runtime.base.memory_watch import watch_memory
from runtime.text.articles import load_articles
from runtime.text.sentences import sentences

BARS = {"megabytes at most": Bar(most=4096), "rows a second, of the peer's": Bar(least=1.0)}
MESSAGES = 4
"""Of a conversation."""
_PERSONAL = {
    "en": ("I am Anna Keller, anna.keller{}@example.com.", "Call me on +44 20 7946 {:04d}.", "Order NL-{:07d}."),
    "zh": ("我叫王小明，邮箱wang{}@example.cn。", "我的手机是138{:08d}。", "订单NL-{:07d}。"),
}


def write_rows(path: Path, rows: int, seed: int = 7) -> None:
    """A CSV of `rows` messages, four a conversation, no two conversations alike but by chance."""
    rng = random.Random(seed)  # noqa: S311 - texts to count, no secrets
    texts = {
        lang: [
            text
            for article in load_articles(SHOP / lang / "articles")
            for section in article.sections
            for text in sentences(section.text)
            if 20 < len(text) < 200
        ]
        for lang in ("en", "zh")
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("conversation", "role", "content"))
        for number in range(rows // MESSAGES):
            lang = ("en", "zh")[number % 2]
            for turn in range(MESSAGES):
                said = rng.sample(texts[lang], 2)
                if rng.random() < 0.2:
                    said.insert(1, rng.choice(_PERSONAL[lang]).format(rng.randrange(10000)))
                writer.writerow((f"c{number}", ("user", "assistant")[turn % 2], " ".join(said)))


def measured(command: Sequence[str], rows: int) -> tuple[float, int]:
    """(rows a second, peak MB) of a command in a process of its own."""
    with watch_memory() as own:
        pass
    started = time.perf_counter()
    with watch_memory() as peak:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    return rows / (time.perf_counter() - started), peak.megabytes - own.megabytes


def peer(path: Path, out: Path) -> None:
    """The same row-wise steps under plain `datasets`."""
    import datasets

    from distill.data.cleaning.conversations import conversation_steps
    from distill.data.conversation import RawConversation
    from distill.data.prepare import Preparation, RowWork

    datasets.disable_progress_bars()
    rows = datasets.load_dataset("csv", data_files=str(path), split="train", cache_dir=str(out / "cache"))

    def conversations() -> Iterator[dict[str, str]]:
        turns: list[dict[str, str]] = []
        name = ""
        for row in rows:
            if row["conversation"] != name and turns:
                yield {"row": _conversation(name, turns)}
                turns = []
            name = row["conversation"]
            turns.append({"role": row["role"], "content": row["content"]})
        yield {"row": _conversation(name, turns)}

    def _conversation(name: str, turns: Sequence[dict[str, str]]) -> str:
        lang = "zh" if any("一" <= char <= "鿿" for char in turns[0]["content"]) else "en"
        return RawConversation.model_validate(
            {"conversation": name, "lang": lang, "turns": turns, "where": f"{path}:{name}"}
        ).model_dump_json(exclude_defaults=True)

    work = RowWork(Preparation(7, conversation_steps=conversation_steps()))

    def batch(columns: dict[str, list[str]]) -> dict[str, list[str]]:
        outcomes = work(columns["row"])
        return {"kind": [one.kind for one in outcomes], "value": [one.value for one in outcomes]}

    grouped = datasets.Dataset.from_generator(conversations, cache_dir=str(out / "cache"))
    done = grouped.map(
        batch, batched=True, batch_size=256, remove_columns=["row"], num_proc=len(os.sched_getaffinity(0)),
        new_fingerprint="peer",
    )  # fmt: skip
    done.to_json(out / "records.jsonl")


def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, help="how many messages (default 40,000; the claim is about 1,000,000)")
    parser.add_argument("--run-peer", nargs=2, type=Path, help="used by the benchmark itself")


def main() -> int:
    """Measure, print and judge."""
    run = begin("records_scale", __doc__, BARS, _options)
    if run.options.run_peer:
        peer(*run.options.run_peer)
        return 0
    rows = run.options.rows or (4_000 if run.options.quick else 40_000)
    with tempfile.TemporaryDirectory(prefix="records-scale-") as scratch:
        folder = Path(scratch)
        path = folder / "rows.csv"
        write_rows(path, rows)

        def project(number: int) -> tuple[float, int]:
            out = folder / f"project-{number}"
            command = [sys.executable, "-P", "-m", "edgedesk", "data", "prepare", str(path), "--out", str(out)]
            took = measured(command, rows)
            run.details["report"] = {
                key: json.loads((out / "report.json").read_text())[key] for key in ("read", "kept", "dropped")
            }
            shutil.rmtree(out)
            return took

        def plain(number: int) -> tuple[float, int]:
            out = folder / f"peer-{number}"
            out.mkdir()
            took = measured([sys.executable, __file__, "--run-peer", str(path), str(out)], rows)
            shutil.rmtree(out)
            return took

        found = in_turns(run.options.rounds or 1, {"edgedesk data prepare": project, "datasets.map": plain})
    for name, results in found.items():
        speeds, peaks = zip(*results, strict=True)
        run.row(f"{name}, {rows:,} rows", f"{median(speeds):,.0f} rows a second", f"{max(peaks):,} MB")
    ours, theirs = (median([speed for speed, _ in results]) for results in found.values())
    run.figures["rows"] = float(rows)
    run.figures["rows a second"] = ours
    run.figures["rows a second, of the peer's"] = ours / theirs
    run.figures["megabytes at most"] = float(max(peak for _, peak in found["edgedesk data prepare"]))
    return run.end()


if __name__ == "__main__":
    raise SystemExit(main())
