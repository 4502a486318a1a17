"""What agents corrected becomes records beside those of the last release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from distill.data.dataset import gather_articles, read_split
from distill.data.feedback_records import make_all_records, merge_records
from distill.recipe.recipe import LastRelease, Recipe
from runtime.base.jsonl import read_rows, write_rows
from runtime.errors import InputError
from runtime.feedback.learning import Correction
from runtime.text.records import Record, Split


def record(name: str, query: str, response: str, split: Split = "train", **fields: object) -> Record:
    return Record.model_validate(
        {
            "id": name, "conversation": name.rpartition("/")[0] or name, "turn": 1, "lang": "en", "query": query,
            "response": response, "evidence": ("returns#one",), "source": "transcript", "split": split, **fields,
        }
    )  # fmt: skip


def merged(
    earlier: dict[Split, Sequence[Record]], new: Sequence[Record], corrected: set[str], replay: float | None = None
) -> tuple[dict[Split, list[str]], Counter[str]]:
    counts: Counter[str] = Counter()
    whole: dict[Split, Sequence[Record]] = {"train": (), "valid": (), "test": ()}
    rows = merge_records({**whole, **earlier}, new, corrected=corrected, seed=7, replay=replay, counts=counts)
    return {split: [one.id for one in kept] for split, kept in rows.items()}, counts


def test_correction_is_trained_and_what_contradicts_it_is_not() -> None:
    train = [
        record("a", "How long?", "14 days."),
        record("b", "How long?", "30 days."),
        record("c", "How much?", "4.90 EUR."),
    ]
    held_out = [record("d", "How long?", "14 days.", "test"), record("e", "Where?", "Here.", "test")]
    new = record("journal/x/1", "How long?", "30 days.", source="journal")
    kept, counts = merged({"train": train, "test": held_out}, [new], {new.id})
    assert kept["train"] == ["b", "c", "journal/x/1"]
    assert kept["test"] == ["e"], "a held-out record that is known to be wrong would count against the right answer"
    assert (counts["new"], counts["corrections"], counts["contradicted"]) == (1, 1, 2)


def test_accepted_drafts_are_held_out_in_part_and_always_the_same_ones() -> None:
    new = [record(f"journal/{n}/1", f"Question {n}?", "Yes.", source="journal") for n in range(200)]
    kept, _ = merged({}, new, set())
    assert {split: len(ids) for split, ids in kept.items()} == pytest.approx(
        {"train": 160, "valid": 20, "test": 20}, abs=12
    )
    assert merged({}, new[:100], set())[0]["test"] == [one for one in kept["test"] if int(one.split("/")[1]) < 100]


def test_replay_keeps_so_many_earlier_records_for_each_new_one() -> None:
    train = [record(f"old-{n}", f"Old {n}?", "Yes.") for n in range(50)]
    new = [record(f"journal/{n}/1", f"New {n}?", "No.", source="journal") for n in range(4)]
    corrected = {one.id for one in new}
    kept, counts = merged({"train": train}, new, corrected, replay=2.5)
    old = [name for name in kept["train"] if name.startswith("old")]
    assert (len(old), counts["replayed"]) == (10, 10)
    assert merged({"train": train}, new, corrected, replay=5)[0]["train"][-24:] != kept["train"]
    assert set(old) <= set(merged({"train": train}, new, corrected, replay=5)[0]["train"]), "more adds, it moves none"


def test_record_that_the_last_release_knew_is_earlier_and_one_that_was_judged_again_is_new() -> None:
    known = record("journal/x/1", "How long?", "30 days.", source="journal")
    assert merged({"train": [known]}, [known], {known.id}, replay=1)[1]["new"] == 0
    again = known.model_copy(update={"response": "31 days."})
    kept, counts = merged({"train": [known]}, [again], {known.id}, replay=9)
    assert kept["train"] == ["journal/x/1"]
    assert (counts["new"], counts["replayed"]) == (1, 0)


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """An import with a correction, an accepted draft whose article went, and one in another language."""
    folder = tmp_path / "imported"
    said = "It is anna@example.com: 30 days."
    records = [
        record("journal/x/1", "How long may I return it?", said, source="journal"),
        record("journal/y/1", "Which days do you deliver?", "On weekdays.", evidence=("gone#one",), source="journal"),
        record("journal/z/1", "¿Cuánto?", "Nada.", lang="es", source="journal"),
    ]
    write_rows(folder / "records.jsonl", records)
    correction = Correction(key="x/1", lang="en", question="How long may I return it?", draft="14 days.", reply=said)
    write_rows(folder / "corrections.jsonl", [correction])
    return folder


def with_feedback(recipe: Recipe, imported: Path) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"feedback": imported})})


def test_records_of_a_build_hold_what_agents_corrected_redacted_and_resting_on_an_article(
    recipe: Recipe, company: Path, imported: Path, tmp_path: Path
) -> None:
    assert company.is_dir()
    gather_articles(recipe.data, tmp_path / "articles")
    out = tmp_path / "records"
    report = make_all_records(with_feedback(recipe, imported), tmp_path / "articles", out)
    journal = {one.id: one for one in read_split(out, "train", "en") if one.source == "journal"}
    assert journal["journal/x/1"].response == "It is <EMAIL_1>: 30 days."
    assert journal["journal/x/1"].evidence == ("returns#one",)
    assert report["feedback"]["other_language"] == 1
    everything = [one for split in ("train", "valid", "test") for one in read_split(out, split, "en")]
    assert next(one for one in everything if one.id == "journal/y/1").evidence == ("delivery#two",)
    (correction,) = read_rows(Correction, out / "corrections.jsonl")
    assert correction.reply == "It is <EMAIL_1>: 30 days."
    assert report["by_split"] == {
        split: len(list(read_rows(Record, out / f"{split}.jsonl"))) for split in ("train", "valid", "test")
    }


def test_next_release_learns_from_the_last_ones_records_and_refuses_to_learn_nothing(
    recipe: Recipe, company: Path, imported: Path, tmp_path: Path
) -> None:
    assert company.is_dir()
    gather_articles(recipe.data, tmp_path / "articles")
    make_all_records(recipe, tmp_path / "articles", tmp_path / "last" / "records")
    last = LastRelease(work=tmp_path / "last", replay=2)
    next_recipe = with_feedback(recipe, imported).model_copy(update={"last_release": last})
    out = tmp_path / "records"
    report = make_all_records(next_recipe, tmp_path / "articles", out)
    before = read_split(tmp_path / "last" / "records", "test", "en")
    assert [one for one in read_split(out, "test", "en") if one.source != "journal"] == before
    learned = [one.id for one in read_split(out, "train", "en") if one.source == "journal"]
    assert report["feedback"]["replayed"] == 2 * len(learned)
    again = next_recipe.model_copy(update={"last_release": LastRelease(work=tmp_path)})
    (tmp_path / "again").mkdir()
    with pytest.raises(InputError, match="nothing in the import is new"):
        make_all_records(again, tmp_path / "articles", tmp_path / "again")
