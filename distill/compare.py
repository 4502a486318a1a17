"""How far a student is from its teacher on held-out records: KL over the whole vocabulary and top-1 agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distill.capture import target_states
from distill.device import autocast
from distill.losses import full_kl
from distill.packs import Pack


def compare(student: Any, teacher: Any, packs: Sequence[Pack], *, precision: str = "auto") -> dict[str, float]:
    """Mean KL(teacher ‖ student) in nats and the share of equal most likely tokens, over the packs' reply tokens."""
    import torch

    kl = agree = tokens = 0.0
    student.eval()
    teacher.eval()
    with torch.no_grad(), autocast(precision):
        for pack in packs:
            index = pack.reply_targets()
            pairs = zip(target_states(student, pack, index), target_states(teacher, pack, index), strict=True)
            for (start, ours), (_, theirs) in pairs:
                real = len(index) - start
                left, right = student.lm_head(ours)[:real].float(), teacher.lm_head(theirs)[:real].float()
                kl += float(full_kl(left, right).sum())
                agree += float((left.argmax(-1) == right.argmax(-1)).sum())
                tokens += len(left)
    return {"kl": round(kl / tokens, 4), "top1": round(agree / tokens, 4), "tokens": int(tokens)}
