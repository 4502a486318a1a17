"""A company that brings articles and nothing else: `init`, build, install, and questions answered from the articles."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from distill.data.new_company import write_company
from distill.recipe.load_recipe import load_recipe
from distill.recipe.recipe import BaseChoice, Evaluate, Quantize, Tuning
from edgedesk_build import Chain
from runtime.base.jsonl import read_rows
from runtime.base.settings import Settings
from runtime.bundle.generations import install
from runtime.desk.open_desk import open_desk
from runtime.events import AskRequest, Done
from runtime.text.records import Record
from tests.support.paths import ROOT

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
CHINESE = """# 退货

## 退货期限

商品自收到之日起30天内可以退货，需要出示小票。

## 退款时间

退款在五个工作日内原路退回。
"""


def test_articles_alone_build_and_answer(tmp_path: Path, tiny_llama: Path, tiny_encoder: Path) -> None:
    """The project's own how-to pages and a Chinese page, as they are."""
    articles = tmp_path / "our articles"
    articles.mkdir()
    for page in sorted((ROOT / "docs" / "how-to").glob("c*.md")):
        (articles / page.name).write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    (articles / "退货.txt").write_text(CHINESE, encoding="utf-8")
    made = write_company(articles, tmp_path / "shop")
    recipe = load_recipe(made.files[0])
    small = recipe.model_copy(
        update={
            "base": BaseChoice(model=str(tiny_llama), embedder=str(tiny_encoder)),
            "data": recipe.data.model_copy(update={"article_questions": 2}),
            "lora": Tuning(packs=2, rank=2, precision="f32"),
            "quantize": Quantize(formats=("q8_0",), default="q8_0", onnx=False),
            "evaluate": Evaluate(packs=1, questions=0, attacks=0),
        }
    )
    report = Chain(small, tmp_path / "work").run()
    records = list(read_rows(Record, tmp_path / "work" / "records" / "train.jsonl"))
    assert {record.source for record in records} == {"article", "simulated"}
    home = tmp_path / "home"
    install(report.bundle, home)
    with open_desk(home, Settings(threads=1, compile="off")) as desk:
        for question, article in (("How do I run Edgedesk in a container?", "container"), ("退货期限", "退货")):
            (done,) = (
                one for one in desk.ask(AskRequest(question=question), threading.Event()) if isinstance(one, Done)
            )
            assert article in {citation.article for citation in done.citations}, (question, done)
            assert done.answer
