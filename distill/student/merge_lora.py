"""Merge LoRA adapters into the student and prove that nothing changed but the shape of the sum.

The merged folder is what quantize takes: config, safetensors, tokenizer, chat template.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from distill.compute.checkpoints import require_disk_space
from distill.packing.forward import forward
from distill.packing.packing import Pack
from runtime.errors import ModelError

TOLERANCE = 2e-3
"""Largest difference of any f32 logit; W + BA and W·x + B(A·x) round differently (measured: about 1e-4)."""
COMPARED_PACKS = 2
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "pre_tokenizer.json",
)


def merge_adapters(wrapped: Any, packs: Sequence[Pack], base: Path, out: Path) -> dict[str, float]:
    """Write the merged checkpoint into `out`; `ModelError` when its logits are not those of base plus adapter."""
    wrapped.eval()
    core = wrapped.get_base_model()
    before = [_logits(core, pack) for pack in packs[:COMPARED_PACKS]]
    try:
        merged = wrapped.merge_and_unload(safe_merge=True)
    except ValueError as error:  # an adapter that holds no number
        raise ModelError(str(error), where="merge", hint="tune again with a lower learning_rate") from error
    differences = [
        float((_logits(merged, pack) - logits).abs().max())
        for pack, logits in zip(packs[:COMPARED_PACKS], before, strict=True)
    ]
    difference = max(differences)
    if not all(value <= TOLERANCE for value in differences):  # NaN is not, and max() may pass it over
        raise ModelError(
            f"merging moved a logit by {difference:.2g}, more than {TOLERANCE}",
            hint='tune again with precision = "f32"',
        )
    save_checkpoint(merged, base, out)
    return {"largest_logit_difference": round(difference, 7)}


def save_checkpoint(model: Any, base: Path, out: Path) -> None:
    """Write a checkpoint with the tokenizer files of `base`; `SpaceError` when the disk fills up."""
    model.config.use_cache = True
    with require_disk_space(out):
        model.save_pretrained(out)
        for name in TOKENIZER_FILES:
            if (base / name).is_file():
                shutil.copyfile(base / name, out / name)


def _logits(model: Any, pack: Pack) -> Any:
    with torch.no_grad():
        return model.lm_head(forward(model, pack)[pack.reply_targets()])
