"""The prompt's layout, the same in training and in a branch, so that articles can be compiled (docs/architecture.md).

    [system text, house rules]   [article A] [article B] …   [turns so far] [question] [assistant:]

The text is cut into spans and every span is tokenised alone, so an article's tokens never depend on its neighbours.
Only the template's own pieces may contain control tokens: house rules, articles, turns and questions are encoded as
plain text, so nobody can write a role marker into the prompt. No template language runs here; the pieces were
read off the model's chat template when the bundle was built. Knows nothing of models and engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from runtime.text.articles import Section
    from runtime.text.records import Turn


class ChatPieces(BaseModel):
    """What a chat template writes around each message, control tokens included; in ChatML `<|im_start|>user` etc."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system_open: str
    system_close: str
    user_open: str
    user_close: str
    assistant_open: str
    assistant_close: str
    stop: tuple[str, ...]
    """Control tokens that end the assistant's turn."""


class PromptSpec(BaseModel):
    """`prompt.json` of a bundle: everything the runtime needs to lay out a prompt as training did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pieces: ChatPieces
    system: dict[str, str]
    """House rules by language; the first language is the default."""
    refusal: dict[str, str]
    """By language: what the model was taught to say when the articles hold no answer."""
    languages: tuple[str, ...] = Field(min_length=1)
    """Languages the model may write; in any other the cited section itself is shown."""
    articles: int = Field(default=3, ge=1, le=16)
    """How many sections a prompt holds."""
    context_tokens: int = Field(default=2048, ge=256)
    answer_tokens: int = Field(default=160, ge=8)
    min_agreement: float = Field(default=0.0, ge=0, le=1)
    """Of each sentence of an answer, the share of words and figures that one of the articles' sentences that answer
    best must hold; those are shown instead of an answer below it (`runtime.grounding.extractive_answer`). 0: the model
    is trusted.
    """
    layout: str = "exact"
    """How the runtime reads articles: `exact`, or compiled as `parallel` or `sequential` (docs/reference/engine.md)."""


class PromptSpan(NamedTuple):
    """A piece of text tokenised alone. `control`: whether control tokens in it count as such."""

    text: str
    control: bool


class PromptParts(NamedTuple):
    """System text, articles and tail (docs/decisions/009-compiled-articles.md), each a list of spans."""

    system: list[PromptSpan]
    articles: list[list[PromptSpan]]
    tail: list[PromptSpan]

    def spans(self) -> list[PromptSpan]:
        """All spans in reading order."""
        return [*self.system, *(span for article in self.articles for span in article), *self.tail]


class Tokenizer(Protocol):
    """What a prompt needs of a tokenizer; llama.cpp's and Hugging Face's both fit."""

    def encode(self, text: str, *, control: bool) -> list[int]:
        """Token ids without any added begin or end token."""
        ...


def layout(
    spec: PromptSpec, lang: str, sections: Sequence[Section], turns: Iterable[Turn], question: str
) -> PromptParts:
    """Lay out a prompt. Sections are given best first; the best stands last, nearest to the question."""
    pieces = spec.pieces
    rules = spec.system.get(lang) or next(iter(spec.system.values()))
    system = [PromptSpan(pieces.system_open, True), PromptSpan(rules + "\n\n", False)]
    articles = [[PromptSpan(section_text(section), False)] for section in reversed(sections)]
    tail = [PromptSpan(pieces.system_close, True)]
    for turn in turns:
        before, after = (
            (pieces.user_open, pieces.user_close)
            if turn.role == "user"
            else (pieces.assistant_open, pieces.assistant_close)
        )
        tail += [PromptSpan(before, True), PromptSpan(turn.content, False), PromptSpan(after, True)]
    tail += [
        PromptSpan(pieces.user_open, True),
        PromptSpan(question, False),
        PromptSpan(pieces.user_close, True),
        PromptSpan(pieces.assistant_open, True),
    ]
    return PromptParts(system, articles, tail)


def section_text(section: Section) -> str:
    """A section as the model reads it."""
    head = section.title if section.heading == section.title else f"{section.title}: {section.heading}"
    return f"{head}\n{section.text}\n\n"


def encode(spans: Iterable[PromptSpan], tokenizer: Tokenizer) -> list[int]:
    """Token ids of spans in order, each span tokenised alone."""
    return [token for span in spans if span.text for token in tokenizer.encode(span.text, control=span.control)]
