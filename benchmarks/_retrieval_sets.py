"""The sets that `retrieval.py` and `answerable.py` search: the example shop, and public data of `../shared/data`.

    tuned on    shop en, bitcoin_faq_zh, banking77              weights were chosen on these
    checked on  shop zh, bitcoin_faq_en, egret_zh, banking77 sparse, abcd, crosswoz, kdconv     and only looked at here

`banking77` is an FAQ made of the public questions: an entry per intent (its name and three questions), three more
questions an intent asked before; `sparse` has earlier questions for every third intent only, which is how a branch
looks after a few articles are new. `abcd`: the guidelines by subflow, asked with their own opening lines.
`crosswoz`, `kdconv`: an entry per place with what is known of it; a message is asked where the reply tells of one.
"""

from __future__ import annotations

import csv
import json
import re
import tomllib
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from runtime.base.jsonl import read_rows
from runtime.errors import MissingError
from runtime.evaluation.retrieval import Query, from_questions, load_set
from runtime.retrieval.past_questions import PastQuestion
from runtime.text.articles import Article, Section, load_articles
from runtime.text.records import Question

SHOP = Path(__file__).parents[1] / "examples" / "shop"
DATA = SHOP.parents[2] / "shared" / "data"
MOST_QUERIES = 300


class RetrievalSet(NamedTuple):
    """A corpus, its questions with what answers them, and questions asked before."""

    articles: list[Article]
    queries: list[Query]
    asked: list[PastQuestion]


def shop_set(lang: str) -> RetrievalSet:
    """The example shop's articles, its hand-written questions, and those written into its cases, without slots."""
    questions = [row for path in sorted((SHOP / lang).glob("questions*.jsonl")) for row in read_rows(Question, path)]
    asked = []
    for path in sorted((SHOP / lang / "cases").glob("*.toml")):
        for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]:
            asked += [
                PastQuestion(
                    text=re.sub(r" ?\{\w+\}", "", ask), lang=lang, evidence=case["evidence"], reply=case["answer"][0]
                )
                for ask in case["ask"]
            ]
    return RetrievalSet(load_articles(SHOP / lang / "articles"), from_questions(questions), asked)


def public_set(name: str, data: Path = DATA) -> RetrievalSet:
    """A set that is kept as one: texts and questions, nothing asked before."""
    return RetrievalSet(*load_set(data / "retrieval" / name), [])


def banking77(data: Path = DATA, *, sparse: bool = False) -> RetrievalSet:
    """Questions about 77 intents: the first three stand in the entry, three were asked before, four are asked."""
    by_intent: defaultdict[str, list[str]] = defaultdict(list)
    with _there(data / "en_banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            by_intent[row["category"]].append(" ".join(row["text"].split()))
    articles, queries, asked = [], [], []
    for number, (intent, texts) in enumerate(sorted(by_intent.items())):
        articles.append(_entry(intent, "en", intent.replace("_", " "), "\n".join(texts[:3])))
        queries += [Query(id=f"{intent}-{at}", text=text, gold=(intent,)) for at, text in enumerate(texts[6:10])]
        if not sparse or number % 3 == 0:
            asked += [PastQuestion(text=text, lang="en", evidence=(f"{intent}#text",)) for text in texts[3:6]]
    return RetrievalSet(articles, queries, asked)


def abcd(data: Path = DATA) -> RetrievalSet:
    """Guidelines for agents by subflow; asked with each one's opening instruction, which is left out of its text.

    No customers' questions come with them, so the words of questions and texts are one author's: BM25 is at home here.
    Ten subflows open with one of two sentences that others open with too; any of those answers such a question.
    """
    flows = json.loads(_there(data / "en_abcd_policy" / "guidelines.json").read_text(encoding="utf-8"))
    articles = []
    opens: defaultdict[str, list[str]] = defaultdict(list)
    for flow, what in flows.items():
        for name, subflow in what["subflows"].items():
            reference = re.sub(r"\W+", "-", f"{flow} {name}".lower())
            steps = [" ".join([step["text"], *map(str, step["subtext"])]) for step in subflow["actions"]]
            # The opening instruction is what a question about the subflow sounds like: it is asked, and left out.
            opening, *rest = subflow["instructions"] or [""]
            articles.append(_entry(reference, "en", name, "\n".join([*steps, *rest])))
            if len(opening.split()) > 4:
                opens[opening].append(reference)
    queries = [Query(id=gold[0], text=opening, gold=tuple(gold)) for opening, gold in opens.items()]
    return RetrievalSet(articles, queries, [])


def crosswoz(data: Path = DATA) -> RetrievalSet:
    """Places in Peking with what the conversations tell of them."""
    with zipfile.ZipFile(_there(data / "zh_crosswoz" / "val.json.zip")) as file:
        talks = json.loads(file.read("val.json"))
    known: defaultdict[str, dict[str, str]] = defaultdict(dict)
    queries = []
    for name, talk in talks.items():
        about: dict[str, str] = {}
        for at, message in enumerate(talk["messages"]):
            acts = [act for act in message["dialog_act"] if act[0] == "Inform"]
            about |= {kind: value for _, kind, field, value in acts if field == "名称"}
            if message["role"] != "sys":
                continue
            for _, kind, field, value in acts:
                if field != "名称" and kind in about:
                    known[about[kind]].setdefault(field, value)
            asked = talk["messages"][at - 1]["content"]
            named = {about[kind] for _, kind, _, _ in acts if kind in about}
            if len(named) == 1 and (place := named.pop()) in asked:
                queries.append((f"{name}-{at}", asked, place))
    return _places(known, queries)


def kdconv(data: Path = DATA) -> RetrievalSet:
    """Sights of KdConv's base of facts; asked is the message before one that tells a fact."""
    folder = _there(data / "zh_kdconv" / "travel" / "kb_travel.json").parent
    facts = json.loads((folder / "kb_travel.json").read_text(encoding="utf-8"))
    known: dict[str, dict[str, str]] = {
        name: {field: value for _, field, value in rows if field != "Information"} for name, rows in facts.items()
    }
    queries = []
    for number, talk in enumerate(json.loads((folder / "dev.json").read_text(encoding="utf-8"))):
        for at, message in enumerate(talk["messages"]):
            named = {one["name"] for one in message.get("attrs", [])}
            asked = talk["messages"][at - 1]["message"]
            if at and len(named) == 1 and (place := named.pop()) in asked:
                queries.append((f"{number}-{at}", asked, place))
    return _places(known, queries)


def _places(known: Mapping[str, Mapping[str, str]], queries: list[tuple[str, str, str]]) -> RetrievalSet:
    names = {name: f"p{number}" for number, name in enumerate(sorted(name for name, facts in known.items() if facts))}
    articles = [
        _entry(reference, "zh", name, "。".join(f"{field}：{value}" for field, value in known[name].items()))
        for name, reference in names.items()
    ]
    kept = [Query(id=key, text=text, gold=(names[name],)) for key, text, name in queries if name in names]
    return RetrievalSet(articles, kept[:: max(1, len(kept) // MOST_QUERIES)], [])


def _entry(reference: str, lang: str, title: str, text: str) -> Article:
    return Article(reference, title, lang, (Section(reference, "text", title, "", text or title, lang),))


def _there(path: Path) -> Path:
    if not path.exists():
        raise MissingError("not there", where=str(path), hint="see docs/how-to/public-data.md")
    return path


def sets(data: Path = DATA) -> dict[str, Callable[[], RetrievalSet]]:
    """Every set by name, to be loaded when it is its turn; those weights were chosen on come first."""
    found: dict[str, Any] = {
        "shop en": lambda: shop_set("en"),
        "bitcoin_faq_zh": lambda: public_set("bitcoin_faq_zh", data),
        "banking77": lambda: banking77(data),
        "shop zh": lambda: shop_set("zh"),
        "bitcoin_faq_en": lambda: public_set("bitcoin_faq_en", data),
        "egret_zh": lambda: public_set("egret_zh", data),
        "banking77 sparse": lambda: banking77(data, sparse=True),
        "abcd": lambda: abcd(data),
        "crosswoz": lambda: crosswoz(data),
        "kdconv": lambda: kdconv(data),
    }
    return found


TUNED_ON = frozenset({"shop en", "bitcoin_faq_zh", "banking77"})
