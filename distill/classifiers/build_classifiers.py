"""Every classifier that a build trains for a bundle: intent, emotion and dictation, from its records and articles.

Promises: the same records and articles give the same files. A company that labels nothing gets no intent and emotion
classifier, one with few articles no dictation classifier; the desk does without them. Knows nothing of how a classifier
is fitted.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.classifiers.answerable_training import questions_by_language, train_answerable
from distill.classifiers.dictation_training import MIN_SENTENCES, train_dictation
from distill.classifiers.intent_training import Example, train_classifier
from distill.data.labelled import LabelledQuestion, read_labelled
from runtime.base.jsonl import read_rows
from runtime.base.progress import bar, say
from runtime.retrieval.embedder import Embedder
from runtime.text.articles import load_articles
from runtime.text.records import Record
from runtime.text.sentences import sentences
from runtime.understanding.answerable_classifier import FILE as ANSWERABLE_FILE
from runtime.understanding.answerable_classifier import section_digest, write_answerable
from runtime.understanding.dictation_classifier import FILE as DICTATION_FILE
from runtime.understanding.dictation_classifier import write_boundary
from runtime.understanding.linear_classifier import KINDS, save_classifier

MAX_BUILD_EXAMPLES = 4000
"""That a build embeds for each classifier: half a minute on two cores."""


def train_classifiers(records: Path, embedder: Path, out: Path, threads: int) -> dict[str, Any]:
    """Write a classifier for every kind of label in a folder of records into folder `out`; returns figures by kind.

    The dictation classifier learns from the articles in the folder next to the records.
    """
    rows = [row for path in (records / "train.jsonl",) if path.is_file() for row in read_rows(Record, path)]
    questions: list[Record | LabelledQuestion] = [*rows, *read_labelled(records, "train")]
    encoder = Embedder(embedder, threads=threads)
    figures: dict[str, Any] = {}
    with bar("training classifiers", len(KINDS), unit="classifiers") as advance:
        for kind in KINDS:
            labelled = [Example(row.query, label) for row in questions if (label := getattr(row, kind))]
            chosen = sample(labelled, MAX_BUILD_EXAMPLES)
            if len({example.label for example in chosen}) >= 2:
                classifier, figures[kind] = train_classifier(chosen, encoder.queries)
                save_classifier(classifier, out / f"{kind}.npz")
                say(f"{kind} classifier: {figures[kind]}")
            advance(1)
    folder = records.parent / "articles"
    articles = load_articles(folder) if folder.is_dir() else []
    if trained := train_answerable(questions_by_language(rows), encoder.queries):
        answerable, figures["answerable"] = trained
        known = frozenset(section_digest(section) for article in articles for section in article.sections)
        write_answerable(replace(answerable, sections=known), out / ANSWERABLE_FILE)
        for lang, row in figures["answerable"].items():
            curve = ", ".join(f"{share:.0%} at {float(rate):.0%}" for rate, share in row["refused"].items())
            say(f"answerable classifier, {lang}: AUC {row['auc']:.3f}; unanswerable refused: {curve} of the others")
    if sum(len(sentences(section.text)) for article in articles for section in article.sections) >= MIN_SENTENCES:
        boundary, figures["dictation"] = train_dictation(articles, encoder.queries)
        write_boundary(boundary, out / DICTATION_FILE)
        say(f"dictation classifier: {figures['dictation']}")
    return figures


def sample(examples: Sequence[Example], most: int, *, seed: int = 7) -> list[Example]:
    """At most so many examples, each text once; rare labels are taken whole before common ones fill what is left."""
    by_label: Mapping[str, list[Example]] = defaultdict(list)
    for example in {(example.text, example.label): example for example in examples}.values():
        by_label[example.label].append(example)
    rng = random.Random(seed)  # noqa: S311 - a choice, no secret
    for rows in by_label.values():
        rng.shuffle(rows)
    kept: list[Example] = []
    left = most
    # Fewest first: what a rare label does not use of its share goes to the labels after it.
    rarest_first = sorted(by_label.values(), key=lambda rows: (len(rows), rows[0].label))
    for waiting, rows in zip(range(len(by_label), 0, -1), rarest_first, strict=True):
        take = rows[: left // waiting]
        kept += take
        left -= len(take)
    return kept
