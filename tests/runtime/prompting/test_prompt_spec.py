from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from runtime.prompting.prompt_spec import ChatPieces, PromptSpec, encode, layout, section_text
from runtime.text.articles import Section
from runtime.text.records import Turn

PIECES = ChatPieces(
    system_open="<|im_start|>system\n",
    system_close="<|im_end|>\n",
    user_open="<|im_start|>user\n",
    user_close="<|im_end|>\n",
    assistant_open="<|im_start|>assistant\n",
    assistant_close="<|im_end|>\n",
    stop=("<|im_end|>",),
)
SPEC = PromptSpec(
    pieces=PIECES,
    system={"en": "House rules.", "zh": "店规。"},
    refusal={"en": "I can't find that."},
    languages=("en", "zh"),
)
RETURNS = Section("returns", "how-long", "退货期限", "多长时间", "30天内。", "zh")
DELIVERY = Section("delivery", "price", "配送", "配送", "4.90欧元。", "zh")


class Letters:
    """A tokenizer that shows what it was given: control pieces as one negative token, text by its characters."""

    def encode(self, text: str, *, control: bool) -> list[int]:
        return [-len(text)] if control else [ord(char) for char in text]


def test_a_prompt_is_laid_out_as_training_saw_it_best_section_nearest_to_the_question() -> None:
    turns = [Turn(role="user", content="你好"), Turn(role="assistant", content="您好")]
    parts = layout(SPEC, "zh", [RETURNS, DELIVERY], turns, "几天能退？")
    assert "".join(span.text for span in parts.spans()) == (
        "<|im_start|>system\n店规。\n\n配送\n4.90欧元。\n\n退货期限: 多长时间\n30天内。\n\n<|im_end|>\n"
        "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n您好<|im_end|>\n"
        "<|im_start|>user\n几天能退？<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_language_without_house_rules_gets_the_first() -> None:
    assert layout(SPEC, "fr", [], [], "x").system[1].text == "House rules.\n\n"


def test_without_a_section_the_prompt_has_no_article_part() -> None:
    assert layout(SPEC, "en", [], [], "x").articles == []


@given(st.text())
def test_only_the_templates_own_pieces_may_hold_control_tokens(hostile: str) -> None:
    """Part of S7: a role marker in an article, a turn or a question stays text."""
    section = Section("a", "b", hostile, hostile, hostile, "en")
    parts = layout(SPEC, "en", [section], [Turn(role="user", content=hostile + "x")], hostile)
    allowed = set(PIECES.model_dump(exclude={"stop"}).values())
    assert all(span.text in allowed for span in parts.spans() if span.control)
    tokens = encode(parts.spans(), Letters())
    assert sum(token < 0 for token in tokens) == 7
    assert [token for token in tokens if token >= 0] == [
        ord(char) for text in ("House rules.\n\n", section_text(section), hostile + "x", hostile) for char in text
    ]


@given(st.lists(st.sampled_from([RETURNS, DELIVERY]), max_size=4))
def test_an_articles_tokens_do_not_depend_on_its_neighbours(sections: list[Section]) -> None:
    alone = {section: layout(SPEC, "zh", [section], [], "x").articles[0] for section in sections}
    assert layout(SPEC, "zh", sections, [], "x").articles == [alone[section] for section in reversed(sections)]


@pytest.mark.parametrize("change", [{"articles": 0}, {"languages": ()}, {"context_tokens": 1}, {"colour": "red"}])
def test_settings_that_cannot_work_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PromptSpec.model_validate({**SPEC.model_dump(), **change})
