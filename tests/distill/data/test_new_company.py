"""`edgedesk init`: a folder of articles becomes a recipe that is right as it is, in the languages of the articles."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.data.new_company import write_company
from distill.recipe.load_recipe import load_recipe
from runtime.desk.policy import read_policy
from runtime.errors import UsageError
from tests.support.paths import SHOP


def test_folder_in_two_languages_gives_rules_and_policy_for_both(tmp_path: Path) -> None:
    folder = tmp_path / "all articles"
    for lang in ("en", "zh"):
        for path in sorted((SHOP / lang / "articles").glob("*.md"))[:2]:
            (folder / lang).mkdir(parents=True, exist_ok=True)
            (folder / lang / path.name).write_bytes(path.read_bytes())
    made = write_company(folder, tmp_path / "out")
    recipe = load_recipe(made.files[0])
    assert set(recipe.data.articles) == {"en", "zh"} == set(made.articles)
    assert recipe.languages == ("en",)  # what the catalogue's model writes
    assert recipe.name == "all-articles"
    assert made.questions["en"] > 3
    assert made.questions["zh"] > 3
    for path in recipe.data.policy.values():
        policy = read_policy(path)
        rules = recipe.data.house_rules["zh" if "zh" in path.name else "en"].read_text(encoding="utf-8")
        assert policy.refusal.text in rules


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "articles").mkdir()
    (tmp_path / "articles" / "a.md").write_text("# A\n\nYou have 30 days.\n")
    (tmp_path / "policy.en.toml").write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        write_company(tmp_path / "articles", tmp_path)
    assert not (tmp_path / "recipe.toml").exists()
    assert (tmp_path / "policy.en.toml").read_text() == "mine"
