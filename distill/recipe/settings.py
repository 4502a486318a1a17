"""Settings of the training stages, as a recipe names them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TrainSettings(BaseModel):
    """One run over packs; a step is one pack times `accumulate`, on each of torchrun's processes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    learning_rate: float = Field(gt=0)
    epochs: float = Field(default=1.0, gt=0)
    accumulate: int = Field(default=1, ge=1)
    """Packs a step adds up before the weights move."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    precision: str = Field(default="auto", pattern="^(auto|bf16|f32)$")
    seed: int = 0
    checkpoint_every: int = Field(default=0, ge=0)
    """Steps between checkpoints; 0 keeps none. A run that was killed goes on from its last."""
    validation: int = Field(default=0, ge=0)
    """Packs held back; the loss on them is measured at every checkpoint, and the best checkpoint is what comes out."""
    patience: int = Field(default=3, ge=1)
    """Checkpoints without a better validation loss after which a run stops."""

    @model_validator(mode="after")
    def _validated_at_checkpoints(self) -> Self:
        if self.validation and not self.checkpoint_every:
            raise ValueError("validation needs checkpoint_every: it is measured at checkpoints")
        return self


class DistillSettings(TrainSettings):
    """The loss is `loss` on replies + `state_weight` × error of the states + `ce_weight` × cross-entropy on replies.

    The error of the states is |h - s|² / |h|², h the teacher's last hidden state and s the student's, over all tokens
    of a pack that both read alike; it needs a capture with states, and lets tokens teach that are no replies, at no
    cost in logits.
    """

    learning_rate: float = Field(default=1e-4, gt=0)
    loss: Literal["forward_kl", "reverse_kl", "jsd", "none"] = "forward_kl"
    """`none` with a `ce_weight` trains all weights on the replies alone: what a teacher is compared with."""
    state_weight: float = Field(default=0.0, ge=0)
    ce_weight: float = Field(default=0.0, ge=0)
    rank: int = Field(default=0, ge=0, le=256)
    """Rank of LoRA adapters that learn in place of the weights, in a fraction of the memory; 0 = all weights learn."""
    alpha: int = Field(default=32, ge=1)
    modules: tuple[str, ...] = ()
    """With a rank: names of the linear layers that get adapters, empty = all of the decoder."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """With a rank: share of an adapter's inputs dropped in training."""
    frozen: Literal["f32", "bf16"] = "f32"
    """With a rank: what the weights that do not learn are kept in; bf16 halves them, and rounds them for good."""

    @model_validator(mode="after")
    def _only_frozen_weights_are_rounded(self) -> Self:
        if self.frozen == "bf16" and not self.rank:
            raise ValueError('frozen = "bf16" needs a rank: weights that learn stay in f32')
        return self


class LoraSettings(TrainSettings):
    """Low-rank adapters on the decoder's linear layers (arXiv:2106.09685)."""

    learning_rate: float = Field(default=1e-3, gt=0)
    rank: int = Field(default=16, ge=1, le=256)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    modules: tuple[str, ...] = ()
    """Names of the linear layers that get adapters, such as `q_proj`; empty = all of the decoder."""
    frozen: Literal["f32", "bf16"] = "f32"
    """What the weights that do not learn are kept in; bf16 halves their memory, and rounds them for good."""
