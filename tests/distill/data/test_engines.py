"""Whatever runs the steps, the records are the same, in the same order."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from distill.data.conversation import RawConversation, RawTurn
from distill.data.engines import Engine, run_rows
from distill.data.prepare import prepare
from distill.data.steps import Dropped, Step


def talks() -> list[RawConversation]:
    return [
        RawConversation(
            conversation=f"c{number}",
            lang="zh" if number % 3 else "en",
            turns=(
                RawTurn(role="user", content=f"订单 {number} 在哪？ Where is order {number}, please tell me now?"),
                RawTurn(role="assistant", content=f"Order {number} is at anna{number}@example.com. 在路上。"),
            ),
            where=f"t.csv:{number + 2}",
        )
        for number in range(40)
    ]


def written(folder: Path, engine: Engine) -> dict[str, str]:
    every_fifth = Step[RawConversation](
        "fifth", lambda each: Dropped("a fifth") if each.conversation.endswith(("0", "5")) else each
    )
    prepare(talks(), folder, seed=1, engine=engine, conversation_steps=(every_fifth,))
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.json*"))}


@pytest.mark.parametrize("engine", ["datasets", "ray"])
def test_engine_gives_the_same_records_as_one_process(engine: Engine, tmp_path: Path) -> None:
    if engine == "ray" and importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    alone = written(tmp_path / "alone", "process")
    assert '"fifth: a fifth": 8' in alone["report.json"]
    assert written(tmp_path / engine, engine) == alone
    assert not [path for path in tmp_path.rglob("*.parquet")]  # noqa: C416 - what waited on disk is gone


def test_engine_of_no_rows_gives_no_outcomes(tmp_path: Path) -> None:
    for engine in ("auto", "process", "datasets"):
        assert list(run_rows([], lambda _: [], tmp_path, engine=engine)) == []
