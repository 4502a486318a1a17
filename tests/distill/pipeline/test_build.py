"""The chain of stages: what has not changed is not done again, and what has is."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from distill.data.dataset import read_split
from distill.packing.packing import Pack
from distill.pipeline.build import open_build
from distill.recipe.recipe import Evaluate, Recipe, Student
from distill.recipe.transcript_settings import Transcripts
from quantize.formats.gguf_writer import write_gguf
from runtime.base.jsonl import write_rows
from runtime.base.manifest import Manifest, read_manifest, verify
from runtime.errors import UsageError
from tests.support.company import LEARNING, RUN, TEXTS, leftovers


def test_a_second_run_does_nothing_and_the_first_leaves_whole_folders(
    run: Callable[..., list[str]], work: Path
) -> None:
    assert run() == RUN
    for name in RUN:
        verify(work / name, read_manifest(work / name))
        assert read_manifest(work / name).figures["seconds"] >= 0
    assert leftovers(work) == []
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*")}
    assert run() == []
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*")} == before


def test_the_figures_of_a_build_are_all_measured(built: Path) -> None:
    figures = {name: read_manifest(built / name).figures for name in RUN}
    assert figures["teacher"]["parity_strings"] >= 300
    assert figures["tuned_teacher"]["training"]["packs"] == 1
    assert figures["pruned"]["layers"][0] == 0
    assert figures["pruned"]["layers"][-1] == 3
    assert len(figures["pruned"]["influence"]) == 4
    assert len(figures["pruned"]["errors"]) == 3
    assert figures["pruned"]["held_out"]["kl"] < figures["pruned"]["held_out_before"]["kl"]
    assert figures["student"]["held_out"]["tokens"] > 0
    assert figures["merged"]["largest_logit_difference"] < 1e-3
    assert figures["capture"]["packs"] == 2
    assert json.loads((built / "merged" / "config.json").read_text())["num_hidden_layers"] == 3


@pytest.mark.usefixtures("built")
def test_build_runs_again_only_what_rests_on_a_change(run: Callable[..., list[str]], recipe: Recipe) -> None:
    """`test_stage_table.py` goes through the keys; here that folders and figures follow."""
    lora = {"lora": recipe.lora.model_copy(update={"rank": 4})}
    assert run(**lora) == ["merged"]
    # Other held-out packs give the same student, which is measured again.
    assert run(evaluate=Evaluate(packs=2), **lora) == ["capture", "pruned", "student", "merged"]
    assert run(teacher=None, **lora) == LEARNING[1:]


def test_a_changed_article_reaches_everything_that_reads_it(
    run: Callable[..., list[str]], built: Path, company: Path
) -> None:
    """Also where no record changes: the teacher reads the article's own words."""
    before = (built / "records" / "train.jsonl").read_bytes()
    path = company / "articles" / "returns.md"
    path.write_text(path.read_text(encoding="utf-8").replace("30 days", "45 days"), encoding="utf-8")
    assert run() == ["articles", "teacher", "records", *LEARNING]
    assert (built / "records" / "train.jsonl").read_bytes() == before


@pytest.mark.usefixtures("built")
def test_a_changed_transcript_changes_records_but_not_the_teacher(run: Callable[..., list[str]], company: Path) -> None:
    path = company / "en.csv"
    path.write_text(path.read_text().replace("nothing", "€5"), encoding="utf-8")
    ran = run()
    assert "teacher" not in ran
    assert ran[-6:] == ["records", *LEARNING]


def test_another_base_starts_again_from_the_teacher(
    run: Callable[..., list[str]], built: Path, tiny_qwen2: Path
) -> None:
    assert run(base=tiny_qwen2) == ["teacher", "prompt", *LEARNING]
    assert json.loads((built / "merged" / "config.json").read_text())["model_type"] == "qwen2"


@pytest.mark.usefixtures("built")
def test_a_build_may_be_told_to_go_on_from_a_stage(run: Callable[..., list[str]]) -> None:
    assert run(force_from="student") == ["student", "merged"]
    assert run() == []


def test_a_stage_folder_that_was_lost_or_lost_its_manifest_is_made_again(
    run: Callable[..., list[str]], built: Path
) -> None:
    shutil.rmtree(built / "merged")
    assert run() == ["merged"]
    (built / "merged" / "manifest.json").write_text("{")
    assert run() == ["merged"]


def test_without_layers_the_base_itself_is_tuned(run: Callable[..., list[str]], work: Path) -> None:
    assert run(student=Student()) == ["articles", "teacher", "prompt", "records", "merged"]
    assert run(student=Student(), force_from="student") == ["merged"]
    assert json.loads((work / "merged" / "config.json").read_text())["num_hidden_layers"] == 4


def test_a_dry_run_predicts_hours_and_disk_and_captures_nothing(recipe: Recipe, work: Path, tiny_llama: Path) -> None:
    build = open_build(recipe, work, base=str(tiny_llama))
    predicted = build.predict(write_gguf, 3)
    assert predicted["hours"] >= 0
    assert predicted["gigabytes"] > 0
    assert predicted["sampled_records"] >= 3
    assert sorted(path.name for path in work.iterdir()) == ["articles", "prompt", "records", "teacher"]
    with pytest.raises(UsageError, match="captures no teacher"):
        open_build(recipe.model_copy(update={"student": Student()}), work, base=str(tiny_llama)).predict(write_gguf, 3)


def test_packs_hold_both_languages_and_the_seed_decides_their_order(
    recipe: Recipe, work: Path, company: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zh = company / "zh-articles"
    zh.mkdir()
    for name in TEXTS:
        text = f"---\nlang: zh\n---\n# 退货{name}\n\n## 一 {{#one}}\n\n30天内可以退货。\n\n## 二 {{#two}}\n\n免费。\n"
        (zh / f"{name}.md").write_text(text, encoding="utf-8")
    data = recipe.data
    both = recipe.model_copy(
        update={
            "languages": ("en", "zh"),
            "student": Student(),
            "data": data.model_copy(
                update={
                    "articles": {**data.articles, "zh": zh},
                    "house_rules": {**data.house_rules, "zh": company / "rules.md"},
                    "policy": {**data.policy, "zh": company / "policy.toml"},
                    "transcripts": (*data.transcripts, Transcripts(path=company / "zh.csv")),
                }
            ),
        }
    )
    build = open_build(both, work, base=str(tiny_llama))
    manifests: dict[str, Manifest] = build.run(write_gguf)
    assert manifests["articles"].figures["articles"] == {"en": 2, "zh": 2}
    packs = build.packs("train", limit=1000)
    chinese = [pack for pack in packs if "退货" in build.tokenizer.decode(pack.tokens[: pack.prefix])]
    assert 0 < len(chinese) < len(packs)
    assert packs == build.packs("train", limit=1000)
    assert build.packs("train", limit=2) == packs[:2]
    assert build.packs("train", limit=1000, skip=1) == [*packs[1:], packs[0]]
    assert build.packs("train", limit=1, skip=len(packs) + 2) == [packs[2]]
    capsys.readouterr()
    open_build(both.model_copy(update={"languages": ("zh", "en")}), work, base=str(tiny_llama)).run(write_gguf)
    assert re.search(r"^prompt +done in", capsys.readouterr().err, re.MULTILINE)
    assert not names(packs) & names(build.packs("test", limit=1000))

    said = {"response": "How long you may return it? 30 days", "evidence": ("returns#one",)}
    rows = [row.model_copy(update=said) for row in read_split(work / "records", "train", "en")]
    write_rows(work / "records" / "train.jsonl", rows)
    quoting = both.model_copy(update={"packing": both.packing.model_copy(update={"replies": "quoted"})})

    def replies(packs: Sequence[Pack]) -> set[str]:
        return {build.tokenizer.decode(p.tokens[reply:end]) for p in packs for _, reply, end in p.branches}

    assert replies(build.packs("train", limit=1000)) == {said["response"]}
    quoted = replace(build, recipe=quoting).packs("train", limit=1000)
    assert replies(quoted) == {"How long you may return it: 30 days."}


def names(packs: list[Pack]) -> set[str]:
    return {name for pack in packs for name in pack.records}
