"""Tune the sentence encoder on the company's own questions, so that a question finds the section that answers it.

Supervised contrastive learning (arXiv:2004.11362): two questions about one section, and now and then the section
itself, are pulled together, everything else in the batch is pushed away. Questions are short, so a step costs
little. Only training records are used. Token embeddings and the lower layers stay: what the encoder knows of
languages it was not tuned in lives there.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from distill.device import autocast

if TYPE_CHECKING:
    import torch


class EncoderSettings(BaseModel):
    """One run; a step shows `sections` sections with two questions each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=120, ge=0)
    """0 = take the encoder as it is."""
    sections: int = Field(default=40, ge=2)
    passages: int = Field(default=8, ge=0)
    """Of these, how many come with the section's own text."""
    learning_rate: float = Field(default=1e-4, gt=0)
    temperature: float = Field(default=0.05, gt=0)
    frozen_layers: int = Field(default=4, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    query_prefix: str = "query: "
    passage_prefix: str = "passage: "
    max_tokens: int = Field(default=160, ge=16)
    seed: int = 0


class Batch(NamedTuple):
    """Texts with prefixes, and the number of the section each belongs to."""

    texts: list[str]
    labels: list[int]


def batches(
    questions: Sequence[tuple[str, str]], sections: Mapping[str, str], settings: EncoderSettings
) -> Iterator[Batch]:
    """`settings.steps` batches of (question, section key) pairs; sections asked about often come up often.

    A section with one question only is paired with its own text.
    """
    rng = random.Random(settings.seed)  # noqa: S311 - a shuffle, no secret
    by_section: dict[str, list[str]] = defaultdict(list)
    for text, key in questions:
        if key in sections:
            by_section[key].append(text)
    keys = sorted(by_section)
    weights = [len(by_section[key]) ** 0.5 for key in keys]
    number = {key: index for index, key in enumerate(keys)}
    for _ in range(settings.steps if len(keys) > 1 else 0):
        chosen = list(dict.fromkeys(rng.choices(keys, weights, k=2 * settings.sections)))[: settings.sections]
        texts, labels = [], []
        for index, key in enumerate(chosen):
            asked = rng.sample(by_section[key], min(2, len(by_section[key])))
            own = [settings.query_prefix + text for text in asked]
            if index < settings.passages or len(asked) < 2:
                own.append(settings.passage_prefix + sections[key])
            texts += own
            labels += [number[key]] * len(own)
        yield Batch(texts, labels)


def contrastive_loss(vectors: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """SupCon over unit vectors [n, dim] with labels [n]: mean over anchors of the mean −log p of their positives."""
    import torch

    logits = vectors.float() @ vectors.float().T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool)
    log_p = logits - logits.masked_fill(itself, float("-inf")).logsumexp(-1, keepdim=True)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    counts = positive.sum(-1)
    loss: torch.Tensor = -((log_p * positive).sum(-1) / counts.clamp_min(1))[counts > 0].mean()
    return loss


def tune_encoder(
    checkpoint: Path,
    questions: Sequence[tuple[str, str]],
    sections: Mapping[str, str],
    out: Path,
    settings: EncoderSettings,
    advance: Callable[[int], None] = lambda _steps: None,
) -> dict[str, Any]:
    """Tune the encoder in `checkpoint` (BERT family, mean pooling) and save it into `out`; returns figures."""
    import torch
    from transformers import AutoModel, AutoTokenizer, get_cosine_schedule_with_warmup

    torch.manual_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    model = AutoModel.from_pretrained(checkpoint, local_files_only=True, dtype=torch.float32)
    model.embeddings.requires_grad_(False)
    for layer in model.encoder.layer[: settings.frozen_layers]:
        layer.requires_grad_(False)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=settings.learning_rate,
        weight_decay=0.01,
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, int(settings.steps * settings.warmup), settings.steps)
    losses = []
    for batch in batches(questions, sections, settings):
        with autocast("auto"):
            loss = contrastive_loss(
                embed(model, tokenizer, batch.texts, settings.max_tokens),
                torch.tensor(batch.labels),
                settings.temperature,
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        advance(1)
    model.eval()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    quarter = max(1, len(losses) // 4)
    return {
        "questions": len(questions),
        "steps": len(losses),
        "loss_first_quarter": round(sum(losses[:quarter]) / quarter, 4) if losses else None,
        "loss_last_quarter": round(sum(losses[-quarter:]) / quarter, 4) if losses else None,
    }


def embed(model: Any, tokenizer: Any, texts: Sequence[str], max_tokens: int) -> torch.Tensor:
    """Unit vectors [n, dim]: mean over the tokens of the last layer. Texts are run in groups of like length."""
    import torch

    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    size = max(1, (len(texts) + 2) // 3)
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    rows: list[torch.Tensor] = []
    for group in groups:
        inputs = tokenizer(
            [texts[index] for index in group],
            padding=True,
            truncation=True,
            max_length=max_tokens,
            return_tensors="pt",
        )
        hidden = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None].to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        rows.append(torch.nn.functional.normalize(mean.float(), dim=-1))
    place = torch.tensor([index for group in groups for index in group]).argsort()
    return torch.cat(rows)[place]
