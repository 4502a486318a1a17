"""Held-out replies word by word: which of their facts a model tells, and how surprised it is."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from distill.packing.packing import Pack, encode_pack
from distill.teacher.teacher_forcing import read_replies
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.prompting.prompt_spec import PromptSpec
from runtime.text.articles import Section
from runtime.text.records import Record

SURE = 20.0
ARTICLES = {
    "en": "Return it within 30 days. Delivery costs 4.90 euros and is free from 50 euros.",
    "zh": "三十天内可退货，即30天。运费4.90欧元，满50欧元免运费。",
}
REPLIES = {"en": ("It is 4.90 euros.", "You have 30 days, not 45."), "zh": ("运费是4.90欧元。", "您有30天，不是45天。")}


class Oracle(torch.nn.Module):
    """Says what comes next in the text it is given, but for one place where it says something else."""

    def __init__(self, size: int, wrong_before: int) -> None:
        super().__init__()
        self.size, self.wrong_before = size, wrong_before
        self.lm_head = torch.nn.Identity()
        self.device = torch.device("cpu")

    def model(self, input_ids: torch.Tensor, **_: Any) -> Any:
        following = input_ids.roll(-1, 1).clone()
        if self.wrong_before:
            place = self.wrong_before - 1
            following[0, place] = (following[0, place] + 1) % self.size
        return SimpleNamespace(last_hidden_state=SURE * torch.nn.functional.one_hot(following, self.size).float())


@pytest.fixture(params=["en", "zh"])
def pack(
    request: pytest.FixtureRequest, make_record: Callable[..., Record], spec: PromptSpec, tokenizer: JsonTokenizer
) -> Pack:
    """Two records about one article."""
    lang = request.param
    section = Section("costs", "a", "Costs", "Costs", ARTICLES[lang], lang)
    records = [make_record(f"r{n}", "?", reply, section.ref, lang=lang) for n, reply in enumerate(REPLIES[lang])]
    made, left = encode_pack(records, [section], spec, tokenizer, 700)
    assert made is not None
    assert not left
    return made


def figure(pack: Pack, tokenizer: JsonTokenizer, text: str) -> int:
    """Where the figure's last token stands."""
    _, reply, end = next(row for row in pack.branches if text in tokenizer.decode(pack.tokens[row[1] : row[2]]))
    return next(place for place in range(reply, end) if text in tokenizer.decode(pack.tokens[reply : place + 1]))


@pytest.mark.parametrize(
    ("missed", "facts"), [("", [1.0, 1.0]), ("4.90", [0.0, 1.0]), ("30", [1.0, 0.0]), ("45", [1.0, 1.0])]
)
def test_a_fact_is_a_figure_of_the_articles_whose_every_token_is_the_likeliest(
    pack: Pack, tokenizer: JsonTokenizer, missed: str, facts: list[float]
) -> None:
    size = max(pack.tokens) + 2
    wrong = figure(pack, tokenizer, missed) if missed else 0
    read = read_replies(Oracle(size, wrong), [pack], tokenizer)
    assert read.facts.tolist() == facts  # 45 stands in no article
    assert read.tokens.tolist() == [end - reply for _, reply, end in pack.branches]
    assert read.nats == pytest.approx(SURE / read.tokens.sum() if missed else 0, abs=1e-3)
