"""The main job from recipe to answer on tiny random models: every stage, format, process and command is real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgedesk
from distill.recipe.recipe import BaseChoice, Capture, Evaluate, Gate, Recipe, Simulation, Student, Tuning, load_recipe
from distill.recipe.release_gate import check_gate
from runtime.engine.llama import article_cache
from runtime.errors import GateError, UsageError
from tests.support.paths import ROOT


def small(recipe: Recipe, encoder: Path, **changes: object) -> Recipe:
    """The recipe with the least of everything."""
    simulate = recipe.data.simulate
    data = recipe.data.model_copy(
        update={"simulate": simulate and Simulation(folders=simulate.folders, conversations=200, seed=simulate.seed)}
    )
    return recipe.model_copy(
        update={
            "base": BaseChoice(model=recipe.base.model, embedder=str(encoder)),
            "data": data,
            "capture": Capture(packs=3, states=True),
            "lora": Tuning(packs=3, rank=4),
            "evaluate": Evaluate(packs=2, questions=4),
            "gate": Gate(),
            **changes,
        }
    )


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
def built(
    tiny_llama: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, Path, dict[str, object]]:
    """The demo's recipe on the tiny Llama, in a path with spaces."""
    work = tmp_path_factory.mktemp("a work folder") / "demo build"
    recipe = small(load_recipe(ROOT / "recipes" / "demo.toml"), tiny_encoder, student=Student(layers=3))
    return recipe, work, edgedesk.run_chain(recipe, work, base=str(tiny_llama), from_stage=None)


def test_every_stage_leaves_a_manifest_with_its_time_and_memory(built: tuple[Recipe, Path, dict[str, object]]) -> None:
    _, work, figures = built
    stages = figures["stages"]
    assert isinstance(stages, dict)
    assert {"articles", "teacher", "prompt", "records", "capture", "pruned", "student", "merged"} <= set(stages)
    assert {"f16", "q8_0", "q4_k_m", "onnx", "embedder", "measured", "answers", "bundle"} <= set(stages)
    assert all(row["peak_mb"] > 0 for row in stages.values())
    assert not list(work.rglob("*.partial"))
    assert not list(work.rglob(".scratch-*"))


def test_a_second_build_runs_nothing(
    built: tuple[Recipe, Path, dict[str, object]], tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, work, first = built
    capsys.readouterr()
    second = edgedesk.run_chain(recipe, work, base=str(tiny_llama), from_stage=None)
    said = capsys.readouterr().err
    assert " done in " not in said
    assert " took " not in said
    assert {**second, "seconds_this_run": 0} == {**first, "seconds_this_run": 0}


@pytest.mark.parametrize(
    ("first", "ran"),
    [
        (
            "merged",
            [
                "merged",
                "f16",
                "untuned",
                "q8_0",
                "q4_k_m",
                "onnx",
                "embedder",
                "vectors",
                "heads",
                "measured",
                "answers",
                "bundle",
            ],
        ),
        ("answers", ["answers", "bundle"]),
    ],
)
def test_a_build_from_a_stage_on_runs_all_behind_it(
    first: str,
    ran: list[str],
    built: tuple[Recipe, Path, dict[str, object]],
    tiny_llama: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, work, _ = built
    capsys.readouterr()
    edgedesk.run_chain(recipe, work, base=str(tiny_llama), from_stage=first)
    said = re.findall(r"^(?:quantize: )?(\S+) +(?:done in|took) ", capsys.readouterr().err, re.MULTILINE)
    assert said == ran


def test_a_stage_there_is_not_is_refused_before_any_work(tiny_llama: Path, tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "recipes" / "demo.toml")
    with pytest.raises(UsageError, match="no stage 'q5_k_m'") as error:
        edgedesk.run_chain(recipe, tmp_path / "work", base=str(tiny_llama), from_stage="q5_k_m")
    assert "articles, teacher" in error.value.hint
    assert "answers, bundle" in error.value.hint
    assert not (tmp_path / "work").exists()


def test_the_measured_table_compares_every_format(built: tuple[Recipe, Path, dict[str, object]]) -> None:
    rows = built[2]["quantized"]
    assert isinstance(rows, list)
    assert {row["format"] for row in rows} >= {"q8_0", "q4_k_m", "onnx"}
    for row in rows:
        assert row["kl"] >= 0
        assert 0 <= row["top1"] <= 1


def test_the_bundle_installs_and_answers_in_both_languages(
    built: tuple[Recipe, Path, dict[str, object]], tmp_path: Path
) -> None:
    _, work, _ = built
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


def test_a_changed_file_is_refused_at_install(built: tuple[Recipe, Path, dict[str, object]], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(built[1] / "bundle", bundle)
    article = next((bundle / "articles").rglob("*.md"))
    article.write_bytes(article.read_bytes()[:-1] + b"!")
    done = edgedesk_command("install", str(bundle), home=tmp_path / "home")
    assert done.returncode == 6
    assert article.name in done.stderr
    assert not (tmp_path / "home" / "current").exists()


def test_the_chinese_shop_builds_on_a_qwen2_base(tiny_qwen2: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    recipe = small(load_recipe(ROOT / "recipes" / "shop-zh.toml"), tiny_encoder)
    figures = edgedesk.run_chain(recipe, tmp_path / "zh", base=str(tiny_qwen2), from_stage=None)
    records = (tmp_path / "zh" / "records" / "train.jsonl").read_text(encoding="utf-8")
    assert "退货" in records
    assert "�" not in records
    assert figures["parity_strings"] >= 300
    home = tmp_path / "home"
    assert edgedesk_command("install", str(tmp_path / "zh" / "bundle"), home=home).returncode == 0
    asked = edgedesk_command("ask", "保修期是多久？", "--json", home=home)
    assert asked.returncode == 0, asked.stderr


@pytest.mark.parametrize("name", ["retail-policy", "bitcoin-faq"])
def test_public_data_goes_through_the_same_chain(
    name: str, shared_data: Path, tiny_llama: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    assert shared_data.is_dir()
    recipe = small(load_recipe(ROOT / "recipes" / f"{name}.toml"), tiny_encoder, student=Student(layers=3))
    recipe = recipe.model_copy(update={"quantize": recipe.quantize.model_copy(update={"onnx": False})})
    figures = edgedesk.run_chain(recipe, tmp_path / "work", base=str(tiny_llama), from_stage=None)
    assert figures["records"]["train"] > 0
    home = tmp_path / "home"
    assert edgedesk_command("install", str(tmp_path / "work" / "bundle"), home=home).returncode == 0
    asked = edgedesk_command("ask", "What happens with a refund?", "--json", home=home)
    assert asked.returncode == 0, asked.stderr


def test_a_file_that_cannot_be_composed_is_asked_plainly_and_the_bundle_reads_so(
    built: tuple[Recipe, Path, dict[str, object]], tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, work, before = built

    def again() -> dict[str, Any]:
        return edgedesk.run_chain(recipe, work, base=str(tiny_llama), from_stage="answers")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(article_cache, "self_test", lambda *_: "its memory lies")
        layout = again()["layout"]
    assert layout["wanted"] == "sequential"
    assert layout["used"] == "exact"
    assert "its memory lies" in layout["reason"]
    assert "asked `exact`" in capsys.readouterr().err
    assert json.loads((work / "bundle" / "prompt.json").read_text())["layout"] == "exact"
    assert again()["layout"] == before["layout"]


def test_a_release_below_its_gate_is_stopped_with_the_reasons(built: tuple[Recipe, Path, dict[str, object]]) -> None:
    recipe = built[0]
    with pytest.raises(GateError, match=r"KL .* over .*hit@5 .* under"):
        check_gate(recipe.model_copy(update={"gate": Gate(max_kl=-1.0, min_hit5=1.1)}), built[2])
    check_gate(recipe.model_copy(update={"gate": Gate(max_kl=99.0, min_hit5=0.0)}), built[2])
