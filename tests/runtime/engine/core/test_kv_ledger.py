"""The ledger of the model's memory, alone and against llama.cpp's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.core.kv_ledger import KvLedger
from runtime.engine.llama.model import LlamaModel, Row
from runtime.errors import ModelError, UnavailableError

actions = st.lists(
    st.tuples(st.sampled_from(["open", "grow", "share", "cut", "forget"]), st.integers(0, 7), st.integers(0, 9)),
    max_size=40,
)


@given(actions)
def test_kv_ledger_frees_a_cell_with_its_last_owner(found: list[tuple[str, int, int]]) -> None:
    ledger = KvLedger(1000, 6)
    for action, which, size in found:
        held = list(ledger.leases.values())
        if action == "open" and ledger.free_sequences:
            ledger.open()
        elif not held:
            continue
        elif action == "grow":
            ledger.extend(held[which % len(held)], range(size))
        elif action == "cut":
            ledger.truncate(held[which % len(held)], min(size, len(held[which % len(held)].tokens)))
        elif action == "share" and ledger.free_sequences:
            source, target = held[which % len(held)], ledger.open()
            ledger.share(source, target, min(size, len(source.tokens)))
        elif action == "forget":
            ledger.release(held[which % len(held)])
        assert ledger.used_cells == len({cell for one in ledger.leases.values() for cell in one.cells})
        assert all(len(one.cells) == len(one.tokens) for one in ledger.leases.values())
    for one in list(ledger.leases.values()):
        ledger.release(one)
    assert ledger.used_cells == 0


def test_kv_ledger_finds_the_longest_prefix_of_a_key() -> None:
    ledger = KvLedger(100, 4)
    one, two, other = ledger.open("k"), ledger.open("k"), ledger.open("another")
    ledger.extend(one, [1, 2, 3])
    ledger.extend(two, [1, 2, 3, 4, 9])
    ledger.extend(other, [1, 2, 3, 4, 5])
    assert ledger.longest_prefix("k", [1, 2, 3, 4, 5]) == (two, 4)
    assert ledger.longest_prefix("k", [7]) == (None, 0)


def test_kv_ledger_evicts_prefetched_then_oldest_never_leased() -> None:
    ledger = KvLedger(100, 4)
    old, ahead, work, new = (ledger.open() for _ in range(4))
    with pytest.raises(UnavailableError):
        ledger.open()
    ahead.prefetched = True
    for one in (old, ahead, new):
        one.pins = 0
    ledger.touch(old)
    order = []
    while spare := ledger.eviction_candidate():
        order.append(spare)
        ledger.release(spare)
    assert order == [ahead, new, old]
    assert list(ledger.leases.values()) == [work]


def test_kv_ledger_and_llama_cpp_agree_on_when_memory_is_full(random_gguf: Path) -> None:
    model = LlamaModel(random_gguf, context_tokens=256, slots=1, sequences=4, threads=1, batch_tokens=64)
    ledger = KvLedger(model.cells, 4)
    first, second = ledger.open(), ledger.open()

    def read(held: object, count: int) -> None:
        at = held.next_position  # type: ignore[attr-defined]
        model.decode([Row(65, at + n, held.id, n == count - 1) for n in range(count)])  # type: ignore[attr-defined]
        ledger.extend(held, [65] * count)  # type: ignore[arg-type]

    for _ in range(3):
        read(first, 50)
    model.copy(first.id, second.id, 100)
    ledger.share(first, second, 100)
    model.remove(first.id, 120)
    ledger.truncate(first, 120)
    assert ledger.used_cells == 120
    for _ in range(8):
        read(second, 17)
    assert ledger.used_cells == model.cells == 256
    with pytest.raises(ModelError, match="code 1"):
        read(first, 1)
    model.close()
