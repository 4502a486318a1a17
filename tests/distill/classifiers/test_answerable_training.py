from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from distill.classifiers.answerable_training import AskedQuestion, questions_by_language, train_answerable
from distill.classifiers.build_classifiers import train_classifiers
from runtime.base.home import lock_home
from runtime.base.jsonl import write_rows
from runtime.base.settings import Settings
from runtime.desk.open_desk import open_desk
from runtime.errors import IntegrityError
from runtime.events import AskRequest, Done, SectionsFound
from runtime.text.articles import Section
from runtime.text.records import Record
from runtime.understanding.answerable_classifier import FILE, read_answerable, section_digest, write_answerable
from runtime.understanding.linear_classifier import hash_features

WIDTH = 16384
ANSWERED = {
    "en": (
        "What does delivery of my {} parcel cost?",
        "When is my {} parcel delivered?",
        "How do I return my {} parcel?",
        "May I send my {} parcel back?",
        "Is delivery of my {} parcel free?",
        "Who pays when I return my {} parcel?",
    ),
    "zh": (
        "我的{}包裹配送多少钱？",
        "我的{}包裹几天送到？",
        "我的{}包裹怎么退？",
        "我的{}包裹能退吗？",
        "我的{}包裹免运费吗？",
        "我的{}包裹退货谁付钱？",
    ),
}
UNANSWERED = {
    "en": (
        "Who won the {} match in the city?",
        "What will the {} weather in the city be?",
        "Who sings {} songs in the city?",
        "Where is a {} restaurant in the city?",
        "Which {} party governs the city?",
        "Is there a {} museum in the city?",
    ),
    "zh": (
        "城里的{}球赛谁赢了？",
        "城里的{}天气怎么样？",
        "城里的{}歌手是谁？",
        "城里的{}餐馆在哪？",
        "城里的{}选举该投谁？",
        "城里的{}博物馆开门吗？",
    ),
}
FILL = {
    "en": ("red", "blue", "large", "small", "new", "old", "green", "heavy", "light", "second"),
    "zh": ("红色", "蓝色", "大号", "小号", "新款", "旧款", "绿色", "重型", "轻便", "第二"),
}


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of words and n-grams: the test's random encoder is too narrow for topics."""
    out = np.zeros((len(texts), WIDTH), dtype=np.float32)
    for row, text in enumerate(texts):
        for bucket, count in hash_features(text).items():
            out[row, bucket % WIDTH] += count
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def records(languages: Sequence[str] = ("en", "zh")) -> list[Record]:
    out = []
    for lang in languages:
        for answered, forms in ((True, ANSWERED[lang]), (False, UNANSWERED[lang])):
            for number, form in enumerate(forms):
                for word in FILL[lang]:
                    name = f"{lang}-{answered}-{number}-{word}"
                    out.append(
                        Record(
                            id=f"{name}/1",
                            conversation=name,
                            turn=1,
                            lang=lang,
                            query=form.format(word),
                            response=f"reply {number}",
                            evidence=("returns-window#how-long",) if answered else (),
                            source="simulated",
                            split="train",
                        )
                    )
    return out


@pytest.mark.parametrize(
    ("lang", "yes", "no"),
    [
        ("en", "What does it cost to return my parcel?", "Who plays football in the city?"),
        ("zh", "我的包裹配送免费吗？", "城里的足球场在哪？"),
    ],
)
def test_answerable_level_tells_the_companys_topics_from_others(lang: str, yes: str, no: str, tmp_path: Path) -> None:
    trained = train_answerable(questions_by_language(records()), letters)
    assert trained
    known = Section("returns", "cost", "Returns", "Cost", "A return costs €4.90.", lang)
    write_answerable(replace(trained[0], sections=frozenset({section_digest(known)})), tmp_path / FILE)
    classifier = read_answerable(tmp_path / FILE)
    assert classifier.knew(known)
    assert not classifier.knew(replace(known, text="A return costs €5.90."))
    asked, other = letters([yes, no])
    high, low = classifier.level(asked, lang), classifier.level(other, lang)
    assert high is not None
    assert low is not None
    assert low < 0.05 < high
    assert classifier.level(asked, "fr") is None
    figures = trained[1][lang]
    assert figures["auc"] > 0.9
    assert (figures["answered"], figures["unanswered"]) == (60, 60)
    assert figures["refused"]["0.02"] <= figures["refused"]["0.05"] <= figures["refused"]["0.2"]


def test_a_level_is_the_share_of_answerable_questions_below_it() -> None:
    questions = questions_by_language(records(["en"]))
    trained = train_answerable(questions, letters)
    assert trained
    texts = [row.text for row in questions["en"] if row.answered]
    levels = [trained[0].level(vector, "en") for vector in letters(texts)]
    # Levels come from folds that did not see the question, so its own is higher rather than lower.
    assert float(np.mean([level is not None and level < 0.1 for level in levels])) <= 0.1


ONE_SUBJECT = {
    "en": (("refund", "limit", "statement", "change"), ("card", "account", "cheque", "transfer"), "{} {} {}, please"),
    "zh": (("退款", "限额", "账单", "修改"), ("银行卡", "账户", "支票", "转账"), "{}{}的{}"),
}


def of_one_subject(lang: str, answered: Callable[[int, int], bool]) -> list[AskedQuestion]:
    what, of, form = ONE_SUBJECT[lang]
    return [
        AskedQuestion(form.format(fill, one, other), answered(i, j), fill, f"{one} {other}" if answered(i, j) else "")
        for i, one in enumerate(what)
        for j, other in enumerate(of)
        for fill in FILL[lang]
    ]


def single_words(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of which words stand in a text, nothing of their pairs."""
    lexicon = [word for lang, (what, of, _) in ONE_SUBJECT.items() for word in (*what, *of, *FILL[lang])]
    out = np.array([[word in text for word in lexicon] for text in texts], dtype=np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_questions_of_one_subject_are_told_by_the_sections_they_belong_to(lang: str, tmp_path: Path) -> None:
    """Every word occurs in answered and in unanswered questions as often: no direction tells them apart."""
    trained = train_answerable({lang: of_one_subject(lang, lambda i, j: (i + j) % 2 == 0)}, single_words)
    assert trained
    write_answerable(trained[0], tmp_path / FILE)
    classifier = read_answerable(tmp_path / FILE)
    assert trained[1][lang]["share"] > 0
    assert trained[1][lang]["auc"] > 0.8
    what, of, form = ONE_SUBJECT[lang]
    asked = single_words([form.format("", one, other) for one in what for other in of])
    levels = np.array([classifier.level(vector, lang) for vector in asked]).reshape(4, 4)
    yes = (np.add.outer(np.arange(4), np.arange(4)) % 2) == 0
    assert levels[yes].min() > levels[~yes].max()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_sections_count_only_where_they_tell_more_than_the_topic(lang: str) -> None:
    trained = train_answerable({lang: of_one_subject(lang, lambda i, _: i < 2)}, single_words)
    assert trained
    assert trained[1][lang]["share"] == 0
    assert trained[0].languages[lang].known is None


def test_without_unanswered_questions_there_is_no_classifier(tmp_path: Path) -> None:
    only = [row for row in records() if row.evidence]
    assert train_answerable(questions_by_language(only), letters) is None
    few = {"en": [AskedQuestion("Where is it?", True, "a"), AskedQuestion("Who sings?", False, "b")]}
    assert train_answerable(few, letters) is None


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(IntegrityError, match="not a classifier"):
        read_answerable(tmp_path / FILE)


def test_desk_hands_off_what_the_articles_do_not_answer_and_shows_the_sections_as_found(
    make_home: Callable[..., Path], scripted_gguf: Path, embedder_folder: Path, tmp_path: Path
) -> None:
    """The refusal cites nothing: what was found is shown beside it and never as an answer."""
    (tmp_path / "records").mkdir()
    write_rows(tmp_path / "records" / "train.jsonl", records())
    home = make_home(scripted_gguf, min_similarity=-1.0)
    shutil.copytree(home / "current" / "articles", tmp_path / "articles")
    figures = train_classifiers(tmp_path / "records", embedder_folder, tmp_path, 1)
    assert set(figures["answerable"]) == {"en", "zh"}
    heads = home / "current" / "heads"
    heads.mkdir(exist_ok=True)
    (heads / FILE).write_bytes((tmp_path / FILE).read_bytes())
    known = read_answerable(heads / FILE)
    never = threading.Event()
    with lock_home(home, "test"), open_desk(home, Settings(threads=1)) as desk:
        # The tiny encoder sees characters: of questions it knows, the likeliest and the unlikeliest are taken.
        texts = [row.query for row in records()]
        vectors = desk.retriever.embedder.queries(texts)
        for lang in ("en", "zh"):
            level = {
                row.query: known.level(vector, lang) or 0.0
                for row, vector in zip(records(), vectors, strict=True)
                if row.lang == lang
            }
            unlikely, likely = min(level, key=level.__getitem__), max(level, key=level.__getitem__)
            assert level[unlikely] < 0.05 < level[likely]
            refused = list(desk.ask(AskRequest(question=unlikely, conversation=f"no-{lang}"), never))
            answered = list(desk.ask(AskRequest(question=likely), never))
            last, other = refused[-1], answered[-1]
            assert isinstance(last, Done)
            assert isinstance(other, Done)
            assert (last.decided, last.handoff, last.citations) == ("no_article", "no_article", ())
            assert any(isinstance(event, SectionsFound) and event.citations for event in refused)
            assert other.decided != "no_article"
            (turn,) = desk.journal.turns(f"no-{lang}")
            assert turn.details.answerable is not None
            assert turn.details.answerable < 0.05
