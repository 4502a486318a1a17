"""Claim: a follow-up, completed by what it refers to, finds its article among five more often than the message alone.

Real customers' messages of two public sets, asked of one corpus: an entry per intent of MultiDoGO (its name and three
messages of the training files), ABCD's guidelines by subflow, and an entry per intent of Banking77 as company.

    multidogo   messages after the one that says what the customer wants, while the talk is about that ("contentonly")
    abcd        a customer's messages after the first, in the published conversations; the scenario names the guideline
    new subject the messages of multidogo with which a customer turns to something else: nothing may be lost there

Compared in the same run: the message alone; the message as the desk searches for it (`rewrite_follow_up` with the
customer's earlier messages); and all of the customer's messages. Those that the desk takes for follow-ups are told
apart. What counts as an answer to the agent was written after a look at both sets, so neither is held out. A set that
is not there counts as not holding.

    python benchmarks/follow_ups.py --embedder FOLDER [--data ../shared/data] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from _retrieval_sets import DATA, abcd, banking77

from runtime.base.home import find_home
from runtime.base.progress import bar
from runtime.bundle.generations import current_bundle
from runtime.errors import EdgedeskError, MissingError
from runtime.retrieval.embedder import Embedder
from runtime.retrieval.retriever import Retriever
from runtime.text.articles import Article, Section
from runtime.understanding.dialogue_context import is_follow_up, rewrite_follow_up

DOMAINS = ("airline", "insurance", "media")
SMALL_TALK = frozenset(
    ("contentonly", "confirmation", "openinggreeting", "rejection", "thankyou", "closinggreeting", "outofdomain")
)
DEPTH = 5
MOST = 300
NEW = "new subject"
WAYS = ("alone", "rewritten", "all messages")


class FollowUp(NamedTuple):
    """A customer's message, the ones before it, and the article that the talk is about."""

    text: str
    before: tuple[str, ...]
    article: str


def multidogo(data: Path) -> tuple[list[Article], list[FollowUp], list[FollowUp]]:
    """Entries by intent, the dev files' messages about each, and those that turn to another."""
    articles, asked, turns = [], [], []
    for domain in DOMAINS:
        said: defaultdict[str, list[str]] = defaultdict(list)
        for row in _rows(data, domain, "train"):
            if row["intent"] not in SMALL_TALK and "<div>" not in row["intent"] and len(row["utterance"].split()) > 3:
                said[row["intent"]].append(" ".join(row["utterance"].split()))
        for intent, texts in said.items():
            name = f"{domain}-{intent}"
            title = f"{domain}: {intent.removesuffix('intent')}"
            articles.append(Article(name, title, "en", (Section(name, "text", title, "", "\n".join(texts[:3]), "en"),)))
        talks: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
        for row in _rows(data, domain, "dev"):
            talks[row["conversationId"]].append(row)
        for rows in talks.values():
            about = ""
            for at, row in enumerate(rows):
                before = tuple(one["utterance"] for one in rows[:at])
                if row["intent"] in said:
                    wanted, about = about, f"{domain}-{row['intent']}"
                    if wanted and wanted != about:
                        turns.append(FollowUp(row["utterance"], before, about))
                elif about and row["intent"] == "contentonly":
                    asked.append(FollowUp(row["utterance"], before, about))
    return articles, asked[:: max(1, len(asked) // MOST)], turns


def _rows(data: Path, domain: str, part: str) -> list[dict[str, str]]:
    path = data / "en_multidogo" / "turn_level" / domain / f"{part}.tsv"
    if not path.is_file():
        raise MissingError("not there", where=str(path), hint="see docs/how-to/public-data.md")
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if (row["utterance"] or "").strip()]


def abcd_talks(data: Path) -> list[FollowUp]:
    """The published conversations: every message of the customer after the first."""
    folder = data / "en_abcd_policy"
    guidelines = json.loads((folder / "guidelines.json").read_text(encoding="utf-8"))
    codes = json.loads((folder / "ontology.json").read_text(encoding="utf-8"))["intents"]["subflows"]
    names = {
        # Both files list a flow's subflows in one order; only their spelling differs.
        (flow.lower().replace("-", "_").replace(" ", "_"), code): re.sub(r"\W+", "-", f"{flow} {name}".lower())
        for flow, what in guidelines.items()
        for code, name in zip(codes[flow.lower().replace("-", "_").replace(" ", "_")], what["subflows"], strict=True)
    }
    talks = {}
    for name in ("abcd_sample.json", "dialogstudio_5_examples.json"):
        for talk in json.loads((folder / name).read_text(encoding="utf-8")):
            if isinstance(talk, dict) and "original" in talk:
                talks[talk["convo_id"]] = talk
    asked = []
    for talk in talks.values():
        scenario = talk["scenario"]
        article = names[scenario["flow"], re.sub(r"_\d+$", "", scenario["subflow"])]
        said = [text for who, text in talk["original"] if who == "customer"]
        asked += [FollowUp(text, tuple(said[:at]), article) for at, text in enumerate(said) if at]
    return asked


def query(way: str, one: FollowUp) -> str:
    """What is searched for."""
    if way == "alone":
        return one.text
    return rewrite_follow_up(one.text, one.before) if way == "rewritten" else "\n".join((*one.before, one.text))


def main() -> int:
    """Run it; 0 when the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", type=Path, help="embedder folder (default: the installed bundle's)")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--quick", action="store_true", help="every fifth message")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    missing = False
    try:
        entries, asked, turns = multidogo(options.data)
        sets = {"multidogo": asked, "abcd": abcd_talks(options.data), NEW: turns}
        articles = [*entries, *abcd(options.data).articles, *banking77(options.data).articles]
    except EdgedeskError as error:
        print(f"not measured: {error} ({error.hint})", file=sys.stderr)
        sets, articles, missing = {}, [], True
    if sets:
        embedder = Embedder(options.embedder or current_bundle(find_home()).embedder_path)
        with tempfile.TemporaryDirectory() as folder, Retriever.build(articles, embedder, Path(folder)) as retriever:
            print(f"{'set':<13}{'messages':<14}{'n':>5}  " + "".join(f"{way:>14}" for way in WAYS) + "   hit@1, hit@5")
            for name, talks in sets.items():
                chosen = talks[:: 5 if options.quick else 1]
                ranks: dict[str, list[int]] = {way: [] for way in WAYS}
                with bar(name, len(chosen), unit="messages") as advance:
                    for one in chosen:
                        for way in WAYS:
                            hits = retriever.search(query(way, one), lang="en", limit=DEPTH)
                            found = [hit.section.article for hit in hits]
                            ranks[way].append(found.index(one.article) + 1 if one.article in found else DEPTH + 1)
                        advance(1)
                taken = [is_follow_up(one.text) for one in chosen]
                for label, rows in (("all", [True] * len(chosen)), ("follow-ups", taken)):
                    count = sum(rows)
                    if not count:
                        continue
                    row = figures[f"{name}, {label}"] = {"n": count}
                    for way in WAYS:
                        kept = [rank for rank, keep in zip(ranks[way], rows, strict=True) if keep]
                        row[f"{way} hit@1"] = round(sum(rank == 1 for rank in kept) / count, 3)
                        row[f"{way} hit@5"] = round(sum(rank <= DEPTH for rank in kept) / count, 3)
                    cells = "".join(f"{row[f'{way} hit@1']:>7.3f}{row[f'{way} hit@5']:>7.3f}" for way in WAYS)
                    print(f"{name:<13}{label:<14}{count:>5}  {cells}", flush=True)
    holds = bool(figures) and not missing and not options.quick
    gains = {name: row["rewritten hit@5"] - row["alone hit@5"] for name, row in figures.items()}
    holds = holds and all(
        gain >= 0 if name == f"{NEW}, all" else gain > 0 or name.startswith(NEW) for name, gain in gains.items()
    )
    if options.json:
        print(json.dumps({"name": "follow_ups", "figures": figures, "bar": {"better": True}, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
