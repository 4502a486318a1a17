"""The company's input, gathered: every language kept apart, every file that counts counted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.data.dataset import (
    copy_policies,
    evidence_linker,
    gather_articles,
    hash_data,
    make_prompt,
    make_records,
    neighbour_finder,
    read_split,
    sections_by_ref,
)
from distill.recipe.recipe import Data, Recipe, Simulation
from distill.recipe.transcript_settings import Transcripts
from runtime.base.jsonl import read_rows
from runtime.errors import InputError
from runtime.prompting.prompt_spec import PromptSpec
from runtime.text.articles import Section, load_articles
from runtime.text.records import Record

ARTICLES = {
    "en/returns.md": "# Returns\n\n## Period {#period}\n\nYou may return it within 30 days.\n",
    "en/delivery.md": "# Delivery\n\n## Price {#price}\n\nDelivery costs €4.90. Write to care@our-shop.example.\n",
    "zh/returns.md": "---\nlang: zh\n---\n# 退货\n\n## 期限 {#period}\n\n商品可在30天内退货。\n",
}
CHATS = """conversation,role,content
c1,user,How long may I return it? I am at anna@example.com
c1,assistant,Within 30 days. Or write to care@our-shop.example.
c2,user,商品多久可以退货？
c2,assistant,30天内。
"""


@pytest.fixture
def company(small_shop: Path) -> Path:
    """The small shop with articles, house rules and transcripts."""
    for name, text in ARTICLES.items():
        path = small_shop / "articles" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (small_shop / "rules.en.md").write_text("\nBe kind.\n", encoding="utf-8")
    (small_shop / "rules.zh.md").write_text("请友善。\n", encoding="utf-8")
    (small_shop / "chats.csv").write_text(CHATS, encoding="utf-8")
    return small_shop


@pytest.fixture
def data(company: Path) -> Data:
    return Data(
        articles={lang: company / "articles" / lang for lang in ("en", "zh")},
        house_rules={lang: company / f"rules.{lang}.md" for lang in ("en", "zh")},
        policy={lang: company / lang / "policy.toml" for lang in ("en", "zh")},
        simulate=Simulation(folders=(company / "en", company / "zh"), conversations=31),
        transcripts=(Transcripts(path=company / "chats.csv"),),
    )


@pytest.fixture
def recipe(data: Data) -> Recipe:
    return Recipe(name="shop", languages=("en",), data=data)


PARTS = ("articles", "prompt", "records")


@pytest.mark.parametrize(
    ("name", "stale"),
    [
        ("articles/en/returns.md", {"articles"}),
        ("rules.zh.md", {"prompt"}),
        ("en/policy.toml", {"prompt", "records"}),
        ("zh/cases/returns.toml", {"records"}),
        ("chats.csv", {"records"}),
    ],
)
def test_a_changed_file_makes_stale_what_is_read_from_it(name: str, stale: set[str], company: Path, data: Data) -> None:
    before = {part: hash_data(data, part) for part in PARTS}
    os.utime(company / name, (1, 1))
    assert {part: hash_data(data, part) for part in PARTS} == before
    (company / name).write_bytes((company / name).read_bytes() + b"\n")
    assert {part for part in PARTS if hash_data(data, part) != before[part]} == stale


def test_a_new_file_and_a_changed_setting_make_the_data_another(company: Path, data: Data) -> None:
    before = hash_data(data, "articles")
    assert hash_data(data.model_copy(update={"seed": 8}), "records") != hash_data(data, "records")
    assert hash_data(data.model_copy(update={"engine": "ray"}), "records") == hash_data(data, "records")
    (company / "articles" / "en" / "new.md").write_text("# New\n\nText.\n")
    assert hash_data(data, "articles") != before


def test_articles_keep_their_words_in_each_language(company: Path, data: Data, tmp_path: Path) -> None:
    figures = gather_articles(data, tmp_path / "out")
    assert figures == {"articles": {"en": 2, "zh": 1}, "sections": 3}
    sections = {s.ref: s for lang in ("en", "zh") for s in sections_by_ref(tmp_path / "out", lang).values()}
    assert sections_by_ref(tmp_path / "out", "en").keys() == {"returns#period", "delivery#price"}
    assert sections["returns#period"].text == "商品可在30天内退货。"
    assert sections["returns#period"].heading == "期限"


def test_the_prompt_begins_with_the_languages_the_model_writes(recipe: Recipe, spec: PromptSpec, company: Path) -> None:
    made = make_prompt(recipe.model_copy(update={"languages": ("zh",)}), spec.pieces)
    assert made.system == {"zh": "请友善。", "en": "Be kind."}
    assert next(iter(made.system)) == "zh"
    assert made.refusal["zh"] == "I do not know. 不知道。"
    assert made.articles == recipe.prompt.articles


def test_comments_in_the_house_rules_stay_out_of_the_prompt(recipe: Recipe, spec: PromptSpec) -> None:
    recipe.data.house_rules["en"].write_text("Be kind.<!-- margin\r\n40 -->\r\n[//]: # (goodwill)\r\nBe short.\n")
    recipe.data.house_rules["zh"].write_text("请友善。<!-- 毛利 -->\n", encoding="utf-8")
    made = make_prompt(recipe, spec.pieces)
    assert made.system == {"en": "Be kind.\nBe short.", "zh": "请友善。"}


@pytest.mark.parametrize("part", ["house_rules", "policy"])
def test_a_language_without_rules_or_policy_is_refused(part: str, recipe: Recipe, spec: PromptSpec) -> None:
    lacking = {"en": getattr(recipe.data, part)["en"]}
    data = recipe.data.model_copy(update={part: lacking})
    with pytest.raises(InputError, match="language 'zh'"):
        make_prompt(recipe.model_copy(update={"data": data, "languages": ("en", "zh")}), spec.pieces)
    make_prompt(recipe.model_copy(update={"data": data}), spec.pieces)


def test_records_come_from_every_source_redacted_and_linked(recipe: Recipe, tmp_path: Path) -> None:
    gather_articles(recipe.data, tmp_path / "articles")
    figures = make_records(recipe, tmp_path / "articles", tmp_path / "records")
    rows = [
        row
        for split in ("train", "valid", "test")
        for path in [tmp_path / "records" / f"{split}.jsonl"]
        if path.stat().st_size
        for row in read_rows(Record, path)
    ]
    assert figures["conversations"] == 33
    assert figures["kept"] == len(rows) == sum(figures["by_split"].values())
    said = {row.conversation: row for row in rows if row.source == "transcript"}
    assert said["c1"].evidence == said["c2"].evidence == ("returns#period",)
    assert said["c2"].query == "商品多久可以退货？"
    text = "\n".join(row.model_dump_json() for row in rows)
    assert "anna@example.com" not in text
    assert "care@our-shop.example" in said["c1"].response
    assert {row.lang for row in rows if row.source == "simulated"} == {"en", "zh"}


def test_a_split_is_read_by_language_and_may_be_empty(
    records: list[Record], make_record: Callable[..., Record], tmp_path: Path
) -> None:
    from runtime.base.jsonl import write_rows

    write_rows(tmp_path / "train.jsonl", [*records, make_record("zh", "退？", "可以。", lang="zh")])
    write_rows(tmp_path / "test.jsonl", [])
    assert [row.id for row in read_split(tmp_path, "train", "zh")] == ["zh"]
    assert len(read_split(tmp_path, "train", "en")) == len(records)
    assert read_split(tmp_path, "test", "en") == []


def test_a_text_is_linked_to_the_section_it_shares_words_with(company: Path) -> None:
    link = evidence_linker(load_articles(company / "articles"))
    assert link("What does delivery cost?") == "delivery#price"
    assert link("退货期限") == "returns#period"
    assert link("xyzzy") is None


def test_neighbours_are_those_that_share_most_words_and_never_the_section_itself(
    sections: dict[str, Section],
) -> None:
    words = {"a#1": "red blue green", "b#1": "red blue", "c#1": "red", "d#1": "nothing alike"}
    made = {ref: Section(ref[0], "1", "t", "t", text, "en") for ref, text in words.items()}
    assert neighbour_finder(made)("a#1")[:2] == ["b#1", "c#1"]
    assert neighbour_finder(made, count=1)("a#1") == ["b#1"]
    for ref in sections:
        assert set(neighbour_finder(sections)(ref)) == set(sections) - {ref}


def test_policies_travel_by_language_and_the_first_is_the_default(
    recipe: Recipe, company: Path, tmp_path: Path
) -> None:
    (company / "zh" / "policy.toml").write_text('[refusal]\ntext = "不知道。"\n', encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    copy_policies(recipe.model_copy(update={"languages": ("zh", "en")}), out)
    assert sorted(path.name for path in out.iterdir()) == ["policy.en.toml", "policy.toml", "policy.zh.toml"]
    assert "不知道" in (out / "policy.toml").read_text(encoding="utf-8")


def test_a_broken_policy_is_refused_before_it_travels(recipe: Recipe, company: Path, tmp_path: Path) -> None:
    (company / "en" / "policy.toml").write_text("[refusal]\ntxt = 1\n")
    with pytest.raises(InputError, match=r"policy\.toml"):
        copy_policies(recipe, tmp_path)
    assert not (tmp_path / "policy.toml").exists()


def test_newest_conversations_are_held_out_where_the_recipe_splits_by_time(
    recipe: Recipe, company: Path, tmp_path: Path
) -> None:
    """Whatever their order in the file; a conversation is as old as its first message."""
    things = ("lamp", "carpet", "kettle", "mirror", "printer", "tent", "blender", "chair", "phone", "guitar")
    rows = [
        f"c{day},2026-03-{day:02},user,How long may I return the {thing} I bought?\n"
        f"c{day},2026-03-{day:02},assistant,You may return the {thing} within 30 days."
        for day, thing in enumerate(things, start=1)
    ]
    path = company / "dated.csv"
    path.write_text("conversation,time,role,content\n" + "\n".join(rows[5:] + rows[:5]) + "\n", encoding="utf-8")
    dated = recipe.data.model_copy(
        update={"transcripts": (Transcripts(path=path),), "simulate": None, "split": "time", "near_duplicates": "keep"}
    )
    gather_articles(recipe.data, tmp_path / "articles")
    out = tmp_path / "records"
    make_records(recipe.model_copy(update={"data": dated}), tmp_path / "articles", out)
    found = {split: [row.conversation for row in read_split(out, split, "en")] for split in ("train", "valid", "test")}
    assert sorted(found["train"]) == sorted(f"c{day}" for day in range(1, 9))
    assert (found["valid"], found["test"]) == (["c9"], ["c10"])
