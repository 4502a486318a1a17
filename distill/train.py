"""Training on packs: knowledge distillation from a capture, and LoRA tuning on the company's replies.

Both run on transformers' Trainer, one pack a step, so that accelerate and torchrun carry them to larger machines.
Knows nothing of how packs and captures were made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from distill.capture import Captured, chunks, forward, target_states
from distill.device import autocast
from distill.losses import topk_kl
from distill.packs import Pack
from runtime.errors import ModelError, UsageError


class TrainSettings(BaseModel):
    """One run over packs; a step is one pack times `accumulate`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float = Field(gt=0)
    epochs: float = Field(default=1.0, gt=0)
    accumulate: int = Field(default=1, ge=1)
    """Packs a step adds up before the weights move."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    precision: str = Field(default="auto", pattern="^(auto|bf16|f32)$")
    seed: int = 0


class DistillSettings(TrainSettings):
    """The loss is KL on replies + `state_weight` × error of the states + `ce_weight` × cross-entropy on replies.

    The error of the states is |h - s|² / |h|², h the teacher's last hidden state and s the student's, over all tokens
    of a pack; it needs a capture with states, and lets tokens teach that are no replies, at no cost in logits.
    """

    learning_rate: float = Field(default=1e-4, gt=0)
    state_weight: float = Field(default=0.0, ge=0)
    ce_weight: float = Field(default=0.0, ge=0)


class LoraSettings(TrainSettings):
    """Low-rank adapters on all linear layers of the decoder (arXiv:2106.09685)."""

    learning_rate: float = Field(default=1e-3, gt=0)
    rank: int = Field(default=16, ge=1, le=256)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)


Advance = Callable[[int], None]


def distill(
    student: Any, captured: Sequence[Captured], settings: DistillSettings, scratch: Path, advance: Advance
) -> dict[str, float]:
    """Train `student` in place towards the capture; the embeddings, shared with the teacher, stay as they are."""
    import torch
    import torch.utils.checkpoint

    if settings.state_weight and any(row.states is None for row in captured):
        raise UsageError(
            "kd.state_weight needs the teacher's states", where="the capture", hint="set capture.states = true"
        )
    student.model.embed_tokens.weight.requires_grad_(False)

    def loss(model: Any, row: Captured) -> torch.Tensor:
        targets = torch.tensor(row.pack.tokens)[torch.from_numpy(row.index).long() + 1]
        ids, logprobs = torch.from_numpy(row.ids).long(), torch.from_numpy(row.logprobs)

        def piece(states: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
            place = slice(start, start + len(states))
            logits = model.lm_head(states)[: len(targets) - start].float()
            kl = topk_kl(logits, ids[place], logprobs[place])
            return kl, torch.nn.functional.cross_entropy(logits, targets[place], reduction="none")

        # Logits over the whole vocabulary are the largest tensors of a step: they are made, used and made again for
        # the way back a few positions at a time.
        states = forward(model, row.pack)
        parts = [
            torch.utils.checkpoint.checkpoint(piece, part, start, use_reentrant=False)
            for start, part in chunks(states, row.index.tolist())
        ]
        kl, ce = (torch.cat(column).mean() for column in zip(*parts, strict=True))
        total: torch.Tensor = kl + settings.ce_weight * ce
        if settings.state_weight:
            wanted = torch.from_numpy(row.states).float()
            error = (states.float() - wanted).square().sum(-1) / wanted.square().sum(-1)
            total = total + settings.state_weight * error.mean()
        return total

    return _run(student, list(captured), loss, settings, scratch, advance)


def tune(
    student: Any, packs: Sequence[Pack], settings: LoraSettings, scratch: Path, advance: Advance
) -> tuple[Any, dict[str, float]]:
    """Train LoRA adapters on the packs' replies; returns the wrapped model (to be merged) and figures."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(settings.seed)  # adapters start at random, before the Trainer sets its seed
    wrapped = get_peft_model(
        student,
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    core = wrapped.get_base_model()

    def loss(_model: Any, pack: Pack) -> torch.Tensor:
        index = pack.reply_targets()
        logits = torch.cat(
            [core.lm_head(states)[: len(index) - start].float() for start, states in target_states(core, pack)]
        )
        return torch.nn.functional.cross_entropy(logits, torch.tensor(pack.tokens)[torch.tensor(index) + 1])

    figures = _run(wrapped, list(packs), loss, settings, scratch, advance)
    return wrapped, figures


def _run(
    model: Any,
    rows: list[Any],
    loss_of: Callable[[Any, Any], Any],
    settings: TrainSettings,
    scratch: Path,
    advance: Advance,
) -> dict[str, float]:
    """Drive transformers' Trainer over rows one at a time; `ModelError` when the loss is no longer a number."""
    import torch
    from transformers import PrinterCallback, Trainer, TrainingArguments

    losses: list[float] = []

    class PackTrainer(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            row = inputs["row"]
            # Only `model(...)` would be run in bf16 by the trainer; the loss calls the parts of the model itself.
            with autocast(settings.precision):
                value = loss_of(self.accelerator.unwrap_model(model), row)
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                raise ModelError(
                    f"the loss became {losses[-1]} at pack {len(losses)}",
                    hint='lower learning_rate, or set precision = "f32"',
                )
            pack = row.pack if isinstance(row, Captured) else row
            advance(len(pack.tokens))
            return (value, None) if return_outputs else value

    steps = math.ceil(len(rows) * settings.epochs / settings.accumulate)
    arguments = TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.accumulate,
        max_steps=steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, int(steps * settings.warmup)),
        max_grad_norm=settings.max_grad_norm,
        weight_decay=0.0,
        adam_beta2=0.98,
        seed=settings.seed,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    trainer = PackTrainer(
        model=model, args=arguments, train_dataset=rows, data_collator=lambda batch: {"row": batch[0]}
    )
    trainer.remove_callback(PrinterCallback)  # stdout is data
    trainer.train()
    quarter = max(1, len(losses) // 4)
    return {
        "steps": steps,
        "packs": len(losses),
        "loss_first_quarter": round(sum(losses[:quarter]) / quarter, 4),
        "loss_last_quarter": round(sum(losses[-quarter:]) / quarter, 4),
    }
