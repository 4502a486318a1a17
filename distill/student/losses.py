"""The losses a student learns by, in fp32 whatever the model runs in."""

from __future__ import annotations

import math

import torch

_MIN_TAIL = 1e-6
"""Mass below which a tail bucket counts as this: float16 log-probabilities can add up to a little over one."""


def topk_kl(logits: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """Forward KL(teacher ‖ student) over the teacher's top-k tokens and one tail bucket, per position [n].

    logits [n, vocab] of the student; ids int64 [n, k] and logprobs [n, k] of the teacher. A lower bound of the full KL
    (merging outcomes never raises a divergence), tight when the tail is light.
    """
    student = torch.log_softmax(logits.float(), -1).gather(-1, ids)
    teacher = logprobs.float()
    teacher_tail = (1 - teacher.exp().sum(-1)).clamp_min(_MIN_TAIL)
    student_tail = (1 - student.exp().sum(-1)).clamp_min(_MIN_TAIL)
    head = (teacher.exp() * (teacher - student)).sum(-1)
    kl: torch.Tensor = head + teacher_tail * (teacher_tail.log() - student_tail.log())
    return kl


def topk_reverse_kl(logits: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """Reverse KL(student ‖ teacher) over the same buckets, per position [n] (MiniLLM, arXiv:2306.08543)."""
    student, teacher = _buckets(logits, ids, logprobs)
    kl: torch.Tensor = (student.exp() * (student - teacher)).sum(-1)
    return kl


def topk_jsd(logits: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence over the same buckets, per position [n], at most log 2 (GKD, arXiv:2306.13649)."""
    student, teacher = _buckets(logits, ids, logprobs)
    middle = torch.logaddexp(student, teacher) - math.log(2)
    jsd: torch.Tensor = 0.5 * (student.exp() * (student - middle) + teacher.exp() * (teacher - middle)).sum(-1)
    return jsd


def untaught(logits: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """Zero at each position [n]: the teacher is not asked, and what is left of the loss are the replies."""
    del ids, logprobs
    return logits.new_zeros(len(logits))


LOSSES = {"forward_kl": topk_kl, "reverse_kl": topk_reverse_kl, "jsd": topk_jsd, "none": untaught}
"""By their names in a recipe."""


def _buckets(logits: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [n, k + 1] of student and teacher: the teacher's top-k tokens, then the tail."""
    student = torch.log_softmax(logits.float(), -1).gather(-1, ids)
    teacher = logprobs.float()
    tails = ((1 - side.exp().sum(-1, keepdim=True)).clamp_min(_MIN_TAIL).log() for side in (student, teacher))
    left, right = (torch.cat((side, tail), -1) for side, tail in zip((student, teacher), tails, strict=True))
    return left, right


def full_kl(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(teacher ‖ student) over the whole vocabulary from logits [n, vocab], per position [n]; for measuring."""
    p = torch.log_softmax(teacher.float(), -1)
    q = torch.log_softmax(student.float(), -1)
    kl: torch.Tensor = (p.exp() * (p - q)).sum(-1)
    return kl
