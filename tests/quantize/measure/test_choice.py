from __future__ import annotations

import pytest

from quantize.measure.choice import BranchProfile, QualityGate, choose
from quantize.measure.divergence import DecoderMeasurement
from quantize.measure.speed import Speed

SHOP = BranchProfile(memory_mb=500, cores=2, wait_s=2, prompt_tokens=400)


def speed(first_word_s: float, *, threads: int = 2, memory_mb: float = 300) -> Speed:
    return Speed(
        threads=threads, prompt_tokens=200, reading_per_s=200 / first_word_s, writing_per_s=9,
        first_word_s=first_word_s, memory_mb=memory_mb,
    )  # fmt: skip


def file(name: str, kl: float, *speeds: Speed, top1: float = 0.95) -> DecoderMeasurement:
    return DecoderMeasurement(
        format=name, megabytes=80, kl=kl, top1=top1, perplexity=2, tokens_per_s=9, tokens=300, seconds=1, speeds=speeds
    )


NEAR, SOON, FAR = file("q8_0", 0.004, speed(0.9)), file("q4_k_m", 0.03, speed(0.5)), file("q2", 0.4, speed(0.2))


@pytest.mark.parametrize(
    ("rows", "profile", "chosen"),
    [
        pytest.param([NEAR, SOON, FAR], SHOP, "q8_0", id="the nearest to f32 of those that pass"),
        pytest.param([NEAR, SOON], SHOP.model_copy(update={"wait_s": 1.5}), "q4_k_m", id="the wait rules it out"),
        pytest.param([FAR], SHOP, None, id="the gate rules it out"),
        pytest.param([file("a", 0.01, speed(0.9)), file("b", 0.013, speed(0.4))], SHOP, "b", id="as near and sooner"),
        pytest.param([file("a", 0.01, speed(0.5, memory_mb=501)), SOON], SHOP, "q4_k_m", id="too large"),
        pytest.param([file("a", 0.01, speed(0.1, threads=4))], SHOP, None, id="timed with more cores than there are"),
        pytest.param([file("a", 0.01, speed(1.9, threads=1), speed(0.9)), FAR], SHOP, "a", id="the faster count"),
        pytest.param([file("a", float("nan"), speed(0.1))], SHOP, None, id="a figure that is no number"),
        pytest.param([file("a", 0.01, speed(0.1), top1=0.89)], SHOP, None, id="top-1"),
        pytest.param([file("f32", 0.0, speed(0.1), top1=1)], SHOP, None, id="f32 is no file"),
        pytest.param([], SHOP, None, id="nothing was measured"),
    ],
)
def test_a_branch_gets_the_best_file_that_passes(
    rows: list[DecoderMeasurement], profile: BranchProfile, chosen: str | None
) -> None:
    assert choose(rows, profile, QualityGate()).format == chosen


def test_a_verdict_says_all_that_a_file_fails_by() -> None:
    profile = BranchProfile(memory_mb=200, cores=2, wait_s=0.3, prompt_tokens=400)
    (verdict,) = choose([FAR], profile, QualityGate()).verdicts
    assert verdict.misses == (
        "KL 0.4000 above 0.1",
        "first word after 0.40 s, 0.3 s accepted",
        "300 MB of memory, 200 MB there",
    )
