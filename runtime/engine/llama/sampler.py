"""How the next token is chosen: llama.cpp's sampler chain, one for each answer.

    grammar → penalties → min-p → top-p → temperature → draw, or the likeliest

Promises: a grammar or schema that cannot be used is refused before the request is queued; the same seed draws the same.
"""

from __future__ import annotations

import json
from typing import Any

from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.bindings import last_log, library
from runtime.engine.llama.vocab import LlamaVocabulary
from runtime.errors import InputError


class LlamaSampler:
    """The chain of one answer; `InputError` for a grammar or schema llama.cpp cannot use."""

    def __init__(self, vocab: LlamaVocabulary, params: SamplingParams) -> None:
        self._lib = lib = library()
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        try:
            for link in self._links(vocab, params):
                lib.llama_sampler_chain_add(self._chain, link)
        except InputError:
            self.close()
            raise

    def _links(self, vocab: LlamaVocabulary, params: SamplingParams) -> list[Any]:
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
