"""A recipe: what is wrong in it is named by file and key; what is left out has the default the reference gives."""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from distill.recipe.load_recipe import load_recipe
from distill.recipe.recipe import Recipe
from distill.recipe.transcript_settings import check_language
from runtime.errors import EdgedeskError, InputError, MissingError, UsageError
from tests.support.paths import ROOT

REFERENCE = ROOT / "docs" / "reference" / "recipe.md"
GOOD = """
name = "shop-1"
languages = ["zh", "en"]
[data]
articles = { en = "articles/en", zh = "articles/退货.md" }
house_rules = { en = "rules.md", zh = "rules.md" }
policy = { en = "policy.toml", zh = "policy.toml" }
questions = ["questions-*.jsonl"]
[data.simulate]
folders = ["scenes"]
[[data.transcripts]]
path = "chats.csv"
[data.faq]
folder = "scenes"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A company's files, in a path with a space."""
    root = tmp_path / "our shop"
    (root / "articles" / "en").mkdir(parents=True)
    (root / "scenes").mkdir()
    for name in ("articles/退货.md", "rules.md", "policy.toml", "chats.csv", "questions-1.jsonl"):
        (root / name).write_text("x", encoding="utf-8")
    return root


def write(folder: Path, text: str) -> Path:
    path = folder / "shop.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("languages", ['["de"]', '["en", "fr"]'])
def test_language_that_cannot_be_told_from_others_is_refused(languages: str, folder: Path) -> None:
    """Its articles would be taken in and then never answered from by the model."""
    with pytest.raises(UsageError, match="languages") as error:
        load_recipe(write(folder, GOOD.replace('["zh", "en"]', languages)))
    assert "shop.toml" in error.value.where


def test_paths_are_relative_to_the_recipe(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, GOOD)
    monkeypatch.chdir(tmp_path)
    data = load_recipe(Path("our shop/shop.toml")).data
    assert data.articles == {"en": folder / "articles" / "en", "zh": folder / "articles" / "退货.md"}
    assert data.house_rules["zh"] == folder / "rules.md"
    assert data.policy["en"] == folder / "policy.toml"
    assert data.questions == (str(folder / "questions-1.jsonl"),)
    assert data.transcripts[0].path == folder / "chats.csv"
    assert data.simulate is not None
    assert data.faq is not None
    assert (data.simulate.folders, data.faq.folder) == ((folder / "scenes",), folder / "scenes")


def test_a_base_beside_the_recipe_is_a_path_and_any_other_a_name(folder: Path) -> None:
    (folder / "our-model").mkdir()
    (folder / "smollm2-135m-instruct").mkdir()
    path = write(folder, GOOD + '[base]\nmodel = "our-model"\nembedder = "owner/model"\n')
    base = load_recipe(path).base
    assert (base.model, base.embedder) == (str(folder / "our-model"), "owner/model")
    assert load_recipe(write(folder, GOOD)).base.model == "smollm2-135m-instruct"


LAST = '[last_release]\nwork = "work/last"\n'


@pytest.fixture
def last(folder: Path) -> Path:
    """The work folder of a finished build."""
    work = folder / "work" / "last"
    for name in ("merged/config.json", "records/train.jsonl", "bundle/bundle.json"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("{}")
    return work


def test_last_release_is_the_base_unless_the_recipe_names_another(folder: Path, last: Path) -> None:
    recipe = load_recipe(write(folder, GOOD + LAST))
    assert recipe.last_release is not None
    assert (recipe.last_release.work, recipe.base.model) == (last, str(last / "merged"))
    other = load_recipe(write(folder, GOOD + LAST + '[base]\nmodel = "smollm2-135m-instruct"\n'))
    assert other.base.model == "smollm2-135m-instruct"


def test_last_release_that_was_never_finished_is_refused_with_what_it_lacks(folder: Path, last: Path) -> None:
    (last / "merged" / "config.json").unlink()
    with pytest.raises(MissingError, match=r"last_release\.work: no finished build: .*merged/config\.json"):
        load_recipe(write(folder, GOOD + LAST))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAST + "[student]\nlayers = 20\n", "last_release excludes student"),
        (LAST + "[teacher]\nrank = 2\n", "last_release excludes student"),
        ("[gate]\nmax_intent_drop = 0.1\n", "max_intent_drop needs last_release"),
    ],
)
def test_last_release_is_tuned_as_it_is_and_compared_only_where_it_is_named(
    folder: Path, last: Path, text: str, said: str
) -> None:
    assert last.is_dir()
    with pytest.raises(UsageError, match=said):
        load_recipe(write(folder, GOOD + text))


def test_absolute_paths_stay(folder: Path) -> None:
    path = write(folder, GOOD.replace('"rules.md"', f'"{folder}/rules.md"'))
    assert load_recipe(path).data.house_rules["en"] == folder / "rules.md"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("[data]", "colour = 1\n[data]"), "colour"),
        (("[data]", "[data]\ncolour = 1"), "data.colour"),
        (("[data.faq]", "[data.faq]\ncolour = 1"), "data.faq.colour"),
        (("[[data.transcripts]]", "[[data.transcripts]]\ncolour = 1"), "data.transcripts[0].colour"),
        (("[data]", "[kd]\nlearning_rat = 1\n[data]"), "kd.learning_rat"),
        (('name = "shop-1"', ""), "name"),
        (('"shop-1"', '"Our Shop!"'), "name"),
        (('["zh", "en"]', "[]"), "languages"),
        (('["zh", "en"]', '"zh"'), "languages"),
        (("house_rules =", "# "), "data.house_rules"),
        (('folders = ["scenes"]', 'folders = ["scenes"]\nconversations = 0'), "data.simulate.conversations"),
        (('path = "chats.csv"', 'path = "chats.csv"\nform = "pdf"'), "data.transcripts[0].form"),
        (("[data]", "[kd]\nlearning_rate = 0\n[data]"), "kd.learning_rate"),
        (("[data]", "[kd]\nprecision = 'f8'\n[data]"), "kd.precision"),
        (("[data]", "[lora]\nrank = 0.5\n[data]"), "lora.rank"),
        (("[data]", "[lora]\nwarmup = 1.0\n[data]"), "lora.warmup"),
        (("[data]", "[capture]\nk = 1000\n[data]"), "capture.k"),
        (("[data]", "[student]\nlayers = 1\n[data]"), "student.layers"),
        (("[data]", "[prompt]\narticles = 0\n[data]"), "prompt.articles"),
        (("[data]", "[packing]\ntokens = 'many'\n[data]"), "packing.tokens"),
        (('["zh", "en"]', '["zh-CN", "en"]'), "languages[0]"),
        (('["zh", "en"]', '["ZH", "en"]'), "languages[0]"),
        (('["zh", "en"]', '["chinese"]'), "languages[0]"),
        (("house_rules = {", "house_rules = { zh-CN = 'rules.md', "), "data.house_rules.zh-CN"),
        (('path = "chats.csv"', 'path = "chats.csv"\nlang = "EN"'), "data.transcripts[0].lang"),
        (('"shop-1"', f'"{"s" * 101}"'), "name"),
        (("[data]", 'version = ""\n[data]'), "version"),
        (("[data]", f'version = "{"1" * 101}"\n[data]'), "version"),
        (("[data]", 'version = "1\\u001b[2J"\n[data]'), "version"),
        (("[data]", "[gate]\nmin_hit5 = 90\n[data]"), "gate.min_hit5"),
        (("[data]", "[gate]\nmin_top1 = 1.01\n[data]"), "gate.min_top1"),
        (("[data]", "[gate]\nmin_chrf = nan\n[data]"), "gate.min_chrf"),
        (("[data]", "[gate]\nmax_kl = inf\n[data]"), "gate.max_kl"),
        (("[data]", "[gate]\nmax_kl = -0.1\n[data]"), "gate.max_kl"),
        (("[data]", "[gate]\nmax_perplexity = 0.9\n[data]"), "gate.max_perplexity"),
        (("[data]", "[kd]\nlearning_rate = inf\n[data]"), "kd.learning_rate"),
        (("[data]", "[lora]\nlearning_rate = nan\n[data]"), "lora.learning_rate"),
        (("[data]", "[teacher]\nepochs = inf\n[data]"), "teacher.epochs"),
        (("[data]", "[evaluate]\nlayout_keeps = inf\n[data]"), "evaluate.layout_keeps"),
        (("[data]", "[prompt]\ncontext_tokens = 256\nanswer_tokens = 256\n[data]"), "prompt"),
        (('folders = ["scenes"]', "folders = []"), "data.simulate.folders"),
    ],
)
def test_what_is_wrong_is_named_by_recipe_and_key(change: tuple[str, str], key: str, folder: Path) -> None:
    assert change[0] in GOOD
    path = write(folder, GOOD.replace(*change, 1))
    with pytest.raises(UsageError) as error:
        load_recipe(path)
    assert error.value.where == str(path)
    assert f"key '{key}'" in error.value.what
    assert error.value.hint.startswith(("docs/reference/recipe.md", "did you mean", "known: "))


@pytest.mark.parametrize("name", ["articles/退货.md", "rules.md", "policy.toml", "chats.csv"])
def test_a_file_that_is_not_there_is_named(name: str, folder: Path) -> None:
    path = write(folder, GOOD)
    (folder / name).unlink()
    with pytest.raises(MissingError) as error:
        load_recipe(path)
    assert error.value.where == str(path)
    assert name in error.value.what
    assert str(folder / name) in error.value.hint


def test_a_folder_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "scenes").rmdir()
    with pytest.raises(MissingError, match="no such file or folder: scenes"):
        load_recipe(write(folder, GOOD))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"name = ", UsageError),
        (b"[data\n", UsageError),
        (b"", UsageError),
        ("name = '退货'".encode("gb18030"), InputError),
    ],
)
def test_a_file_that_is_no_toml_is_refused_by_name(data: bytes, kind: type[EdgedeskError], tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(data)
    with pytest.raises(kind, match=r"bad\.toml"):
        load_recipe(path)


def test_a_recipe_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.toml"):
        load_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('en = "articles/en"', 'en = "chats.csv"'), "data.articles.en"),
        (('house_rules = { en = "rules.md"', 'house_rules = { en = "scenes"'), "data.house_rules.en"),
        (('policy = { en = "policy.toml"', 'policy = { en = "scenes"'), "data.policy.en"),
        (('path = "chats.csv"', 'path = "scenes"'), "data.transcripts[0].path"),
        (('folders = ["scenes"]', 'folders = ["rules.md"]'), "data.simulate.folders"),
        (('folder = "scenes"', 'folder = "rules.md"'), "data.faq.folder"),
        (("[data]", '[data]\nreplay = "scenes"'), "data.replay"),
        (("[data]", '[data]\nreplay = "/dev/null"'), "data.replay"),
        (("[data]", '[prompt]\ntemplate = "scenes"\n[data]'), "prompt.template"),
    ],
)
def test_a_path_that_is_something_else_is_named_with_its_key(change: tuple[str, str], key: str, folder: Path) -> None:
    assert change[0] in GOOD
    path = write(folder, GOOD.replace(*change, 1))
    with pytest.raises(UsageError) as error:
        load_recipe(path)
    assert error.value.where == str(path)
    assert error.value.what.startswith(f"{key}: n")


@pytest.mark.parametrize("name", ["a\\u0000b", "x" * 300, "~nobody-of-this-name/x"])
@pytest.mark.parametrize(
    ("table", "key"),
    [
        ('[data]\nreplay = "{}"', "data.replay"),
        ('[base]\nmodel = "{}"\n[data]', "base.model"),
        ('[student]\nmodel = "{}"\n[data]', "student.model"),
        ('[prompt]\ntemplate = "{}"\n[data]', "prompt.template"),
    ],
)
def test_a_path_that_no_file_can_have_is_a_sentence(name: str, table: str, key: str, folder: Path) -> None:
    path = write(folder, GOOD.replace("[data]", table.format(name), 1))
    with pytest.raises(UsageError, match="cannot be used") as error:
        load_recipe(path)
    assert error.value.where == str(path)
    assert error.value.what.startswith(key)
    assert error.value.what.isprintable()
    assert len(error.value.what) < 200


def test_a_question_pattern_with_nul_is_a_sentence(folder: Path) -> None:
    path = write(folder, GOOD.replace("questions-*", "a\\u0000/*"))
    with pytest.raises(UsageError, match=r"data\.questions") as error:
        load_recipe(path)
    assert error.value.what.isprintable()


@pytest.mark.parametrize("bound", ["min_facts_found = 0.5", "min_chrf = 0.5", "max_refused_wrongly = 0.1"])
def test_a_gate_on_answers_needs_questions_to_be_asked(bound: str, folder: Path) -> None:
    gate = f"[evaluate]\nquestions = 0\n[gate]\n{bound}\n[data]"
    with pytest.raises(UsageError, match=rf"gate\.{bound.split()[0]} needs evaluate\.questions"):
        load_recipe(write(folder, GOOD.replace("[data]", gate, 1)))
    other = gate.replace(bound, "max_kl = 0.2\nmin_top1 = 1.0\nmin_hit5 = 0\nmax_perplexity = 30")
    assert load_recipe(write(folder, GOOD.replace("[data]", other, 1))).gate.min_top1 == 1


SHOP_RECIPES = [path.name for path in sorted((ROOT / "recipes").glob("*.toml")) if "/shop/en/" in path.read_text()]


@pytest.mark.parametrize("name", SHOP_RECIPES)
def test_the_recipes_of_the_example_shop_are_good(name: str) -> None:
    recipe = load_recipe(ROOT / "recipes" / name)
    assert recipe.data.articles.keys() == {"en", "zh"}
    assert recipe.prompt.template is None or recipe.prompt.template.is_file()


def test_every_large_teacher_has_a_recipe_with_and_without_a_gpu_that_names_its_licence() -> None:
    for family in ("qwen3-14b-to-4b", "llama2-13b-to-3b"):
        for name in (f"{family}.toml", f"{family}-gpu.toml"):
            assert name in SHOP_RECIPES
            assert re.search("Apache-2.0|Llama 2 Community License", (ROOT / "recipes" / name).read_text())


def test_a_student_is_a_checkpoint_or_a_cut_teacher_not_both(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    for name in ("rules.md", "policy.toml"):
        (tmp_path / name).write_text("x")
    data = '[data]\nhouse_rules = { en = "rules.md" }\npolicy = { en = "policy.toml" }\n'
    path = tmp_path / "r.toml"
    path.write_text(f'name = "r"\n[student]\nmodel = "small"\n{data}')
    assert load_recipe(path).student.model == str(tmp_path / "small")
    assert load_recipe(path).student.learns
    path.write_text(f'name = "r"\n[student]\nmodel = "small"\nlayers = 4\n{data}')
    with pytest.raises(UsageError, match="exclude each other"):
        load_recipe(path)


def parts(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every table of a recipe by its TOML name, the top level as "" first."""
    yield prefix, model
    for name, field in model.model_fields.items():
        for kind in tables(field.annotation):
            yield from parts(kind, f"{prefix}.{name}".lstrip("."))


def tables(annotation: Any) -> list[type[BaseModel]]:
    """The tables among a key's types; none for a plain value."""
    kinds = (annotation, *get_args(annotation))
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def toml(value: Any) -> str:
    """A default as a recipe would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return "{}" if value == {} else str(value)


def test_recipe_reference_names_every_key_with_its_default_and_no_other() -> None:
    """`## [table]` opens a table, or several that share keys; `| `key` | type | default | meaning |` is a key."""
    documented: dict[str, dict[str, str]] = {}
    names: list[str] = []
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            names = re.findall(r"`\[+([\w.]+)\]+`", line) or [""]
        elif row := re.match(r"\| `(\w+)` \| [^|]+ \| ([^|]+?) \| [^|]{5,} \|$", line):
            for name in names:
                keys = documented.setdefault(name, {})
                assert row[1] not in keys, f"{name}.{row[1]} is described twice"
                keys[row[1]] = row[2]
    wanted: dict[str, dict[str, str]] = {}
    for name, model in parts(Recipe):
        for key, field in model.model_fields.items():
            if tables(field.annotation):
                continue
            default = field.get_default(call_default_factory=True)
            text = "required" if default is PydanticUndefined else "none" if default is None else f"`{toml(default)}`"
            wanted.setdefault(name, {})[key] = text
    assert documented == wanted


@pytest.mark.parametrize(
    ("code", "hint"),
    [("zh-CN", '"zh"'), ("EN", '"en"'), ("zh_Hans", '"zh"'), ("chinese", '"en" or "zh"'), ("", '"en"')],
)
def test_language_that_is_no_two_letter_code_is_refused_with_the_one_to_write(code: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"language '{code}' is not a two-letter code")) as error:
        check_language(code)
    assert hint in str(error.value)
    assert check_language("zh") == "zh"


def test_unknown_key_is_called_that(folder: Path) -> None:
    with pytest.raises(UsageError) as error:
        load_recipe(write(folder, GOOD.replace("[data]", "[data]\ncolour = 1", 1)))
    assert error.value.what == "unknown key 'data.colour'"


def test_state_weight_needs_captured_states(folder: Path) -> None:
    wrong = GOOD.replace("[data]", "[student]\nlayers = 3\n[kd]\nstate_weight = 1\n[data]", 1)
    with pytest.raises(UsageError, match=r"kd\.state_weight needs capture\.states"):
        load_recipe(write(folder, wrong))


@pytest.mark.parametrize("name", ["shop [2026]", "a*b", "what?", "plain"])
def test_question_files_are_found_in_a_folder_with_wildcards_in_its_name(name: str, folder: Path) -> None:
    shop = folder.parent / name / "recipe"
    shutil.copytree(folder, shop)
    questions = load_recipe(write(shop, GOOD)).data.questions
    assert len(questions) == 1
    assert glob.glob(questions[0]) == [str(shop / "questions-1.jsonl")]  # noqa: PTH207 - what quantize does


@pytest.mark.parametrize("pattern", ["questions-*.json", "qustions-*.jsonl", "/no/such/*.jsonl", "articles"])
def test_question_pattern_without_a_match_is_refused(pattern: str, folder: Path) -> None:
    with pytest.raises(MissingError, match=r"data\.questions: no file matches") as error:
        load_recipe(write(folder, GOOD.replace("questions-*.jsonl", pattern)))
    assert pattern in error.value.what
    assert error.value.where == str(folder / "shop.toml")
