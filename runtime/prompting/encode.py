"""Prompts as token ids, each span encoded alone, so that training and a branch read the same tokens."""

from __future__ import annotations

from dataclasses import replace

from runtime.prompting.prompt_spec import PromptParts, PromptSpan, PromptSpec, Tokenizer, encode
from runtime.prompting.prompt_tokens import Prompt


def encode_parts(parts: PromptParts, tokenizer: Tokenizer) -> Prompt:
    """Token ids of a prompt in its three parts, each span tokenised alone."""
    from runtime.prompting.prompt_tokens import Prompt

    return Prompt(
        tuple(encode(parts.system, tokenizer)),
        tuple(tuple(encode(article, tokenizer)) for article in parts.articles),
        tuple(encode(parts.tail, tokenizer)),
    )


def without_closing(spec: PromptSpec, tokenizer: Tokenizer, prompt: Prompt) -> Prompt:
    """A prompt up to the end of its question: without what the template writes behind that."""
    end = len(
        encode([PromptSpan(spec.pieces.user_close, True), PromptSpan(spec.pieces.assistant_open, True)], tokenizer)
    )
    return replace(prompt, tail=prompt.tail[: len(prompt.tail) - end])
