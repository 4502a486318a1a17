"""The main job from recipe to answer on tiny random models: every stage, format, process and command is real.

Small, so that it runs often: two thirds of the shop's articles, a pack or two for each stage.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from distill.data.simulate import simulate
from distill.recipe.load_recipe import load_recipe
from distill.recipe.recipe import BaseChoice, Capture, Evaluate, Gate, Recipe, Simulation, Student, Tuning
from edgedesk_build import BuildReport, Chain, print_report
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama import self_test
from runtime.engine.llama.engine import LlamaEngine
from runtime.errors import UsageError
from tests.support.paths import ROOT

QUANTIZE_STAGES = (
    "f16", "untuned", "importance", "q8_0", "q4_k_m", "onnx",
    "embedder", "vectors", "heads", "measured", "answers", "bundle",
)  # fmt: skip


# Building models and asking them takes minutes where other tests run too.
pytestmark = pytest.mark.timeout(1200)
PRODUCTS = "nl-*.md"
"""Articles about single products, which no question of these tests is about."""


def few_articles(recipe: Recipe, folder: Path) -> dict[str, Path]:
    """The recipe's articles by language, those about products left out."""
    for lang, source in recipe.data.articles.items():
        shutil.copytree(source, folder / lang, ignore=shutil.ignore_patterns(PRODUCTS))
    return {lang: folder / lang for lang in recipe.data.articles}


def small(recipe: Recipe, encoder: Path, articles: Path | None, **changes: object) -> Recipe:
    """The recipe with the least of everything; a few of its articles, in a folder of their own, where one is named."""
    simulate = recipe.data.simulate
    data = recipe.data.model_copy(
        update={
            "articles": few_articles(recipe, articles) if articles else recipe.data.articles,
            "simulate": simulate and Simulation(folders=simulate.folders, conversations=200, seed=simulate.seed),
        }
    )
    return recipe.model_copy(
        update={
            "base": BaseChoice(model=recipe.base.model, embedder=str(encoder)),
            "data": data,
            "capture": Capture(packs=2, states=True),
            "teacher": recipe.teacher and Tuning(packs=1, rank=2),
            "lora": Tuning(packs=2, rank=2),
            "evaluate": Evaluate(packs=1, questions=2, attacks=2),
            "gate": Gate(),
            **changes,
        }
    )


def without_onnx(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"quantize": recipe.quantize.model_copy(update={"onnx": False})})


def edgedesk_command(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "edgedesk.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "EDGEDESK_HOME": str(home)},
        check=False,
    )


@pytest.fixture(scope="module")
def recipe(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The demo's recipe, a student of three layers."""
    demo, articles = load_recipe(ROOT / "recipes" / "demo.toml"), tmp_path_factory.mktemp("articles") / "few"
    return small(demo, tiny_encoder, articles, student=Student(layers=3, repair_packs=1))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the work folder always is: manifests know files by their paths. With spaces and brackets in the name."""
    return tmp_path_factory.mktemp("a work folder") / "shop [2026]"


@pytest.fixture(scope="module")
def finished(root: Path, recipe: Recipe, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder after its first build, kept aside with its report and what the build left in the user's home."""
    kept = tmp_path_factory.mktemp("finished")
    (kept / "home").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(kept / "home"))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            patch.delenv(name, raising=False)
        report = Chain(recipe, root, base=str(tiny_llama)).run()
    (kept / "report.json").write_text(report.model_dump_json())
    shutil.copytree(root, kept / "work")
    return kept


@pytest.fixture(scope="module")
def report(finished: Path) -> BuildReport:
    return BuildReport.model_validate_json((finished / "report.json").read_text())


@pytest.fixture
def work(finished: Path, root: Path) -> Path:
    """The work folder as the first build left it, whatever another test did there."""
    shutil.rmtree(root, ignore_errors=True)
    return shutil.copytree(finished / "work", root)


@pytest.fixture
def rebuild(
    recipe: Recipe, work: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[BuildReport, list[str]]]:
    """Builds again; returns the report and the stages that ran."""

    def run(**changes: str) -> tuple[BuildReport, list[str]]:
        capsys.readouterr()
        report = Chain(recipe, work, base=str(tiny_llama), **changes).run()  # type: ignore[arg-type]
        ran = re.findall(r"^(?:quantize: )?(\S+) +done in ", capsys.readouterr().err, re.MULTILINE)
        return report, ran

    return run


def test_chain_leaves_a_manifest_with_time_and_memory_for_every_stage(finished: Path, report: BuildReport) -> None:
    distilled = {"articles", "teacher", "prompt", "records", "capture", "pruned", "student", "merged"}
    assert distilled | set(QUANTIZE_STAGES) <= set(report.stages)
    assert all(cost.peak_mb > 0 for cost in report.stages.values())
    assert not list((finished / "work").rglob("*.partial"))
    assert not list((finished / "work").rglob(".scratch-*"))


def test_chain_writes_nothing_outside_its_work_folder_but_its_cache(finished: Path) -> None:
    """No cache, queue or log of a library's, only our own encoders; sockets are denied in this process."""
    ours = finished / "home" / ".cache" / "edgedesk"
    assert [path for path in (finished / "home").rglob("*") if path.is_file() and ours not in path.parents] == []
    assert [path.name for path in ours.iterdir()] == ["encoders"]


def test_chain_runs_nothing_in_a_second_build(
    rebuild: Callable[..., tuple[BuildReport, list[str]]], report: BuildReport
) -> None:
    second, ran = rebuild()
    assert ran == []
    assert second.model_copy(update={"seconds_this_run": 0}) == report.model_copy(update={"seconds_this_run": 0})


def test_chain_forces_every_stage_after_the_one_it_starts_from(recipe: Recipe, tmp_path: Path) -> None:
    assert Chain(recipe, tmp_path).forced_quantize_stages() == ()
    assert Chain(recipe, tmp_path, from_stage="merged").forced_quantize_stages() == QUANTIZE_STAGES
    assert Chain(recipe, tmp_path, from_stage="answers").forced_quantize_stages() == ("answers", "bundle")


def test_chain_refuses_an_unknown_stage_before_any_work(recipe: Recipe, tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no stage 'q5_k_m'") as error:
        Chain(recipe, tmp_path / "work", base=str(tiny_llama), from_stage="q5_k_m").run()
    assert "articles, teacher" in error.value.hint
    assert "answers, bundle" in error.value.hint
    assert not (tmp_path / "work").exists()


def test_chain_measures_every_format(report: BuildReport) -> None:
    assert {row.format for row in report.quantized} >= {"q8_0", "q4_k_m", "onnx"}
    for row in report.quantized:
        assert row.kl >= 0
        assert 0 <= row.top1 <= 1


def test_chain_report_prints_a_path_with_brackets_as_it_is(report: BuildReport, root: Path) -> None:
    """Rich reads `[/]` in a plain string as markup and ends with a MarkupError."""
    console = Console(record=True, width=200, file=io.StringIO())
    print_report(report.model_copy(update={"bundle": root / "a [/] b"}), console)
    printed = console.export_text()
    assert f"bundle: {root}/a [/] b" in printed
    for title in ("Where the time went", "Student vs teacher", "Files vs", "Retrieval", "Answers", "layout: "):
        assert title in printed
    assert "{" not in printed, "an object in a cell makes a table of one letter a line"


def test_gate_figures_of_a_build_are_those_of_the_default_file(report: BuildReport, recipe: Recipe) -> None:
    figures = report.gate_figures(recipe)
    assert {name.split("_", 1)[1] for name in Gate.model_fields} <= set(figures)
    assert figures["kl"] == report.student["tuned"]["kl"]
    assert figures["hit5"] == report.retrieval["en"]["hit@5"]
    assert figures["perplexity"] == next(row.perplexity for row in report.quantized if row.format == "q4_k_m")
    unmeasured = report.model_copy(update={"student": {}, "retrieval": {}, "answers": {}, "quantized": []})
    figures = unmeasured.gate_figures(recipe)
    assert (figures["kl"], figures["hit5"], figures["perplexity"]) == (0.0, None, None)
    assert "facts_found" not in figures


def planted_values(recipe: Recipe) -> set[str]:
    """What the simulated customers say of themselves, where it is long enough to stand nowhere by chance."""
    assert recipe.data.simulate is not None
    folders, count = recipe.data.simulate.folders, recipe.data.simulate.conversations
    kinds = ("name", "email", "phone", "order_id", "address")
    return {
        value
        for folder in folders
        for conversation in simulate(folder, conversations=count // len(folders), seed=recipe.data.simulate.seed)
        for turn in conversation.turns
        for kind, value in turn.entities.items()
        if kind in kinds and len(value) >= 6
    }


STARTS = (
    "My e-mail address is", "My order number is NL-", "I am", "My address is", "Call me on +",
    "我的订单号是", "我叫", "我的电话是",
)  # fmt: skip


def test_planted_values_are_in_no_file_of_a_build_and_in_nothing_its_model_writes(
    work: Path, recipe: Recipe, count_trials: Callable[[str, int], None]
) -> None:
    """Part of S11: what customers said of themselves is gone before anything is learned from it."""
    values = planted_values(recipe)
    assert len(values) > 50
    files = [path for path in work.rglob("*") if path.is_file()]
    assert len(files) > 40
    for path in files:
        data = path.read_bytes()
        assert [value for value in values if value.encode() in data] == [], path
    (model,) = (work / "bundle" / "model").glob("q4_k_m.gguf")
    with LlamaEngine(EngineOptions(model, context_tokens=512, threads=1, slots=1)) as engine:
        for number, start in enumerate(STARTS):
            tokens = engine.vocab.encode(start, control=False)
            for temperature in (0.0, 1.0):
                params = SamplingParams(max_tokens=48, temperature=temperature, seed=number)
                pieces = engine.generate(tokens, params, threading.Event())
                written = start + "".join(piece.text for piece in pieces)
                assert [value for value in values if value in written] == []
    count_trials("S11", len(values))


def test_bundle_installs_and_answers_in_both_languages(work: Path, tmp_path: Path) -> None:
    home = tmp_path / "a branch's home"
    installed = edgedesk_command("install", str(work / "bundle"), "--json", home=home)
    assert installed.returncode == 0, installed.stderr
    assert json.loads(installed.stdout)["generation"] == 1
    for question, lang in (("How long do I have to return something?", "en"), ("退货期限是多久？", "zh")):
        asked = edgedesk_command("ask", question, "--json", home=home)
        assert asked.returncode == 0, asked.stderr
        answer = json.loads(asked.stdout)
        assert set(answer) == {"answer", "citations", "ttft_s", "tokens_per_s", "model"}
        for citation in answer["citations"]:
            assert set(citation) == {"article", "section", "text"}
            text = (work / "articles" / lang / f"{citation['article']}.md").read_text(encoding="utf-8")
            assert citation["text"] in text
    # SmolLM2's recipe writes English only: a Chinese question is answered with the Chinese section itself.
    assert answer["citations"][0]["text"] in answer["answer"]


def test_bundle_with_a_changed_file_is_refused_at_install(work: Path, tmp_path: Path) -> None:
    article = next((work / "bundle" / "articles").rglob("*.md"))
    article.write_bytes(article.read_bytes()[:-1] + b"!")
    done = edgedesk_command("install", str(work / "bundle"), home=tmp_path / "home")
    assert done.returncode == 6
    assert article.name in done.stderr
    assert not (tmp_path / "home" / "current").exists()


def test_chain_builds_the_chinese_shop_on_a_qwen2_base(tiny_qwen2: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    recipe = without_onnx(small(load_recipe(ROOT / "recipes" / "shop-zh.toml"), tiny_encoder, tmp_path / "few"))
    report = Chain(recipe, tmp_path / "zh", base=str(tiny_qwen2)).run()
    records = (tmp_path / "zh" / "records" / "train.jsonl").read_text(encoding="utf-8")
    assert "退货" in records
    assert "�" not in records
    assert report.parity_strings >= 300
    home = tmp_path / "home"
    assert edgedesk_command("install", str(tmp_path / "zh" / "bundle"), home=home).returncode == 0
    asked = edgedesk_command("ask", "保修期是多久？", "--json", home=home)
    assert asked.returncode == 0, asked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["retail-policy", "bitcoin-faq"])
def test_chain_builds_from_public_data(
    name: str, shared_data: Path, tiny_llama: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    assert shared_data.is_dir()
    public = load_recipe(ROOT / "recipes" / f"{name}.toml")
    recipe = without_onnx(small(public, tiny_encoder, None, student=Student(layers=3)))
    report = Chain(recipe, tmp_path / "work", base=str(tiny_llama)).run()
    assert report.records["train"] > 0
    home = tmp_path / "home"
    assert edgedesk_command("install", str(tmp_path / "work" / "bundle"), home=home).returncode == 0
    asked = edgedesk_command("ask", "What happens with a refund?", "--json", home=home)
    assert asked.returncode == 0, asked.stderr


def test_bundle_reads_exact_where_composed_articles_are_not_bit_equal(
    rebuild: Callable[..., tuple[BuildReport, list[str]]], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "self_test", lambda *_: "its memory lies")
    report, ran = rebuild(from_stage="answers")
    assert ran == ["answers", "bundle"]
    assert report.layout.wanted == "sequential"
    assert report.layout.used == "exact"
    assert "its memory lies" in report.layout.reason
    assert json.loads((work / "bundle" / "prompt.json").read_text())["layout"] == "exact"
