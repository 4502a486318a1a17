"""The losses a student learns by, in fp32 whatever the model runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_MIN_TAIL = 1e-6
"""Mass below which a tail bucket counts as this: float16 log-probabilities can add up to a little over one."""


def topk_kl(logits: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """Forward KL(teacher ‖ student) over the teacher's top-k tokens and one tail bucket, per position [n].

    logits [n, vocab] of the student; ids int64 [n, k] and logprobs [n, k] of the teacher. A lower bound of the full KL
    (merging outcomes never raises a divergence), tight when the tail is light.
    """
    import torch

    student = torch.log_softmax(logits.float(), -1).gather(-1, ids)
    teacher = logprobs.float()
    teacher_tail = (1 - teacher.exp().sum(-1)).clamp_min(_MIN_TAIL)
    student_tail = (1 - student.exp().sum(-1)).clamp_min(_MIN_TAIL)
    head = (teacher.exp() * (teacher - student)).sum(-1)
    kl: torch.Tensor = head + teacher_tail * (teacher_tail.log() - student_tail.log())
    return kl


def full_kl(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(teacher ‖ student) over the whole vocabulary from logits [n, vocab], per position [n]; for measuring."""
    import torch

    p = torch.log_softmax(teacher.float(), -1)
    q = torch.log_softmax(student.float(), -1)
    kl: torch.Tensor = (p.exp() * (p - q)).sum(-1)
    return kl
