"""Training on packs: knowledge distillation from a capture, and LoRA tuning on the company's replies.

The losses and what may learn are decided here; how packs are run through a model belongs to
`distill.student.pack_trainer`. Knows nothing of how packs and captures were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.utils.checkpoint
from peft import LoraConfig, get_peft_model

from distill.compute import distributed
from distill.compute.fsdp_checkpoint import unwrap
from distill.packing.forward import CHUNK, chunks, forward, target_states
from distill.packing.packing import Pack
from distill.recipe.settings import DistillSettings, LoraSettings
from distill.student.losses import LOSSES
from distill.student.pack_trainer import train_on_packs
from distill.teacher.capture import Captured
from runtime.base.progress import Advance
from runtime.errors import UsageError


@dataclass(frozen=True)
class DistillationLoss:
    """The loss of a student on a captured pack.

    Mean divergence from the teacher over its top-k tokens and the tail, at the tokens of the replies (Hinton et al.,
    arXiv:1503.02531), plus `ce_weight` × cross-entropy with the replies as they were written, plus `state_weight` × the
    relative squared error of the last hidden states over all tokens.
    """

    settings: DistillSettings
    vocabulary: int | None = None
    """Ids that the student shares with the teacher; None = all."""
    chunk: int = CHUNK
    """Positions whose logits are in memory at once; the loss does not depend on it."""

    def __call__(self, model: Any, row: Captured) -> torch.Tensor:
        """A scalar; `model` is the student, in adapters or not."""
        model = unwrap(model)
        states = forward(model, row.pack)  # [token, hidden]
        total = self._on_replies(model, row, states)
        if self.settings.state_weight:
            total = total + self.settings.state_weight * _state_error(states, row)
        return total

    def _on_replies(self, model: Any, row: Captured, states: torch.Tensor) -> torch.Tensor:
        divergence, device = LOSSES[self.settings.loss], model.device
        targets = torch.tensor(row.pack.tokens)[torch.from_numpy(row.index).long() + 1].to(device)  # [n]
        ids, logprobs = torch.from_numpy(row.ids).long().to(device), torch.from_numpy(row.logprobs).to(device)  # [n, k]

        def piece(part: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
            place = slice(start, start + len(part))
            logits = model.lm_head(part)[: len(targets) - start, : self.vocabulary].float()
            kl = divergence(logits, ids[place], logprobs[place])
            return kl, torch.nn.functional.cross_entropy(logits, targets[place], reduction="none")

        # Logits over the whole vocabulary are the largest tensors of a step. They are computed a few positions at a
        # time and dropped, then computed again for the backward pass (gradient checkpointing).
        pieces = [
            torch.utils.checkpoint.checkpoint(piece, part, start, use_reentrant=False)
            for start, part in chunks(states, row.index.tolist(), self.chunk)
        ]
        kl, ce = (torch.cat(column).mean() for column in zip(*pieces, strict=True))
        total: torch.Tensor = kl + self.settings.ce_weight * ce
        return total


def _state_error(states: torch.Tensor, row: Captured) -> torch.Tensor:
    """Mean |h - s|² / |h|² over the tokens that teacher (h) and student (s) read alike, the last ones of the pack."""
    wanted = torch.from_numpy(row.states).float().to(states.device)
    error = (states[-len(wanted) :].float() - wanted).square().sum(-1) / wanted.square().sum(-1)
    return error.mean()


def reply_loss(model: Any, pack: Pack) -> torch.Tensor:
    """Mean cross-entropy (nats) of the tokens of a pack's replies; nothing else of it is learned."""
    student, index = unwrap(model), pack.reply_targets()
    logits = torch.cat(
        [student.lm_head(states)[: len(index) - start].float() for start, states in target_states(student, pack)]
    )
    targets = torch.tensor(pack.tokens)[torch.tensor(index) + 1].to(logits.device)
    return torch.nn.functional.cross_entropy(logits, targets)


def distill(
    student: Any,
    captured: Sequence[Captured],
    settings: DistillSettings,
    scratch: Path,
    advance: Advance,
    *,
    vocabulary: int | None = None,
) -> dict[str, float]:
    """Train `student` in place towards the capture; returns figures.

    `vocabulary` is how many ids it shares with the teacher, where the capture is of those only. `UsageError` when the
    settings ask for states that the capture does not have, or not in the student's width.
    """
    _check_states(student, captured, settings)
    # The embeddings stay: most tokens never occur in a company's records, and would drift from those that do.
    student.model.embed_tokens.weight.requires_grad_(False)
    loss = DistillationLoss(settings, vocabulary)
    if not settings.rank:
        return train_on_packs(student, captured, loss, settings, scratch, advance)
    wrapped = _with_adapters(student, settings)
    figures = train_on_packs(wrapped, captured, loss, settings, scratch, advance)
    if distributed.is_main_process():
        wrapped.merge_and_unload(safe_merge=True)  # into `student`, whose layers the adapters sit in
    return figures


def tune(
    student: Any, packs: Sequence[Pack], settings: LoraSettings, scratch: Path, advance: Advance
) -> tuple[Any, dict[str, float]]:
    """Train LoRA adapters (arXiv:2106.09685) on the packs' replies; returns the wrapped model and figures."""
    wrapped = _with_adapters(student, settings)
    figures = train_on_packs(wrapped, packs, reply_loss, settings, scratch, advance)
    return wrapped.float(), figures


def _check_states(student: Any, captured: Sequence[Captured], settings: DistillSettings) -> None:
    if not settings.state_weight:
        return
    if any(row.states is None for row in captured):
        raise UsageError(
            "kd.state_weight needs the teacher's states", where="the capture", hint="set capture.states = true"
        )
    width = student.config.hidden_size
    if any(row.states is not None and row.states.shape[1] != width for row in captured):
        raise UsageError(
            f"the teacher's states are not {width} wide as the student's",
            where="kd.state_weight",
            hint="leave it out: only a student cut out of its teacher can match its states",
        )


def _with_adapters(student: Any, settings: LoraSettings | DistillSettings) -> Any:
    """The student with LoRA adapters, nothing else of it trainable; `UsageError` for a layer it does not have."""
    names = {name.rpartition(".")[2] for name, module in student.model.named_modules() if hasattr(module, "weight")}
    if unknown := [name for name in settings.modules if name not in names]:
        linear = sorted(name for name in names if name.endswith("_proj"))
        raise UsageError(f"no layer '{unknown[0]}'", where="modules", hint=f"one of {', '.join(linear)}")
    torch.manual_seed(settings.seed)  # adapters start at random, before the Trainer sets its seed
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.modules) or "all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(student, config)
