"""Which of the measured files a branch is to run, from what it has and what its agents accept (pure).

A file that misses the gate or does not fit is out, with its reasons. Of the rest, those that stray from f32 hardly
further than the nearest one count as equal, and the soonest first word decides. Knows nothing of how files are made.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from quantize.measure.divergence import DecoderMeasurement
from quantize.measure.speed import Speed

_AS_NEAR_NATS = 0.005
"""KL that separates no two files: what rounding f16 keys and values costs is of that order."""


class BranchProfile(BaseModel):
    """What a branch has, and what its agents accept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_mb: float = Field(gt=0)
    """Left for the engine's process, 10⁶ bytes."""
    cores: int = Field(default=2, ge=1)
    wait_s: float = Field(gt=0)
    """Longest wait for the first word of an answer."""
    prompt_tokens: int = Field(default=384, ge=1)
    """Unread tokens of a usual prompt."""


class QualityGate(BaseModel):
    """What a file must keep of f32."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_kl: float = Field(default=0.1, gt=0)
    min_top1: float = Field(default=0.9, ge=0, le=1)


class FileVerdict(BaseModel):
    """One file for one branch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    kl: float
    first_word_s: float | None
    """None where no speed was measured with as many threads as the branch has cores, or fewer."""
    memory_mb: float | None
    misses: tuple[str, ...] = ()
    """What it fails by, in words; none for a file that passes."""


class Choice(BaseModel):
    """The file, and why not the others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str | None
    verdicts: tuple[FileVerdict, ...]


def choose(rows: Sequence[DecoderMeasurement], profile: BranchProfile, gate: QualityGate) -> Choice:
    """The best passing file; None where none passes. The f32 row is a yardstick, not a file."""
    verdicts = tuple(_judge(row, profile, gate) for row in rows if row.format != "f32")
    passing = [verdict for verdict in verdicts if not verdict.misses]
    nearest = min((verdict.kl for verdict in passing), default=0.0)
    equal = [verdict for verdict in passing if verdict.kl <= nearest + _AS_NEAR_NATS]
    best = min(equal, key=lambda verdict: (verdict.first_word_s or 0.0, verdict.kl), default=None)
    return Choice(format=best.format if best else None, verdicts=verdicts)


def wait_of(speed: Speed, prompt_tokens: int) -> float:
    """Seconds to the first word of a prompt of another length than was measured, in proportion."""
    return speed.first_word_s * prompt_tokens / speed.prompt_tokens


def _judge(row: DecoderMeasurement, profile: BranchProfile, gate: QualityGate) -> FileVerdict:
    speeds = [speed for speed in row.speeds if speed.threads <= profile.cores]
    wait, memory = None, None
    misses = []
    # Written so that a figure that is no number fails.
    if not row.kl <= gate.max_kl:
        misses.append(f"KL {row.kl:.4f} above {gate.max_kl:g}")
    if not row.top1 >= gate.min_top1:
        misses.append(f"top-1 {row.top1:.3f} below {gate.min_top1:g}")
    if not speeds:
        misses.append(f"no speed measured with {profile.cores} threads or fewer")
    else:
        wait = round(min(wait_of(speed, profile.prompt_tokens) for speed in speeds), 3)
        memory = max(speed.memory_mb for speed in speeds)
        if not wait <= profile.wait_s:
            misses.append(f"first word after {wait:.2f} s, {profile.wait_s:g} s accepted")
        if not memory <= profile.memory_mb:
            misses.append(f"{memory:,.0f} MB of memory, {profile.memory_mb:,.0f} MB there")
    return FileVerdict(format=row.format, kl=row.kl, first_word_s=wait, memory_mb=memory, misses=tuple(misses))
