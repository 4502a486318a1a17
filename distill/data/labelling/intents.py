"""Labels for questions that came without: intents and entities by rules, and intents discovered where nobody named any.

    label_by_rules     the intent of a closed set whose phrases a question holds, with a confidence
    entities_of        what a redacted question names: its placeholders and figures
    discover_intents   groups of questions that use the same words, each with a suggested name

Promises: a rule never names an intent outside its set; the same questions give the same groups; works in English and
Chinese without a model, and with the encoder's vectors where they are given. Knows nothing of records.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.text.normalize import nfkc
from runtime.text.quantities import quantities
from runtime.text.redaction import PLACEHOLDER
from runtime.text.tokens import terms

MIN_GROUP = 3
"""Questions that a group has at least; the others stay without an intent."""
_ENTITY_NAMES = {
    "ORDER": "order_id", "NAME": "name", "EMAIL": "email", "PHONE": "phone", "ADDRESS": "address", "CARD": "card",
    "IBAN": "iban", "ID": "customer_id", "ACCOUNT": "account", "PLATE": "plate", "BIRTH": "birth_date", "IP": "ip",
}  # fmt: skip
_MONEY = frozenset({"euro", "dollar", "pound", "yuan"})
_EVERYDAY = frozenset(
    """
a an and are as at be can could did do does for from get has have how i if in is it me my need not of on or our please
so that the there this to want was what when where which who why will with would you your am been but by just like
help know tell still now out up any some they them we us
我的 你们 请问 什么 怎么 可以 这个 那个 一下 一个 有没 没有 需要 我想 想要 是不 不是 为什
如何 能不 不能 谢谢 您好 你好
""".split()  # noqa: SIM905
)
_DIMENSIONS = 64
_MOST_FEATURES = 30_000
_SAMPLE = 2000
"""Questions on which the number of groups is chosen."""


class IntentGuess(NamedTuple):
    """An intent that rules read out of a question."""

    intent: str
    confidence: float
    """Share of the hits that speak for it, 0 to 1."""


class IntentGroup(NamedTuple):
    """Questions that seem to ask the same sort of thing."""

    name: str
    """Its most telling words, joined: a suggestion for a person to improve."""
    places: tuple[int, ...]
    """Of its questions, the most typical first."""


def label_by_rules(question: str, phrases: Mapping[str, Sequence[str]]) -> IntentGuess | None:
    """The intent with most of its phrases in a question; None for none, or for a draw.

    `phrases` are words or runs of words, of any language, by intent. Longer phrases count more: "return label" says
    more than "return".
    """
    text = f" {nfkc(question).casefold()} "
    scores: Counter[str] = Counter()
    for intent, known in phrases.items():
        for phrase in known:
            plain = nfkc(phrase).casefold().strip()
            edge = r"\b" if plain.isascii() else ""
            if plain and re.search(rf"{edge}{re.escape(plain)}{edge}", text):
                scores[intent] += len(terms(plain)) or 1
    if not scores:
        return None
    (best, most), *others = scores.most_common(2)
    if others and others[0][1] == most:
        return None
    return IntentGuess(best, round(most / scores.total(), 4))


def entities_of(question: str) -> dict[str, str]:
    """What a redacted question names, the first of each sort: placeholders, an amount, a date."""
    found: dict[str, str] = {}
    for match in PLACEHOLDER.finditer(question):
        if name := _ENTITY_NAMES.get(match[1]):
            found.setdefault(name, match[0])
    for figure in quantities(question):
        if figure.unit in _MONEY:
            found.setdefault("amount", figure.text)
        elif figure.kind == "date":
            found.setdefault("date", figure.text)
    return found


def discover_intents(
    questions: Sequence[str], vectors: NDArray[np.float32] | None = None, *, most: int = 40, seed: int = 7
) -> list[IntentGroup]:
    """Groups of questions by spherical k-means, the largest first; their number, at most `most`, by the silhouette.

    `vectors` are unit vectors [n, d]; without them, words and pairs of characters reduced to 64 dimensions (latent
    semantic analysis). `InputError` for fewer than ten questions.
    """
    from sklearn.cluster import KMeans  # scikit-learn takes seconds to load

    if len(questions) < 10:
        raise InputError(f"no intents can be discovered in {len(questions)} questions", hint="ten are the least")
    places = vectors if vectors is not None else _word_vectors(questions, seed)
    count = _best_count(places, most, seed)
    model = KMeans(count, n_init=3, random_state=seed).fit(places)
    nearness = (places * model.cluster_centers_[model.labels_]).sum(axis=1)
    members = [np.flatnonzero(model.labels_ == number) for number in range(count)]
    ordered = [rows[np.argsort(-nearness[rows], kind="stable")].tolist() for rows in members if len(rows) >= MIN_GROUP]
    ordered.sort(key=lambda rows: (-len(rows), rows))
    names = _names([[questions[row] for row in rows] for rows in ordered])
    return [IntentGroup(name, tuple(rows)) for name, rows in zip(names, ordered, strict=True)]


def _word_vectors(questions: Sequence[str], seed: int) -> NDArray[np.float32]:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    vectorizer = TfidfVectorizer(analyzer=_telling, sublinear_tf=True, max_features=_MOST_FEATURES)
    try:
        features: Any = vectorizer.fit_transform(questions)
    except ValueError:
        raise InputError("no intents can be discovered: the questions hold no words", hint="check the file") from None
    size = max(2, min(_DIMENSIONS, features.shape[0] - 1, features.shape[1] - 1))
    if features.shape[1] > size:
        features = TruncatedSVD(size, random_state=seed).fit_transform(features)
    else:
        features = features.toarray()
    reduced: NDArray[np.float32] = normalize(features).astype(np.float32)
    return reduced


def _best_count(places: NDArray[np.float32], most: int, seed: int) -> int:
    """The number of groups, of a handful up to `most`, in which questions are nearest their own group."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    rng = np.random.default_rng(seed)
    some = places if len(places) <= _SAMPLE else places[rng.choice(len(places), _SAMPLE, replace=False)]
    limit = max(2, min(most, len(some) // MIN_GROUP))
    tried = sorted({max(2, round(limit * share)) for share in (0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0)})
    scores = []
    for count in tried:
        labels = KMeans(count, n_init=1, random_state=seed).fit_predict(some)
        alone = len(set(labels.tolist())) < 2
        scores.append(-1.0 if alone else float(silhouette_score(some, labels, metric="cosine")))
    return tried[int(np.argmax(scores))]


def _telling(question: str) -> list[str]:
    return [term for term in terms(PLACEHOLDER.sub(" ", question)) if term not in _EVERYDAY]


def _names(groups: Sequence[Sequence[str]]) -> list[str]:
    """For each group the two words that stand in most of it and in least of the others; a number where they repeat."""
    held = [Counter(term for text in texts for term in set(_telling(text))) for texts in groups]
    whole: Counter[str] = Counter()
    for counts in held:
        whole.update(counts)
    taken: Counter[str] = Counter()
    names = []
    for counts, texts in zip(held, groups, strict=True):
        ranked = sorted(counts, key=lambda term: (-(counts[term] ** 2) / (len(texts) * whole[term]), term))
        name = "_".join(ranked[:2]) or "other"
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name}_{taken[name]}")
    return names
