from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from distill.classifiers.build_classifiers import sample, train_classifiers
from distill.classifiers.intent_training import Example, cross_validate, measure_on_test, train_classifier
from distill.cli.classifiers import app
from runtime.base.home import lock_home
from runtime.base.jsonl import write_rows
from runtime.base.settings import Settings
from runtime.desk.open_desk import open_desk
from runtime.errors import InputError, IntegrityError, MissingError
from runtime.evaluation.classifiers import calibration_error, measure_on_questions
from runtime.events import AskRequest, Done, Understood
from runtime.retrieval.embedder import Embedder
from runtime.text.records import Question, Record
from runtime.understanding.linear_classifier import (
    LinearClassifier,
    hash_features,
    load_classifier,
    load_classifiers,
    save_classifier,
)

ASKS = {
    "returns": ("return my {}", "send the {} back", "我想退{}", "{}能退货吗"),
    "delivery": ("when does the {} arrive", "deliver my {}", "{}什么时候送到", "我的{}还没送到"),
    "price": ("what does the {} cost", "price of the {}", "{}多少钱", "{}的价格是多少"),
}
THINGS = ("heater", "lamp", "television", "冰箱", "电视", "台灯", "desk", "chair", "mirror", "微波炉")


def examples(seed: int = 0) -> list[Example]:
    rows = [Example(ask.format(thing), name) for name, asks in ASKS.items() for ask in asks for thing in THINGS]
    random.Random(seed).shuffle(rows)
    return rows


def test_a_head_tells_intents_apart_in_both_languages_and_survives_its_file(embedder: Embedder, tmp_path: Path) -> None:
    head, figures = train_classifier(examples(), embedder.queries)
    assert figures["accuracy"] >= 0.9, figures
    assert figures["tested"] == 12
    for text, label in (
        ("send the radio back", "returns"),
        ("洗衣机多少钱", "price"),
        ("deliver my radio", "delivery"),
    ):
        assert head.guess(text, embedder.queries([text])[0]).label == label
    save_classifier(head, tmp_path / "intent.npz")
    again = load_classifiers(tmp_path)["intent"]
    texts = ["", "xyz", "我想退洗衣机", "\x00\ud800"]
    vectors = embedder.queries(texts)
    assert np.allclose(again.probabilities(texts, vectors), head.probabilities(texts, vectors), atol=0.01)
    assert np.allclose(again.probabilities(texts, vectors).sum(axis=1), 1, atol=1e-4)


def test_the_same_examples_give_the_same_head(embedder: Embedder) -> None:
    first, _ = train_classifier(examples(), embedder.queries)
    second, _ = train_classifier(examples(), embedder.queries)
    assert np.array_equal(first.weights, second.weights)
    assert np.array_equal(first.grams, second.grams)
    assert (first.mix, first.temperature) == (second.mix, second.temperature)


def test_every_fifth_is_kept_from_the_training_it_measures(embedder: Embedder) -> None:
    figures = cross_validate(examples(), embedder.queries)
    assert (figures["trained"], figures["tested"], figures["labels"]) == (96, 120, 3)
    assert len(figures["each"]) == 5
    assert figures["accuracy"] == pytest.approx(sum(figures["each"]) / 5, abs=1e-3)
    assert figures["accuracy"] >= 0.8
    one = cross_validate(examples(), embedder.queries, count=1)
    assert (one["tested"], one["each"]) == (24, figures["each"][:1])


def test_labels_dealt_at_random_are_told_no_better_than_by_chance(embedder: Embedder) -> None:
    """Whoever had seen the examples it is measured on would know them by heart."""
    rng = random.Random(3)
    noise = [Example(one.text, rng.choice("abcd")) for one in examples()]
    assert cross_validate(noise, embedder.queries)["accuracy"] < 0.45


def test_a_bundles_own_head_is_measured_and_labels_it_never_learned_are_errors(
    embedder: Embedder, make_home: Callable[..., Path], scripted_gguf: Path, tmp_path: Path
) -> None:
    head, _ = train_classifier(examples(), embedder.queries)
    folder = make_home(scripted_gguf) / "current" / "heads"
    folder.mkdir()
    save_classifier(head, folder / "intent.npz")
    table = tmp_path / "new.csv"
    table.write_text(
        "text,label\nsend the radio back,returns\n洗衣机多少钱,price\nwho is it,nobody\n", encoding="utf-8"
    )
    found = json.loads(CliRunner().invoke(app, ["evaluate", str(table), "--json"], catch_exceptions=False).stdout)
    assert (found["tested"], found["accuracy"], found["unknown"], found["accuracy_of_all"]) == (2, 1.0, 1, 0.6667)
    asked = [Question(question="洗衣机多少钱", intent="price"), Question(question="hello")]
    assert measure_on_questions({"intent": head}, asked, embedder)["intent"]["tested"] == 1
    assert measure_on_questions({}, asked, embedder) == {}
    with pytest.raises(MissingError):
        CliRunner().invoke(app, ["evaluate", str(table), "--kind", "emotion"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("confidence", "right", "error"),
    [
        ([0.9] * 10, [True] * 9 + [False], 0.0),
        ([0.9] * 10, [False] * 10, 0.9),
        ([1.0, 0.5], [True, False], 0.25),
        ([], [], 0.0),
    ],
)
def test_the_calibration_error_is_the_gap_between_confidence_and_truth(
    confidence: list[float], right: list[bool], error: float
) -> None:
    found = calibration_error(np.array(confidence, dtype=np.float32), np.array(right, dtype=bool))
    assert found == pytest.approx(error, abs=1e-5)


def test_a_sample_keeps_the_rare_whole() -> None:
    rows = [Example(f"common {n}", "a") for n in range(100)] + [Example(f"rare {n}", "b") for n in range(5)]
    kept = sample([*rows, *rows], 30)
    assert len(kept) == len(set(kept)) == 30
    assert sum(one.label == "b" for one in kept) == 5
    assert kept == sample([*rows, *rows], 30)


@pytest.mark.parametrize("rows", [[], [Example("a", "x")] * 5, [Example("a", "x"), Example("b", "y")]])
def test_too_few_labels_are_refused(rows: list[Example], embedder: Embedder) -> None:
    with pytest.raises(InputError, match="two labels"):
        train_classifier(rows, embedder.queries)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", b"\x80\x04\x95"])
def test_a_damaged_head_is_named(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "intent.npz").write_bytes(damage)
    with pytest.raises(IntegrityError) as caught:
        load_classifier(tmp_path / "intent.npz")
    assert "intent.npz" in caught.value.where


def test_a_head_with_a_pickle_in_it_is_refused(tmp_path: Path) -> None:
    """Part of S6."""
    np.savez(tmp_path / "intent.npz", labels=np.array([{"a": 1}], dtype=object))
    with pytest.raises(IntegrityError):
        load_classifier(tmp_path / "intent.npz")


def test_chinese_is_cut_without_spaces() -> None:
    assert set(hash_features("退货")) & set(hash_features("我想退货吗"))
    assert not set(hash_features("退货")) & set(hash_features("多少钱"))
    assert hash_features("ＲＥＴＵＲＮ") == hash_features("return")


def test_records_become_heads_and_the_desk_listens_to_them(
    make_home: Callable[..., Path], scripted_gguf: Path, embedder_folder: Path, tmp_path: Path
) -> None:
    moods = {"returns": "angry", "delivery": "calm", "price": "calm"}
    rows = [
        Record.model_validate(
            {
                "id": str(number), "conversation": str(number), "turn": 0, "lang": "en", "query": one.text,
                "response": "ok", "intent": one.label, "emotion": moods[one.label], "source": "simulated",
                "split": "train",
            }
        )
        for number, one in enumerate(examples())
    ]  # fmt: skip
    write_rows(tmp_path / "train.jsonl", rows)
    home = make_home(scripted_gguf)
    (home / "current" / "heads").mkdir()
    figures = train_classifiers(tmp_path, embedder_folder, home / "current" / "heads", 1)
    assert set(figures) == {"intent", "emotion"}
    policy = home / "current" / "policy.toml"
    rules = '\n[tone.angry]\nsay = "Sorry."\n[intent]\nhigh = 0.6\nhand_off = ["price"]\n[emotion]\nhigh = 0.6\n'
    policy.write_text(policy.read_text(encoding="utf-8") + rules, encoding="utf-8")
    never = threading.Event()
    with lock_home(home, "test"), open_desk(home, Settings(threads=1)) as desk:
        assert desk.labels["intents"] == ["delivery", "price", "returns"]
        angry = list(desk.ask(AskRequest(question="I want to send the heater back, 30 days"), never))
        priced = list(desk.ask(AskRequest(question="电视多少钱", conversation="p"), never))
        kept = desk.journal.turns("p")[0]
    said = angry[1]
    assert isinstance(said, Understood)
    assert (said.intent, said.emotion) == ("returns", "angry"), json.dumps(said.model_dump())
    done = angry[-1]
    assert isinstance(done, Done)
    assert (done.answer.startswith("Sorry. "), done.intent) == (said.emotion_confidence == "high", "returns")
    last = priced[-1]
    assert isinstance(last, Done)
    assert (last.handoff, last.intent, kept.intent) == ("price", "price", "price")


def test_records_without_labels_make_no_head(embedder_folder: Path, tmp_path: Path) -> None:
    row = {"id": "1", "conversation": "1", "turn": 0, "lang": "zh", "query": "退货", "response": "好"}
    write_rows(tmp_path / "train.jsonl", [Record.model_validate({**row, "source": "transcript", "split": "train"})])
    assert train_classifiers(tmp_path, embedder_folder, tmp_path, 1) == {}
    assert load_classifiers(tmp_path) == {}


def bag_of_words(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors in which texts are near that share words; no encoder's weights decide this test."""
    out = np.zeros((len(texts), 64), dtype=np.float32)
    for row, text in enumerate(texts):
        for bucket, count in hash_features(text).items():
            out[row, bucket % 64] += count
    unit: NDArray[np.float32] = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    return unit


def levels(classifier: LinearClassifier, texts: Sequence[str]) -> list[float]:
    """How familiar each text is; fails where the classifier does not know."""
    found = [classifier.familiarity(vector) for vector in bag_of_words(texts)]
    assert None not in found
    return [one for one in found if one is not None]


UNLIKE = ("who won the football last night", "is it going to rain on Sunday", "写一首关于春天的诗", "今天股票涨了吗")


def test_question_unlike_all_known_ones_is_the_least_familiar_and_survives_the_file(tmp_path: Path) -> None:
    classifier, _ = train_classifier(examples(), bag_of_words)
    save_classifier(classifier, tmp_path / "intent.npz")
    again = load_classifiers(tmp_path)["intent"]
    usual, strange = levels(again, ["return my radio", "收音机多少钱"]), levels(again, UNLIKE)
    assert max(strange) < 0.02
    assert min(usual) > 0.05
    assert strange == pytest.approx(levels(classifier, UNLIKE), abs=0.01)


def test_classifier_of_an_earlier_release_knows_nothing_of_familiarity(tmp_path: Path) -> None:
    classifier, _ = train_classifier(examples(), bag_of_words)
    save_classifier(replace(classifier, familiar=None), tmp_path / "intent.npz")
    assert load_classifiers(tmp_path)["intent"].familiarity(bag_of_words(["return my radio"])[0]) is None


def test_rows_of_no_trained_label_are_counted_apart_and_found_by_familiarity() -> None:
    tested = [Example(f"send the {thing} back", "returns") for thing in ("radio", "printer", "fan")]
    tested += [Example(text, "none of these") for text in UNLIKE]
    figures = measure_on_test(examples(), tested, bag_of_words)
    assert (figures["tested"], figures["unknown"], figures["accuracy"]) == (3, 4, 1.0)
    assert figures["unknown_found"] == 1.0
    assert figures["unknown_auc"] == 1.0
    assert "unknown_found" not in measure_on_test(examples(), tested[:3], bag_of_words)
    with pytest.raises(InputError, match="no row of the test file"):
        measure_on_test(examples(), tested[3:], bag_of_words)
