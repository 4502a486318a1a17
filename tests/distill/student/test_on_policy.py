"""On-policy polish: the student learns from what it writes itself, or the build says early why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from distill.packing.packing import Pack
from distill.pipeline.build import open_build
from distill.recipe.recipe import Recipe, Student
from distill.recipe.settings import PolishSettings
from distill.student import on_policy as module
from distill.student.on_policy import prompts_of
from runtime.base.manifest import read_manifest
from runtime.errors import MissingError, UsageError
from tests.support.company import RUN


def test_a_prompt_is_the_tokens_a_branch_reads_or_left_out_and_counted(packs: list[Pack], tiny_llama: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    texts, others = prompts_of(packs, tokenizer)
    assert len(texts) + others == sum(len(pack.branches) for pack in packs)
    assert texts
    assert all(text.endswith("<|im_start|>assistant\n") for text in texts)
    first = packs[0].branches[0]
    wanted = [*packs[0].tokens[: packs[0].prefix], *packs[0].tokens[first[0] : first[1]]]
    assert wanted in [tokenizer(text)["input_ids"] for text in texts]


def test_a_polished_student_moves_and_is_what_is_tuned(run: Callable[..., list[str]], built: Path) -> None:
    pytest.importorskip("trl", reason="the extra `polish` is not installed")
    before = read_manifest(built / "student").figures["held_out"]["kl"]
    settings = PolishSettings(packs=1, batch=2, learning_rate=1e-3)
    assert run(polish=settings) == ["polished", "merged"]
    figures = read_manifest(built / "polished").figures
    assert figures["training"]["steps"] >= 1
    assert figures["training"]["loss_first_quarter"] > 0
    assert figures["held_out"]["kl"] != before
    assert run(polish=settings) == []
    assert run() == ["merged"]
    assert [name for name in RUN if not (built / name).is_dir()] == []


def test_polish_is_refused_before_anything_runs(
    recipe: Recipe, work: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipe.model_copy(update={"polish": PolishSettings(), "student": Student()})
    monkeypatch.setattr(module, "find_spec", lambda _: object())
    with pytest.raises(UsageError, match="student that learns"):
        open_build(wanted, work, base=str(tiny_llama))
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match="TRL is not installed") as error:
        open_build(wanted, work, base=str(tiny_llama))
    assert "edgedesk[polish]" in error.value.hint
    assert not work.exists()
