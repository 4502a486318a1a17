"""Repair in closed form: a pruned student holds its teacher's states again as far as a linear map can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.packing.forward import forward
from distill.packing.packing import Pack, apply_layout
from distill.student.depth_pruning import prune_depth
from distill.student.layer_refit import refit_layers
from runtime.errors import UsageError
from runtime.prompting.prompt_tokens import Layout

OpenModel = Callable[..., Any]


@pytest.fixture
def teacher(tiny_llama: Path, open_model: OpenModel) -> Any:
    return open_model(tiny_llama)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def missed(student: Any, teacher: Any, packs: list[Pack]) -> float:
    """Relative squared error of the last hidden states; the teacher reads plainly."""
    with torch.no_grad():
        plain = apply_layout(packs, "exact")
        pairs = [(forward(student, pack), forward(teacher, read)) for pack, read in zip(packs, plain, strict=True)]
    return sum(float(((a - b) ** 2).sum() / (b**2).sum()) for a, b in pairs) / len(pairs)


def test_work_that_is_a_linear_map_of_the_layer_before_is_taken_over_wholly(
    teacher: Any, tiny_llama: Path, open_model: OpenModel, packs: list[Pack]
) -> None:
    """The teacher's layer 2 hands on what it is given, and layer 1's attention writes three times the student's."""
    keep = [0, 1, 3]
    student = prune_depth(open_model(tiny_llama), keep)
    with torch.no_grad():
        teacher.model.layers[2].self_attn.o_proj.weight.zero_()
        teacher.model.layers[2].mlp.down_proj.weight.zero_()
        teacher.model.layers[1].self_attn.o_proj.weight.mul_(3)
        for model in (teacher, student):
            model.model.layers[1].mlp.down_proj.weight.zero_()
    assert missed(student, teacher, packs) > 1e-3
    errors = refit_layers(student, teacher, keep, packs, ridge=1e-7)
    assert max(errors) < 1e-6
    assert missed(student, teacher, packs) < 1e-5


def test_a_student_with_every_layer_is_left_as_it_is(
    teacher: Any, tiny_llama: Path, open_model: OpenModel, packs: list[Pack]
) -> None:
    student = open_model(tiny_llama)
    before = weights(student)
    assert max(refit_layers(student, teacher, [0, 1, 2, 3], packs)) < 1e-9
    assert all(torch.allclose(weight, before[name], atol=1e-5) for name, weight in student.named_parameters())


def test_the_states_come_nearer_on_packs_it_was_not_fitted_on(
    teacher: Any, tiny_llama: Path, open_model: OpenModel, packs: list[Pack]
) -> None:
    keep = [0, 3]
    student = prune_depth(open_model(tiny_llama), keep)
    before = missed(student, teacher, packs[-1:])
    seen: list[int] = []
    refit_layers(student, teacher, keep, packs[:-1], ridge=0.1, advance=seen.append)
    assert missed(student, teacher, packs[-1:]) < before
    assert sum(seen) == 2 * sum(len(pack.tokens) for pack in packs[:-1])


@pytest.mark.parametrize("layout", ["parallel", "sequential"])
def test_a_student_that_reads_compiled_articles_comes_nearer_to_plain_reading(
    teacher: Any, tiny_llama: Path, open_model: OpenModel, packs: list[Pack], layout: Layout
) -> None:
    student, laid_out = open_model(tiny_llama), apply_layout(packs, layout)
    before = missed(student, teacher, laid_out)
    errors = refit_layers(student, teacher, range(4), laid_out, ridge=0.1)
    assert missed(student, teacher, laid_out) < 0.9 * before
    assert 0 < errors[-1] < before


def test_only_what_layers_write_is_moved_and_the_teacher_not_at_all(
    teacher: Any, tiny_llama: Path, open_model: OpenModel, packs: list[Pack]
) -> None:
    student = prune_depth(open_model(tiny_llama), [0, 1, 3])
    before, teachers = weights(student), weights(teacher)
    refit_layers(student, teacher, [0, 1, 3], packs[:2])
    changed = {name for name, weight in student.named_parameters() if not torch.equal(weight, before[name])}
    assert changed <= {name for name in before if name.endswith(("o_proj.weight", "down_proj.weight"))}
    assert {"model.layers.1.mlp.down_proj.weight", "model.layers.1.self_attn.o_proj.weight"} <= changed
    assert all(torch.equal(weight, teachers[name]) for name, weight in teacher.named_parameters())
    assert not any(module._forward_pre_hooks for module in student.modules())


def test_layers_of_another_build_are_refused(teacher: Any, packs: list[Pack]) -> None:
    class Other(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch.nn.Module()
            self.model.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])

    with pytest.raises(UsageError, match="cannot be refitted"):
        refit_layers(Other(), teacher, [0], packs[:1])
