"""How far a student is from its teacher on held-out records: KL over the whole vocabulary and top-1 agreement.

The teacher reads the held-out packs once, at capture; its last hidden states, a few megabytes, then stand for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.capture import forward, target_states
from distill.device import autocast
from distill.losses import full_kl
from distill.packs import Pack


def hold_out(teacher: Any, packs: Sequence[Pack], out: Path, *, precision: str = "auto") -> None:
    """Write the teacher's output layer and its last hidden states at the packs' reply tokens (safetensors)."""
    import torch
    from safetensors.torch import save_file

    teacher.eval()
    tensors = {}
    with torch.no_grad(), autocast(precision):
        for number, pack in enumerate(packs):
            index = pack.reply_targets()
            tensors[f"pack.{number}"] = forward(teacher, pack)[index]
    states = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    save_file({**states, "lm_head": teacher.lm_head.weight.detach().clone()}, out)


def compare(student: Any, packs: Sequence[Pack], held_out: Path, *, precision: str = "auto") -> dict[str, float]:
    """Mean KL(teacher ‖ student) in nats and the share of equal most likely tokens, over the packs' reply tokens.

    `held_out` is what `hold_out` wrote for the same packs.
    """
    import torch
    from safetensors.torch import load_file

    theirs = load_file(held_out)
    head = theirs["lm_head"]
    kl = agree = tokens = 0.0
    student.eval()
    with torch.no_grad(), autocast(precision):
        for number, pack in enumerate(packs):
            teacher = theirs[f"pack.{number}"]
            for start, ours in target_states(student, pack):
                states = teacher[start : start + len(ours)]
                left = student.lm_head(ours)[: len(states)].float()
                right = torch.nn.functional.linear(states, head).float()
                kl += float(full_kl(left, right).sum())
                agree += float((left.argmax(-1) == right.argmax(-1)).sum())
                tokens += len(left)
    return {"kl": round(kl / tokens, 4), "top1": round(agree / tokens, 4), "tokens": int(tokens)}
