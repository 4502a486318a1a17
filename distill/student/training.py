"""Training on packs: knowledge distillation from a capture, and LoRA tuning on the company's replies.

Both run on transformers' Trainer, one pack a step, so that accelerate and torchrun carry them to larger machines. A run
that keeps checkpoints and is killed loses what came after the last. Knows nothing of how packs and captures were made.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from distill.compute import distributed
from distill.compute.checkpoints import last_checkpoint, load_learned, require_disk_space, save_learned
from distill.compute.device import autocast, memory_is_an_error
from distill.compute.fsdp_checkpoint import gather, load_optimizer, save_optimizer, shard_model, unwrap
from distill.packing.forward import chunks, forward, target_states
from distill.packing.packing import Pack
from distill.recipe.settings import DistillSettings, LoraSettings, TrainSettings
from distill.student.losses import LOSSES
from distill.teacher.capture import Captured
from runtime.errors import ModelError, UsageError

Advance = Callable[[int], None]


def distill(
    student: Any,
    captured: Sequence[Captured],
    settings: DistillSettings,
    scratch: Path,
    advance: Advance,
    *,
    vocabulary: int | None = None,
) -> dict[str, float]:
    """Train `student` in place towards the capture; its embeddings stay as they are.

    `vocabulary` is how many ids it shares with the teacher, where the capture is of those only.
    """
    import torch
    import torch.utils.checkpoint

    divergence = LOSSES[settings.loss]

    if settings.state_weight and any(row.states is None for row in captured):
        raise UsageError(
            "kd.state_weight needs the teacher's states", where="the capture", hint="set capture.states = true"
        )
    width = student.config.hidden_size
    if settings.state_weight and any(row.states is not None and row.states.shape[1] != width for row in captured):
        raise UsageError(
            f"the teacher's states are not {width} wide as the student's",
            where="kd.state_weight",
            hint="leave it out: only a student cut out of its teacher can match its states",
        )
    student.model.embed_tokens.weight.requires_grad_(False)

    def loss(model: Any, row: Captured) -> torch.Tensor:
        device = model.device
        targets = torch.tensor(row.pack.tokens)[torch.from_numpy(row.index).long() + 1].to(device)
        ids, logprobs = torch.from_numpy(row.ids).long().to(device), torch.from_numpy(row.logprobs).to(device)

        def piece(states: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
            place = slice(start, start + len(states))
            logits = model.lm_head(states)[: len(targets) - start, :vocabulary].float()
            kl = divergence(logits, ids[place], logprobs[place])
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
            wanted = torch.from_numpy(row.states).float().to(device)
            error = (states[-len(wanted) :].float() - wanted).square().sum(-1) / wanted.square().sum(-1)
            total = total + settings.state_weight * error.mean()
        return total

    if not settings.rank:
        return _run(student, list(captured), loss, settings, scratch, advance)
    wrapped = _adapters(student, settings)
    figures = _run(wrapped, list(captured), lambda model, row: loss(unwrap(model), row), settings, scratch, advance)
    if distributed.is_main_process():
        wrapped.merge_and_unload(safe_merge=True)  # into `student`, whose layers the adapters sit in
    return figures


def tune(
    student: Any, packs: Sequence[Pack], settings: LoraSettings, scratch: Path, advance: Advance
) -> tuple[Any, dict[str, float]]:
    """Train LoRA adapters on the packs' replies; returns the wrapped model (to be merged) and figures."""
    import torch

    wrapped = _adapters(student, settings)

    def loss(model: Any, pack: Pack) -> torch.Tensor:
        student, index = unwrap(model), pack.reply_targets()
        logits = torch.cat(
            [student.lm_head(states)[: len(index) - start].float() for start, states in target_states(student, pack)]
        )
        words = torch.tensor(pack.tokens)[torch.tensor(index) + 1].to(logits.device)
        return torch.nn.functional.cross_entropy(logits, words)

    figures = _run(wrapped, list(packs), loss, settings, scratch, advance)
    return wrapped.float(), figures


def _adapters(student: Any, settings: LoraSettings | DistillSettings) -> Any:
    """The student with LoRA adapters, nothing else of it trainable; `UsageError` for a layer it does not have."""
    import torch
    from peft import LoraConfig, get_peft_model

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


def _run(
    model: Any,
    rows: list[Any],
    loss_of: Callable[[Any, Any], Any],
    settings: TrainSettings,
    scratch: Path,
    advance: Advance,
) -> dict[str, float]:
    """Drive transformers' Trainer over rows one at a time, in as many processes as torchrun started.

    `ModelError` when the loss is no longer a number, or a pack does not fit into memory.
    """
    import torch
    from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainingArguments
    from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise UsageError(
            "accelerate's own sharding knows nothing of packs",
            where="--launcher",
            hint="start the processes plainly (torchrun, or accelerate without FSDP), and add --shard",
        )
    held_back = rows[len(rows) - settings.validation :]
    taught = rows[: len(rows) - settings.validation]
    if not taught:
        raise UsageError(
            f"{len(rows)} packs, {settings.validation} held back for validation, none left to learn from",
            where="validation",
            hint="hold back fewer, or bring more packs",
        )
    losses: list[float] = []
    shares = distributed.shard()

    class Lesson(torch.nn.Module):
        """Model and loss as one module: what wraps a model for several processes sees only its `forward`."""

        _is_accelerate_prepared = shares  # otherwise every process would be taken for one that holds the whole

        def __init__(self, student: Any) -> None:
            super().__init__()
            self.student = student

        def forward(self, row: Any) -> torch.Tensor:
            # Only `model(...)` would be run in bf16 by the trainer; the loss calls the parts of the model itself.
            with autocast(settings.precision):
                value: torch.Tensor = loss_of(self.student, row)
            return value

    class PackTrainer(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            row = inputs["row"]
            pack = row.pack if isinstance(row, Captured) else row
            with _memory(len(pack.tokens)):
                value = model(row)
            if model.training:
                losses.append(float(value.detach()))
                if not math.isfinite(losses[-1]):
                    raise ModelError(
                        f"the loss became {losses[-1]} at pack {len(losses)}",
                        hint='lower learning_rate, or set precision = "f32"',
                    )
                advance(len(pack.tokens) * distributed.world_size())
            return (value, None) if return_outputs else value

        def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            with torch.no_grad():
                return self.compute_loss(model, inputs).detach(), None, None

        # A checkpoint holds what learns and nothing else: no frozen weights, no pickle, no tied tensor twice.
        def save_model(self, output_dir: Any = None, _internal_call: bool = False) -> None:
            if shares or self.args.should_save:
                save_learned(self.model.student, Path(output_dir or self.args.output_dir))

        def _load_from_checkpoint(self, resume_from_checkpoint: Any, model: Any = None) -> None:
            del model
            load_learned(self.model.student, Path(resume_from_checkpoint))

        def _rotate_checkpoints(self, use_mtime: bool = False, output_dir: str | None = None) -> None:
            del use_mtime  # by their steps: two checkpoints may be written within a second
            super()._rotate_checkpoints(use_mtime=False, output_dir=output_dir)

        # What each process has of a shared optimizer is no use to the next run, which may have other processes.
        def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
            if not shares:
                super()._save_optimizer_and_scheduler(output_dir)
                return
            save_optimizer(self.model, self.optimizer.optimizer, Path(output_dir) / OPTIMIZER_NAME)
            if self.args.should_save:
                torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            if shares and checkpoint is not None:
                load_optimizer(self.model, self.optimizer.optimizer, Path(checkpoint) / OPTIMIZER_NAME)
                self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))
            else:
                super()._load_optimizer_and_scheduler(checkpoint)

        def _load_best_model(self) -> None:
            load_learned(self.model.student, Path(self.state.best_model_checkpoint))

    steps = math.ceil(len(taught) * settings.epochs / (settings.accumulate * distributed.world_size()))
    kept = "steps" if settings.checkpoint_every else "no"
    arguments = TrainingArguments(
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
        eval_strategy=kept if held_back else "no",
        eval_steps=settings.checkpoint_every or None,
        load_best_model_at_end=bool(held_back),
        metric_for_best_model="eval_loss" if held_back else None,
        greater_is_better=False if held_back else None,
        prediction_loss_only=True,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    _ = arguments.device  # asking for it brings the processes together
    lesson = shard_model(model, Lesson) if shares else Lesson(model)
    trainer = PackTrainer(
        model=lesson,
        args=arguments,
        train_dataset=taught,
        eval_dataset=held_back or None,
        data_collator=lambda batch: {"row": batch[0]},
        callbacks=[EarlyStoppingCallback(settings.patience)] if held_back else None,
    )
    trainer.remove_callback(PrinterCallback)  # stdout is data
    last = last_checkpoint(scratch)
    with (
        require_disk_space(scratch),
        _memory(max(len((row.pack if isinstance(row, Captured) else row).tokens) for row in taught)),
    ):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    if shares:
        gather(lesson.student, model)
    state = trainer.state
    # Whatever still holds the group of processes would take it down later, at a time of its own.
    del trainer, lesson
    distributed.part()
    quarter = max(1, len(losses) // 4)
    figures = {
        "steps": state.global_step,
        "packs": len(losses),
        "loss_first_quarter": round(sum(losses[:quarter]) / quarter, 4),
        "loss_last_quarter": round(sum(losses[-quarter:]) / quarter, 4),
    }
    if state.best_metric is not None:
        figures["validation_loss"] = round(float(state.best_metric), 4)
    return figures


def _memory(tokens: int) -> AbstractContextManager[None]:
    return memory_is_an_error(
        f"at a pack of {tokens} tokens",
        "lower packing.tokens, or set kd.rank so that adapters learn instead of all weights",
    )
