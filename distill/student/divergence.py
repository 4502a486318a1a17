"""How far a student is from its teacher on held-out records: KL over the whole vocabulary and top-1 agreement.

The teacher reads the held-out packs once, at capture. Its last hidden states and its output layer are kept, a few
megabytes, from which its logits over the whole vocabulary are computed again whenever a student is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from distill.compute.checkpoints import require_disk_space
from distill.compute.device import autocast
from distill.packing.forward import CHUNK, forward, target_states
from distill.packing.packing import Pack
from distill.student.losses import full_kl


def hold_out(teacher: Any, packs: Sequence[Pack], out: Path, *, precision: str = "auto") -> None:
    """Write what the teacher says at the packs' reply tokens (safetensors).

    Of a model of transformers its output layer and its last hidden states; of any other `Teacher` the logits
    themselves, in half precision.
    """
    if hasattr(teacher, "read"):
        read = (teacher.read(pack)[0] for pack in packs)
        with require_disk_space(out):
            save_file({f"logits.{number}": torch.cat(list(rows)).half() for number, rows in enumerate(read)}, out)
        return
    teacher.eval()
    tensors = {}
    with torch.no_grad(), autocast(precision):
        for number, pack in enumerate(packs):
            index = pack.reply_targets()
            tensors[f"pack.{number}"] = forward(teacher, pack)[index]
    states = {name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}
    with require_disk_space(out):
        save_file({**states, "lm_head": teacher.lm_head.weight.detach().cpu().clone()}, out)


def measure_divergence(
    student: Any, packs: Sequence[Pack], held_out: Path, *, precision: str = "auto", chunk: int = CHUNK
) -> dict[str, float]:
    """Mean KL(teacher ‖ student) in nats and the share of equal most likely tokens, over the packs' reply tokens.

    `held_out` is what `hold_out` wrote for the same packs. Over the ids both have, where one has more padding rows.
    """
    theirs = load_file(held_out)
    head = theirs.get("lm_head")
    kl = agree = tokens = 0.0
    student.eval()
    with torch.no_grad(), autocast(precision):
        for number, pack in enumerate(packs):
            teacher = theirs[f"logits.{number}" if head is None else f"pack.{number}"]
            for start, ours in target_states(student, pack, chunk):
                rows = teacher[start : start + len(ours)].to(ours.device)
                left = student.lm_head(ours)[: len(rows)].float()
                right = (rows if head is None else torch.nn.functional.linear(rows, head.to(rows.device))).float()
                both = min(left.shape[-1], right.shape[-1])
                left, right = left[:, :both], right[:, :both]
                kl += float(full_kl(left, right).sum())
                agree += float((left.argmax(-1) == right.argmax(-1)).sum())
                tokens += len(left)
    return {"kl": round(kl / tokens, 4), "top1": round(agree / tokens, 4), "tokens": int(tokens)}
