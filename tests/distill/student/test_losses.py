"""The distillation loss: what it measures, and that it can always be learned from."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.student.losses import full_kl, topk_jsd, topk_kl, topk_reverse_kl

seeds = st.integers(0, 2**32 - 1)
scales = st.floats(0.01, 30)


def draw(seed: int, rows: int, vocab: int, scale: float) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * scale


def top(teacher: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    logprobs, ids = torch.log_softmax(teacher.float(), -1).topk(k, -1)
    return ids, logprobs


@settings(deadline=None)
@given(seeds, st.integers(2, 40), scales, scales)
def test_with_the_whole_vocabulary_it_is_the_full_kl(seed: int, vocab: int, ours: float, theirs: float) -> None:
    student, teacher = draw(seed, 5, vocab, ours), draw(seed + 1, 5, vocab, theirs)
    assert torch.allclose(topk_kl(student, *top(teacher, vocab)), full_kl(student, teacher), rtol=1e-4, atol=1e-4)


@settings(deadline=None)
@given(seeds, st.integers(2, 40), scales, scales, st.data())
def test_it_never_exceeds_the_full_kl(seed: int, vocab: int, ours: float, theirs: float, data: st.DataObject) -> None:
    student, teacher = draw(seed, 5, vocab, ours), draw(seed + 1, 5, vocab, theirs)
    ids, logprobs = top(teacher, data.draw(st.integers(1, vocab)))
    bound, full = topk_kl(student, ids, logprobs), full_kl(student, teacher)
    # One minus a sum in f32 is off by some 1e-7, which counts where the tail is hardly more.
    tail, teacher_tail = (
        1 - torch.softmax(logits.double(), -1).gather(-1, ids).sum(-1) for logits in (student, teacher)
    )
    slack = 1e-4 + 1e-4 * full + teacher_tail * (5e-7 / tail.clamp_min(1e-6))
    assert (bound <= full + slack).all()
    assert (bound >= -slack).all()


@settings(deadline=None)
@given(seeds, st.integers(2, 40), scales, st.data())
def test_equal_models_lose_nothing(seed: int, vocab: int, scale: float, data: st.DataObject) -> None:
    teacher = draw(seed, 5, vocab, scale)
    assert topk_kl(teacher, *top(teacher, data.draw(st.integers(1, vocab)))).abs().max() < 1e-4


def test_mass_in_the_wrong_tail_counts() -> None:
    """By hand: teacher ½ on token 0 and ½ elsewhere, student ⅘ and ⅕."""
    teacher = torch.tensor([[0.5, 0.25, 0.25]]).log()
    student = torch.tensor([[0.8, 0.1, 0.1]]).log()
    wanted = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    assert topk_kl(student, *top(teacher, 1)).item() == pytest.approx(wanted, rel=1e-5)


def test_a_sure_teacher_with_an_empty_tail_gives_a_number() -> None:
    teacher = torch.tensor([[200.0, 0.0, 0.0, 0.0]])
    for student in (teacher, torch.tensor([[0.0, 200.0, 0.0, 0.0]]), torch.zeros(1, 4)):
        loss = topk_kl(student, *top(teacher, 2))
        assert torch.isfinite(loss).all()
        assert loss.item() == pytest.approx(full_kl(student, teacher).item(), abs=1e-3)


@settings(deadline=None)
@given(seeds, st.integers(2, 40))
def test_float16_rounding_of_a_capture_does_not_make_it_negative(seed: int, vocab: int) -> None:
    """Rounded log-probabilities may add up to a little over one."""
    teacher = draw(seed, 8, vocab, 4)
    ids, logprobs = top(teacher, vocab)
    assert topk_kl(teacher, ids, logprobs.half()).abs().max() < 5e-3


@settings(deadline=None)
@given(seeds, scales)
def test_bf16_logits_are_taken_to_f32_before_anything_is_added_up(seed: int, scale: float) -> None:
    teacher, student = draw(seed, 4, 500, 3), draw(seed + 1, 4, 500, scale).bfloat16()
    wanted = topk_kl(student.float(), *top(teacher, 32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = topk_kl(student, *top(teacher, 32))
        full = full_kl(student, teacher.bfloat16())
    assert loss.dtype == full.dtype == torch.float32
    assert torch.equal(loss, wanted)


@settings(deadline=None)
@given(seeds, st.integers(2, 40), st.floats(0.01, 300), st.floats(0.01, 300), st.data())
def test_every_gradient_is_a_number(seed: int, vocab: int, ours: float, theirs: float, data: st.DataObject) -> None:
    student, teacher = draw(seed, 5, vocab, ours).requires_grad_(), draw(seed + 1, 5, vocab, theirs)
    ids, logprobs = top(teacher, data.draw(st.integers(1, vocab)))
    topk_kl(student, ids, logprobs.half()).mean().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_the_gradient_leads_to_the_teacher() -> None:
    teacher, student = draw(1, 3, 50, 2), torch.zeros(3, 50, requires_grad=True)
    rate = torch.optim.Adam([student], lr=0.1)
    ids, logprobs = top(teacher, 10)
    first = topk_kl(student, ids, logprobs).mean().item()
    for _ in range(200):
        rate.zero_grad()
        loss = topk_kl(student, ids, logprobs).mean()
        loss.backward()
        rate.step()
    assert loss.item() < first / 100
    assert torch.equal(student.argmax(-1), teacher.argmax(-1))


@settings(deadline=None)
@given(seeds, st.integers(2, 40), scales, scales)
def test_reverse_kl_and_jsd_are_those_of_the_whole_vocabulary(
    seed: int, vocab: int, ours: float, theirs: float
) -> None:
    student, teacher = draw(seed, 5, vocab, min(ours, 4)), draw(seed + 1, 5, vocab, min(theirs, 4))
    left, right = torch.log_softmax(student.double(), -1), torch.log_softmax(teacher.double(), -1)
    middle = ((left.exp() + right.exp()) / 2).log()
    reverse = (left.exp() * (left - right)).sum(-1)
    jsd = ((left.exp() * (left - middle)).sum(-1) + (right.exp() * (right - middle)).sum(-1)) / 2
    torch.testing.assert_close(topk_reverse_kl(student, *top(teacher, vocab)).double(), reverse, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(topk_jsd(student, *top(teacher, vocab)).double(), jsd, rtol=1e-3, atol=1e-3)


@settings(deadline=None)
@given(seeds, st.integers(2, 40), scales, st.data())
def test_the_other_losses_are_nought_for_equal_models_and_can_be_learned_from(
    seed: int, vocab: int, scale: float, data: st.DataObject
) -> None:
    teacher = draw(seed, 5, vocab, scale)
    ids, logprobs = top(teacher, data.draw(st.integers(1, vocab)))
    for loss in (topk_reverse_kl, topk_jsd):
        assert loss(teacher, ids, logprobs).abs().max() < 1e-4
        student = draw(seed + 1, 5, vocab, scale).requires_grad_()
        value = loss(student, ids, logprobs)
        assert value.min() > -1e-4
        value.sum().backward()  # type: ignore[no-untyped-call]
        assert student.grad is not None
        assert student.grad.isfinite().all()
    assert topk_jsd(draw(seed + 1, 5, vocab, 30), ids, logprobs).max() <= math.log(2) + 1e-4
