"""How the next token is chosen: llama.cpp's sampler chain, one for each answer.

    grammar → penalties → min-p → top-p → temperature → draw, or the likeliest

Promises: a grammar or schema that cannot be used is refused before the request is queued; the same seed draws the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.engine.library import last_log, library
from runtime.engine.vocab import Vocab
from runtime.errors import InputError


@dataclass(frozen=True)
class SamplingParams:
    """How an answer is written; greedy unless a temperature is given."""

    max_tokens: int = 160
    temperature: float = 0.0
    top_p: float = 1.0
    """Draw from the likeliest tokens that together have this probability."""
    min_p: float = 0.0
    """Leave out tokens less likely than this share of the likeliest one."""
    repeat_penalty: float = 1.0
    """Above 1 makes tokens unlikely that the last `repeat_tokens` of the answer contain."""
    repeat_tokens: int = 64
    seed: int = 0
    stop: frozenset[int] = frozenset()
    """Tokens that end the answer besides those the model itself marks as ends; they are not part of it."""
    stop_strings: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    grammar: str = ""
    """GBNF, its rule `root`: nothing else can be written."""
    json_schema: str = ""
    """JSON Schema as JSON text; made into a grammar."""
    lookup: bool = True
    """Guess tokens from the prompt and check several at once, where that saves time; the text is the same.

    Up to near ties of a quantized model, as beside other requests (docs/reference/engine.md).
    """
    adapter: str = ""
    """A LoRA adapter the engine was opened with; the plain model if empty."""
    logprobs: int | None = None
    """Give the log-probability of every token and of so many likeliest ones in its place."""


@dataclass(frozen=True)
class Scored:
    """A token written, with natural log-probabilities of the model before any sampling setting."""

    token: int
    text: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...]
    """(token, its bytes, its log-probability) of the likeliest, best first."""


class NextToken(Protocol):
    """What chooses an answer's tokens; each engine knows its own."""

    def close(self) -> None:
        """The answer has ended."""
        ...


class Sampler:
    """The chain of one answer; `InputError` for a grammar or schema llama.cpp cannot use."""

    def __init__(self, vocab: Vocab, params: SamplingParams) -> None:
        self._lib = lib = library()
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        try:
            for link in self._links(vocab, params):
                lib.llama_sampler_chain_add(self._chain, link)
        except InputError:
            self.close()
            raise

    def _links(self, vocab: Vocab, params: SamplingParams) -> list[Any]:
        lib = self._lib
        links = []
        if grammar := params.grammar or (params.json_schema and schema_grammar(params.json_schema)):
            link = lib.llama_sampler_init_grammar(vocab.handle, grammar.encode(), b"root")
            if not link:
                raise InputError("the grammar cannot be used", hint=last_log())
            links.append(link)
        if params.repeat_penalty != 1.0:
            links.append(
                lib.llama_sampler_init_penalties(vocab.size, params.repeat_tokens, params.repeat_penalty, 0.0, 0.0)
            )
        if params.temperature <= 0:
            return [*links, lib.llama_sampler_init_greedy()]
        if params.min_p > 0:
            links.append(lib.llama_sampler_init_min_p(params.min_p, 1))
        if params.top_p < 1:
            links.append(lib.llama_sampler_init_top_p(params.top_p, 1))
        return [*links, lib.llama_sampler_init_temp(params.temperature), lib.llama_sampler_init_dist(params.seed)]

    def next(self, context: Any, row: int) -> int:
        """The next token, drawn from the logits of the batch's row of that number."""
        return int(self._lib.llama_sampler_sample(self._chain, context, row))

    def close(self) -> None:
        """Free the chain; safe to call twice."""
        chain, self._chain = self._chain, None
        if chain:
            self._lib.llama_sampler_free(chain)


def schema_grammar(schema: str) -> str:
    """GBNF of a JSON Schema; `InputError` for text that is none."""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        if not isinstance(json.loads(schema), dict):
            raise ValueError("not an object")
        return str(json_schema_to_gbnf(schema))
    except Exception as error:  # the converter raises whatever its code stumbles over
        raise InputError(f"the JSON schema cannot be used ({error})", hint="send a JSON Schema object") from None
