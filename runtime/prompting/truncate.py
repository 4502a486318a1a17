"""Fits a prompt into the engine's context: what is left out, and in which order.

Pure. Knows nothing of models: a tokenizer counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.prompting.encode import encode_parts
from runtime.prompting.prompt_spec import PromptSpec, Tokenizer, layout
from runtime.text.articles import Section
from runtime.text.records import Turn

if TYPE_CHECKING:
    from runtime.prompting.prompt_tokens import Prompt


def truncate_tokens(
    spec: PromptSpec,
    tokenizer: Tokenizer,
    lang: str,
    sections: Sequence[Section],
    turns: Sequence[Turn],
    question: str,
    room: int,
) -> tuple[list[int], list[Section]]:
    """Like `truncate_prompt`, as one list of tokens."""
    prompt, shown = truncate_prompt(spec, tokenizer, lang, sections, turns, question, room)
    return prompt.flat(), shown


def truncate_prompt(
    spec: PromptSpec,
    tokenizer: Tokenizer,
    lang: str,
    sections: Sequence[Section],
    turns: Sequence[Turn],
    question: str,
    room: int,
) -> tuple[Prompt, list[Section]]:
    """A prompt of at most `room` tokens and the sections in it, given best first.

    What is dropped until it fits: the oldest exchange, again and again; then the worst section. With no section left
    the prompt may still be too long.
    """
    shown, past = list(sections), list(turns)
    while True:
        prompt = encode_parts(layout(spec, lang, shown, past, question), tokenizer)
        if len(prompt) <= room or not (past or shown):
            return prompt, shown
        if past:
            del past[:2]
        else:
            shown.pop()
