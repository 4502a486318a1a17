"""Drives transformers' Trainer over packs, one a step, on one process or on as many as torchrun started.

transformers' loop is used, not one of our own, because it brings resuming, gradient accumulation and several processes;
what it assumes about batches, logits and checkpoints does not hold for packs and is overridden here:

    a batch       is one pack, and its loss is the caller's function, not `model(**batch).loss`
    a checkpoint  holds the weights that learn in safetensors, no frozen weights and no pickle
    sharding      is ours (`distill.compute.fsdp_checkpoint`); accelerate's knows nothing of packs

Promises: a run that keeps checkpoints and is killed loses what came after the last; a loss that is no longer a number,
a full disk and exhausted memory are errors that say what to do. Knows nothing of what the loss is made of. Only stages
that train import this module: torch and transformers take seconds to load.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainingArguments
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from distill.compute import distributed
from distill.compute.checkpoints import last_checkpoint, load_learned, require_disk_space, save_learned
from distill.compute.device import autocast, memory_is_an_error
from distill.compute.fsdp_checkpoint import gather, load_optimizer, save_optimizer, shard_model
from distill.packing.packing import Pack
from distill.recipe.settings import TrainSettings
from distill.teacher.capture import Captured
from runtime.errors import ModelError, UsageError

Row = Pack | Captured
"""What one step learns from."""
Loss = Callable[[Any, Any], torch.Tensor]
"""(causal language model, row) -> a scalar."""


def train_on_packs(
    model: Any, rows: Sequence[Row], loss: Loss, settings: TrainSettings, scratch: Path, advance: Callable[[int], None]
) -> dict[str, float]:
    """Train `model` in place; returns steps, packs, mean loss (nats) of the first and last quarter, validation loss.

    Checkpoints go into `scratch`, and the newest whole one there is taken up. `advance` counts tokens of all processes.
    `ModelError` when the loss is no longer a number or a pack does not fit into memory, `SpaceError` when the disk is
    full, `UsageError` when nothing is left to learn from.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise UsageError(
            "accelerate's own sharding does not support packs",
            where="--launcher",
            hint="start the processes plainly (torchrun, or accelerate without FSDP), and add --shard",
        )
    taught, held_back = split_held_back(rows, settings.validation)
    arguments = _arguments(settings, scratch, len(taught), validated=bool(held_back))
    _ = arguments.device  # reading it makes the processes meet, which sharding needs
    sharded = distributed.is_sharded()

    def wrap(student: Any) -> LossModule:
        return LossModule(student, loss, settings.precision, sharded=sharded)

    trainer = PackTrainer(shard_model(model, wrap) if sharded else wrap(model), arguments, taught, held_back, advance)
    if held_back:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    last = last_checkpoint(scratch)
    # Memory may also run out outside a pack's own step, in the optimizer; the largest pack is named then.
    with require_disk_space(scratch), _out_of_memory(max(len(pack_of(row).tokens) for row in taught)):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    if sharded:
        gather(trainer.model.student, model)
    figures = trainer.figures()
    # Whatever still refers to the group of processes would take it down later, at a time of its own.
    del trainer
    distributed.leave_group()
    return figures


def split_held_back(rows: Sequence[Row], count: int) -> tuple[list[Row], list[Row]]:
    """Rows to learn from and the last `count`, which the loss is validated on; `UsageError` when none are left."""
    taught, held_back = list(rows[: len(rows) - count]), list(rows[len(rows) - count :])
    if not taught:
        raise UsageError(
            f"{len(rows)} packs, {count} held back for validation, none left to learn from",
            where="validation",
            hint="hold back fewer, or bring more packs",
        )
    return taught, held_back


def pack_of(row: Row) -> Pack:
    """The pack of a row."""
    return row.pack if isinstance(row, Captured) else row


class LossModule(torch.nn.Module):
    """Model and loss as one module: what wraps a model for several processes sees only its `forward`."""

    def __init__(self, student: Any, loss: Loss, precision: str, *, sharded: bool) -> None:
        super().__init__()
        self.student = student
        self._loss = loss
        self._precision = precision
        # Otherwise the Trainer takes every process for one that holds the whole model, and wraps it once more.
        self._is_accelerate_prepared = sharded

    def forward(self, row: Row) -> torch.Tensor:
        """The loss of one row, a scalar."""
        # The Trainer would run only `model(...)` in bf16; the loss calls the parts of the model itself.
        with autocast(self._precision):
            return self._loss(self.student, row)


class PackTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose batches are packs and whose checkpoints hold what learns."""

    def __init__(
        self,
        model: LossModule,
        arguments: TrainingArguments,
        taught: Sequence[Row],
        held_back: Sequence[Row],
        advance: Callable[[int], None],
    ) -> None:
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=list(taught),
            eval_dataset=list(held_back) or None,
            data_collator=lambda batch: {"row": batch[0]},
        )
        self.remove_callback(PrinterCallback)  # stdout is data
        self._advance = advance
        self._losses: list[float] = []
        self._sharded = distributed.is_sharded()

    def figures(self) -> dict[str, float]:
        """What the run came to; losses are means of quarters, because one pack says little."""
        losses, quarter = self._losses, max(1, len(self._losses) // 4)
        figures = {
            "steps": self.state.global_step,
            "packs": len(losses),
            "loss_first_quarter": round(sum(losses[:quarter]) / quarter, 4),
            "loss_last_quarter": round(sum(losses[-quarter:]) / quarter, 4),
        }
        if self.state.best_metric is not None:
            figures["validation_loss"] = round(float(self.state.best_metric), 4)
        return figures

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """The loss of the one row of a batch."""
        tokens = len(pack_of(inputs["row"]).tokens)
        with _out_of_memory(tokens):
            loss = model(inputs["row"])
        if model.training:
            self._record(float(loss.detach()), tokens)
        return (loss, None) if return_outputs else loss

    def _record(self, loss: float, tokens: int) -> None:
        self._losses.append(loss)
        if not math.isfinite(loss):
            raise ModelError(
                f"the loss became {loss} at pack {len(self._losses)}",
                hint='lower learning_rate, or set precision = "f32"',
            )
        self._advance(tokens * distributed.world_size())

    def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        """The validation loss of a row: there are no logits and labels to hand back."""
        with torch.no_grad():
            return self.compute_loss(model, inputs).detach(), None, None

    def save_model(self, output_dir: Any = None, _internal_call: bool = False) -> None:
        """Write what learns. With shards all processes take part, since each holds a piece of every weight."""
        if self._sharded or self.args.should_save:
            save_learned(self.model.student, Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: Any, model: Any = None) -> None:
        del model
        load_learned(self.model.student, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        load_learned(self.model.student, Path(self.state.best_model_checkpoint))

    def _rotate_checkpoints(self, use_mtime: bool = False, output_dir: str | None = None) -> None:
        del use_mtime  # by their steps: two checkpoints may be written within a second
        super()._rotate_checkpoints(use_mtime=False, output_dir=output_dir)

    # The piece that each process has of a sharded optimizer is of no use to the next run, which may have other
    # processes: it is put together, written once, and shared out again.
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self._sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        save_optimizer(self.model, self.optimizer.optimizer, Path(output_dir) / OPTIMIZER_NAME)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self._sharded or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        load_optimizer(self.model, self.optimizer.optimizer, Path(checkpoint) / OPTIMIZER_NAME)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))


def _arguments(settings: TrainSettings, scratch: Path, packs: int, *, validated: bool) -> TrainingArguments:
    steps = math.ceil(packs * settings.epochs / (settings.accumulate * distributed.world_size()))
    kept = "steps" if settings.checkpoint_every else "no"
    return TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
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
        save_strategy=kept,
        save_steps=settings.checkpoint_every or 500,
        save_total_limit=1,
        eval_strategy=kept if validated else "no",
        eval_steps=settings.checkpoint_every or None,
        load_best_model_at_end=validated,
        metric_for_best_model="eval_loss" if validated else None,
        greater_is_better=False if validated else None,
        prediction_loss_only=True,
        logging_strategy="no",
        report_to=[],  # nothing is reported to a tracking service, whatever is installed
        disable_tqdm=True,
        remove_unused_columns=False,  # a row is no table of columns
        dataloader_pin_memory=False,
    )


def _out_of_memory(tokens: int) -> AbstractContextManager[None]:
    return memory_is_an_error(
        f"at a pack of {tokens} tokens",
        "lower packing.tokens, or set kd.rank so that adapters learn instead of all weights",
    )
