"""Memory: as many slots as fit, a refusal with the figures where none does, and the cgroup's limit counts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.core.memory_capacity import RESERVE_BYTES, MemoryNeeds, available_bytes, fit_slots
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.process.remote_engine import RemoteEngine
from runtime.errors import ModelError


@given(
    needs=st.builds(MemoryNeeds, *[st.integers(1, 10**10)] * 3),
    context=st.integers(1, 10**5),
    slots=st.integers(1, 32),
    available=st.integers(-(10**9), 10**12),
)
def test_fit_slots_opens_all_that_fit_and_not_one_more(
    needs: MemoryNeeds, context: int, slots: int, available: int
) -> None:
    def taken(count: int) -> int:
        return needs.weights + needs.buffers + RESERVE_BYTES + count * context * needs.per_token

    try:
        fitting = fit_slots(needs, context_tokens=context, slots=slots, available=available, where="x")
    except ModelError:
        assert taken(1) > available
        return
    assert taken(fitting) <= available
    assert fitting == slots or taken(fitting + 1) > available


def test_a_model_that_does_not_fit_is_refused_with_the_figures_and_a_short_memory_has_fewer_slots(
    random_gguf: Path,
) -> None:
    # 2 layers, 2 heads of 32 values, keys and values in 2 bytes: 512 bytes a token.
    one_slot = 4096 * 512
    fixed = RESERVE_BYTES + 4_000_000
    with pytest.raises(ModelError, match=r"needs 0\.\d\d GB for one context of 4,096 tokens, and 0\.20 GB can be had"):
        LlamaEngine(EngineOptions(random_gguf, context_tokens=4096, threads=1, memory_bytes=RESERVE_BYTES))
    for kind in (LlamaEngine, RemoteEngine):
        with kind(
            EngineOptions(random_gguf, context_tokens=4096, threads=1, slots=4, memory_bytes=fixed + 2 * one_slot)
        ) as engine:
            assert 1 <= engine.slots < 4
            generation = engine.generate([65, 66], SamplingParams(max_tokens=2), threading.Event())
            list(generation)
            assert generation.stats.answer_tokens == 2
    with LlamaEngine(EngineOptions(random_gguf, context_tokens=4096, threads=1, slots=4)) as engine:
        assert engine.slots == 4
    small = {"context_tokens": 4096, "threads": 1, "slots": 4, "memory_bytes": fixed + 2 * one_slot}
    with (
        LlamaEngine(EngineOptions(random_gguf, **small)) as f16,
        LlamaEngine(EngineOptions(random_gguf, kv_type="q8_0", **small)) as q8,
    ):  # type: ignore[arg-type]
        assert q8.slots > f16.slots


def test_the_limit_of_the_own_cgroup_counts_in_both_versions_and_nested(tmp_path: Path) -> None:
    gib = 1 << 30

    def machine(cgroup: str, files: dict[str, str]) -> int:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        (folder / "proc" / "self").mkdir(parents=True)
        (folder / "proc" / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {16 * gib // 1024} kB\n")
        (folder / "proc" / "self" / "cgroup").write_text(cgroup)
        for name, text in files.items():
            path = folder / "sys" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return available_bytes(folder / "proc", folder / "sys")

    def group(top: str, limit: object, used: int, version: int = 2) -> dict[str, str]:
        names = ("memory.max", "memory.current", "inactive_file") if version == 2 else (
            "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
        )  # fmt: skip
        return {f"{top}{names[0]}": f"{limit}\n", f"{top}{names[1]}": f"{used}\n", f"{top}memory.stat": (
            f"anon 5\n{names[2]} {gib}\n"
        )}  # fmt: skip

    assert machine("0::/\n", {}) == 16 * gib
    assert machine("0::/a/b\n", group("a/b/", "max", 3 * gib)) == 16 * gib
    assert machine("0::/a/b\n", group("a/b/", 4 * gib, 3 * gib)) == 2 * gib
    assert machine("0::/a/b\n", {**group("a/b/", "max", 1), **group("a/", 3 * gib, 2 * gib)}) == 2 * gib
    assert machine("0::/host/only\n", group("", 5 * gib, 2 * gib)) == 4 * gib  # as seen inside a container
    assert machine("3:cpu:/\n4:memory:/x\n0::/\n", group("memory/x/", 6 * gib, 2 * gib, 1)) == 5 * gib
    assert machine("4:memory:/x\n", group("memory/x/", 2**63 - 4096, 2 * gib, 1)) == 16 * gib
