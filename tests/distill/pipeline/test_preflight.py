"""What a recipe gets wrong is said with its key before any work, and what is right passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distill.pipeline.build import open_build
from distill.pipeline.preflight import FormatChecks, check_recipe
from distill.recipe.recipe import (
    BaseChoice,
    Capture,
    Packing,
    PromptChoice,
    Quantize,
    Recipe,
    Simulation,
    Student,
    Tuning,
)
from distill.recipe.settings import DistillSettings
from edgedesk_build import Chain, check_formats
from quantize.formats.gguf_quantize import check_columns
from quantize.formats.gguf_writer import write_gguf
from runtime.errors import EdgedeskError, InputError, MissingError, ModelError, UsageError
from tests.support.paths import ROOT

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_END = "{% for message in messages %}{{ '<|im_start|>' + message['content'] + '<end>\n' }}{% endfor %}"


@pytest.fixture
def checked(recipe: Recipe, company: Path, tiny_llama: Path, tiny_encoder_folder: Path) -> Any:
    """`checked(**changes of the recipe)` looks at it as a dry run does."""
    assert company.is_dir()

    def check(**changes: Any) -> list[str]:
        models = BaseChoice(model=str(tiny_llama), embedder=str(tiny_encoder_folder))
        made = recipe.model_copy(update={"base": models, **changes})
        checks = FormatChecks(check_formats, lambda columns: check_columns(made.quantize.formats, columns))
        return check_recipe(made, base=None, checks=checks)

    return check


@pytest.fixture
def tiny_encoder_folder(tmp_path: Path) -> Path:
    """Only that it is there is looked at."""
    (tmp_path / "encoder").mkdir()
    return tmp_path / "encoder"


def test_preflight_passes_a_recipe_that_is_right(checked: Any) -> None:
    assert checked() == []
    assert checked(student=Student(layers=2, kv_heads=1, feed_forward=64)) == []
    assert checked(lora=Tuning(modules=("q_proj", "down_proj"))) == []
    assert checked(quantize=Quantize(formats=("q6_k",), default="q6_k")) == []


@pytest.mark.parametrize(
    ("changes", "key", "kind", "said"),
    [
        ({"quantize": Quantize(formats=("Q4_K_M",))}, "quantize.formats", UsageError, "no quantization 'Q4_K_M'"),
        ({"quantize": Quantize(formats=("q8_0", "q2_k"))}, "quantize.formats", UsageError, "q2_k"),
        ({"quantize": Quantize(formats=("q8_0", "q8_0"))}, "quantize.formats", UsageError, "twice"),
        ({"quantize": Quantize(formats=())}, "quantize.formats", UsageError, "none"),
        ({"quantize": Quantize(formats=("q8_0",))}, "quantize.default", UsageError, "'q4_k_m' is not among"),
        ({"quantize": Quantize(onnx=False, onnx_in_bundle=True)}, "quantize.onnx_in_bundle", UsageError, "no ONNX"),
        ({"lora": Tuning(modules=("query",))}, "lora.modules", UsageError, "no linear layer 'query'"),
        ({"lora": Tuning(modules=("embed_tokens",))}, "lora.modules", UsageError, "embed_tokens"),
        ({"teacher": Tuning(modules=("wq",))}, "teacher.modules", UsageError, "wq"),
        ({"kd": DistillSettings(rank=2, modules=("up",))}, "kd.modules", UsageError, "no linear layer 'up'"),
        ({"student": Student(layers=5)}, "student.layers", UsageError, "the base model has 4"),
        ({"student": Student(layers=3, kv_heads=3)}, "student.kv_heads", UsageError, "the base model has 2"),
        ({"student": Student(layers=3, feed_forward=129)}, "student.feed_forward", UsageError, "has 128"),
        ({"student": Student(layers=3, feed_forward=100)}, "student.feed_forward", UsageError, "blocks of 32"),
        ({"languages": ("en", "zh")}, "data.house_rules", UsageError, "language 'zh'"),
        ({"base": BaseChoice(model="owner/m", embedder="none")}, "base.embedder", MissingError, "no embedder 'none'"),
    ],
)
def test_preflight_names_the_key_that_is_wrong(
    changes: dict[str, Any], key: str, kind: type[EdgedeskError], said: str, checked: Any
) -> None:
    with pytest.raises(kind, match=said) as error:
        checked(**changes)
    assert error.value.where == key
    assert error.value.hint


def test_preflight_reads_policies_and_the_template(checked: Any, company: Path, tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(NO_END)
    with pytest.raises(ModelError) as error:
        checked(prompt=PromptChoice(template=template))
    assert error.value.where == "prompt.template"
    (company / "policy.toml").write_text("[refusal]\ntext = 3\n")
    with pytest.raises((InputError, UsageError), match="policy"):
        checked()


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for message in messages %}", "the chat template fails"),
        ("{{ messages[0]['content'] }}", "every message once"),
    ],
)
def test_preflight_looks_at_a_template_for_a_gguf(
    template: str, said: str, checked: Any, tiny_llama: Path, tiny_encoder_folder: Path, tmp_path: Path
) -> None:
    write_gguf(tiny_llama, tmp_path / "base.gguf")
    models = BaseChoice(model=str(tmp_path / "base.gguf"), embedder=str(tiny_encoder_folder))
    assert checked(base=models) == []
    path = tmp_path / "template.jinja"
    path.write_text(template)
    with pytest.raises(ModelError, match=said) as error:
        checked(base=models, prompt=PromptChoice(template=path))
    assert error.value.where == "prompt.template"
    path.write_text(CHATML)
    assert checked(base=models, prompt=PromptChoice(template=path)) == []


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for message in messages %}", "the chat template fails"),
        (CHATML + "{{ range(99999) | random }}{{ range(99999) | random }}", "something else each time"),
    ],
)
def test_preflight_looks_at_a_template_for_a_catalogue_model_that_is_not_here(
    template: str, said: str, checked: Any, tiny_encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEDESK_CACHE", str(tmp_path / "empty"))
    models = BaseChoice(embedder=str(tiny_encoder_folder))
    path = tmp_path / "template.jinja"
    path.write_text(template)
    with pytest.raises(ModelError, match=said) as error:
        checked(base=models, prompt=PromptChoice(template=path))
    assert error.value.where == "prompt.template"
    path.write_text("{{ bos_token }}" + CHATML)
    assert checked(base=models, prompt=PromptChoice(template=path)) == []


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("q.md", "# Questions\n", r"q\.md:1: not a JSON object"),
        ("q.jsonl", '{"question": "Is it free?"}\n{"frage": "Ist es frei?"}\n', r"q\.jsonl:2: unknown column 'frage'"),
    ],
)
def test_preflight_reads_the_questions(
    file: str, content: str, said: str, checked: Any, recipe: Recipe, tmp_path: Path
) -> None:
    path = tmp_path / file
    path.write_text(content)
    asked = recipe.data.model_copy(update={"questions": (str(path),)})
    with pytest.raises(InputError, match=said) as error:
        checked(data=asked)
    assert error.value.where == "data.questions"
    path.write_text('{"question": "Is it free?"}\n')
    checked(data=asked)


def test_preflight_reads_articles_scenes_and_the_first_of_replay(
    checked: Any, recipe: Recipe, company: Path, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "replay.jsonl").write_text('{"text": "Hello"}\n')
    (tmp_path / "latin.md").write_bytes(b"# Caf\xe9\n")
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("data.articles.en", {"articles": {"en": tmp_path / "nothing"}}),
        ("data.articles.en", {"articles": {"en": tmp_path / "latin.md"}}),
        ("data.simulate.folders", {"simulate": Simulation(folders=(tmp_path / "nothing",))}),
        ("data.replay", {"replay": tmp_path / "replay.jsonl"}),
    ]
    for key, changes in wrong:
        with pytest.raises(EdgedeskError) as error:
            checked(data=recipe.data.model_copy(update=changes))
        assert error.value.where == key
        assert str(tmp_path) in error.value.what
    right = {
        "articles": {"en": company / "articles" / "returns.md"},
        "simulate": Simulation(folders=(ROOT / "examples" / "shop" / "en",)),
    }
    (tmp_path / "replay.jsonl").write_text('{"messages": [{"role": "user", "content": "Hello"}]}\n')
    checked(data=recipe.data.model_copy(update={**right, "replay": tmp_path / "replay.jsonl"}))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"student": Student(layers=31)}, "student.layers"),
        ({"student": Student(layers=20, feed_forward=1000)}, "student.feed_forward"),
        ({"student": Student(layers=20, feed_forward=1568)}, "student.feed_forward"),
        ({"student": Student(layers=20, kv_heads=4)}, "student.kv_heads"),
        ({"student": Student(layers=20), "lora": Tuning(modules=("wq",))}, "lora.modules"),
    ],
)
def test_preflight_knows_the_catalogue_without_fetching_from_it(
    changes: dict[str, Any], key: str, checked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEDESK_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UsageError) as error:
        checked(base=BaseChoice(), **changes)
    assert error.value.where == key


def test_preflight_refuses_a_width_that_no_format_stores_whatever_the_model(
    checked: Any, tiny_encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEDESK_CACHE", str(tmp_path / "empty"))
    away = BaseChoice(model="owner/model", embedder=str(tiny_encoder_folder))
    with pytest.raises(UsageError, match="blocks of 32"):
        checked(base=away, student=Student(layers=20, feed_forward=1000))


def test_preflight_names_models_that_are_not_here_yet(
    checked: Any, tiny_encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEDESK_CACHE", str(tmp_path / "empty"))
    away = BaseChoice(model="owner/model", embedder=str(tiny_encoder_folder))
    assert checked(base=away, student=Student(layers=400)) == ["owner/model"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"teacher": Tuning()}, "teacher"),
        ({"capture": Capture(states=True)}, "capture.states"),
        ({"capture": Capture(layout="packing"), "packing": Packing(layout="parallel")}, "capture.layout"),
    ],
)
def test_build_refuses_what_a_gguf_teacher_cannot_do_before_any_work(
    changes: dict[str, Any], key: str, recipe: Recipe, work: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    write_gguf(tiny_llama, tmp_path / "teacher.gguf")
    student = {"student": Student(model=str(tiny_llama)), "teacher": None}
    with pytest.raises(UsageError) as error:
        open_build(recipe.model_copy(update={**student, **changes}), work, base=str(tmp_path / "teacher.gguf"))
    assert error.value.where == key
    assert not work.exists()


def test_chain_names_recipe_and_key(recipe: Recipe, company: Path, tmp_path: Path) -> None:
    wrong = recipe.model_copy(update={"quantize": Quantize(formats=("Q4_K_M",))})
    assert company.is_dir()
    with pytest.raises(UsageError) as error:
        Chain(wrong, tmp_path / "work", source="shop.toml").run()
    assert error.value.where == "shop.toml: quantize.formats"
    assert not (tmp_path / "work").exists()


def test_chain_names_recipe_and_key_of_what_only_the_models_show(
    recipe: Recipe, company: Path, tiny_llama: Path, tiny_encoder_folder: Path, tmp_path: Path
) -> None:
    write_gguf(tiny_llama, tmp_path / "teacher.gguf")
    models = BaseChoice(model=str(tmp_path / "teacher.gguf"), embedder=str(tiny_encoder_folder))
    student = Student(model=str(tiny_llama))
    wrong = recipe.model_copy(
        update={"base": models, "student": student, "teacher": None, "capture": Capture(states=True)}
    )
    assert company.is_dir()
    with pytest.raises(UsageError, match="no hidden states") as error:
        Chain(wrong, tmp_path / "work", source="shop.toml").run()
    assert error.value.where == "shop.toml: capture.states"
    assert not (tmp_path / "work").exists()
