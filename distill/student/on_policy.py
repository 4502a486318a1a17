"""On-policy polish: the student answers training questions itself, its teacher judges every token it wrote.

Distillation from a capture never shows a student its own slips (arXiv:2306.13649). TRL's DistillationTrainer does, with
teacher and student both in memory; so this is an extra (`pip install 'edgedesk[polish]'`) for machines that hold both.
Promises: prompts are cut into the very tokens a branch reads, others are left out and counted. Knows nothing of stages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distill.compute.device import bf16_is_faster
from distill.packing.packing import Pack
from distill.recipe.settings import PolishSettings
from runtime.errors import MissingError, ModelError
from runtime.prompting.prompt_spec import PromptSpec


def require_trl() -> None:
    """`MissingError` where TRL is not installed: to be said before hours are spent."""
    if find_spec("trl") is None:
        raise MissingError(
            "TRL is not installed", where="[polish]", hint="pip install 'edgedesk[polish]', or leave it out"
        )


def prompts_of(packs: Sequence[Pack], tokenizer: Any) -> tuple[list[str], int]:
    """The prompt of every branch as text that `tokenizer` cuts into its tokens again, and how many it does not."""
    texts: list[str] = []
    others = 0
    for pack in packs:
        for start, reply, _ in pack.branches:
            tokens = [*pack.tokens[: pack.prefix], *pack.tokens[start:reply]]
            text: str = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
            if tokenizer(text)["input_ids"] == tokens:
                texts.append(text)
            else:
                others += 1
    return texts, others


def polish(
    student: Any,
    teacher: Any,
    packs: Sequence[Pack],
    checkpoint: Path,
    spec: PromptSpec,
    settings: PolishSettings,
    scratch: Path,
    advance: Callable[[int], None],
) -> dict[str, float]:
    """Train `student` in place on what it writes itself; its embeddings learn with the rest.

    `checkpoint` has the tokenizer both share. `ModelError` when no prompt can be used or the loss is no number.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback, TrainerCallback
    from trl import DistillationConfig, DistillationTrainer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, padding_side="left")
    tokenizer.eos_token = spec.pieces.stop[0]
    texts, others = prompts_of(packs, tokenizer)
    if not texts:
        raise ModelError(
            f"none of {others} prompts is cut again as it was", where="[polish]", hint="leave it out for this tokenizer"
        )
    losses: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_log(self, _args: Any, _state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))
                if not math.isfinite(losses[-1]):
                    raise ModelError(
                        f"the loss became {losses[-1]} at step {len(losses)}",
                        where="[polish]",
                        hint="lower learning_rate",
                    )
                advance(settings.batch)

    gpu = torch.cuda.is_available()
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        args=DistillationConfig(
            output_dir=str(scratch),
            per_device_train_batch_size=settings.batch,
            max_steps=max(1, len(texts) // settings.batch),
            learning_rate=settings.learning_rate,
            beta=settings.beta,
            temperature=settings.temperature,
            max_completion_length=spec.answer_tokens,
            seed=settings.seed,
            bf16=gpu and bf16_is_faster(),
            gradient_checkpointing=False,
            use_cpu=not gpu,
            save_strategy="no",
            logging_steps=1,
            logging_nan_inf_filter=False,
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_dict({"prompt": texts}),
        processing_class=tokenizer,
        callbacks=[Watch()],
    )
    trainer.remove_callback(PrinterCallback)  # stdout is data
    trainer.train()
    quarter = max(1, len(losses) // 4)
    return {
        "steps": trainer.state.global_step,
        "prompts": len(texts),
        "left_out": others,
        "loss_first_quarter": round(sum(losses[:quarter]) / quarter, 4),
        "loss_last_quarter": round(sum(losses[-quarter:]) / quarter, 4),
    }
