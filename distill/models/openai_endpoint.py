"""A teacher served by an OpenAI-compatible server (vLLM, llama-server): its likeliest tokens, by token ids.

    prompt   vLLM: `prompt_logprobs` gives every position of a text in one request
    step     llama-server, and others that name ids: one token a request, the text before it cached by the server

Which of the two a server can is found out by asking. Promises: a server that cuts text otherwise than the student, or
names no token ids, is refused before anything is captured. The mass beyond the likeliest tokens is spread evenly, so a
capture of as many tokens as were asked for is exact. Knows nothing of what is kept.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from distill.packing.packing import Pack
from runtime.errors import ModelError, UnavailableError, UsageError
from runtime.prompting.prompt_spec import Tokenizer

if TYPE_CHECKING:
    import httpx
    import torch

KEY = "EDGEDESK_TEACHER_KEY"
"""Environment variable with the server's key, where it wants one."""
TIMEOUT_S = 600.0
_UNKNOWN_TO_IT = (404, 405, 501)
"""What servers answer to a request that they do not offer."""
Row = list[tuple[int, float]]
"""(token, natural log-probability) of the likeliest, in any order."""


class Endpoint:
    """One server: what it serves, how it cuts text, how likely it finds tokens."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        self._client, self.url = client, url.rstrip("/")
        models = self._send("GET", f"{self.url}/models").get("data") or []
        if not models:
            raise self._failed("it serves no model")
        self.model = str(models[0]["id"])

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, control tokens in it read as such."""
        root = self.url.removesuffix("/v1")
        body = {"model": self.model, "content": text, "prompt": text, "add_special": False, "add_special_tokens": False}
        return [int(token) for token in self._send("POST", f"{root}/tokenize", body)["tokens"]]

    def after(self, tokens: Sequence[int], k: int) -> Row:
        """The likeliest next tokens."""
        body = {"prompt": list(tokens), "max_tokens": 1, "logprobs": k, "cache_prompt": True}
        return next_row(self._complete(body | {"return_tokens_as_token_ids": True}))

    def within(self, tokens: Sequence[int], k: int) -> list[Row] | None:
        """The likeliest tokens at every position but the first; None when the server does not tell."""
        body = {"prompt": list(tokens), "max_tokens": 1, "prompt_logprobs": k}
        rows = self._complete(body).get("prompt_logprobs")
        return None if rows is None else [prompt_row(row) for row in rows[1:]]

    def chat(self, messages: Sequence[Mapping[str, str]], **params: Any) -> tuple[str, str]:
        """A reply in the server's own template, and why it ended, such as `stop` or `length`."""
        body = {"model": self.model, "messages": list(messages), **params}
        answer = self._send("POST", f"{self.url}/chat/completions", body)
        try:
            choice = answer["choices"][0]
            return str(choice["message"]["content"] or ""), str(choice.get("finish_reason"))
        except (KeyError, IndexError, TypeError) as error:
            raise self._failed("its answer has no message") from error

    def _complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._send("POST", f"{self.url}/completions", {"model": self.model, "temperature": 0, **body})
        try:
            return dict(answer["choices"][0])
        except (KeyError, IndexError, TypeError) as error:
            raise self._failed("its answer has no choice") from error

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        import httpx

        try:
            answer = self._client.request(method, url, json=body)
        except httpx.HTTPError as error:
            raise self._failed(f"it does not answer ({type(error).__name__})") from error
        if answer.status_code in _UNKNOWN_TO_IT:
            raise UsageError(
                f"it does not know {url} ({answer.status_code})",
                where=self.url,
                hint="serve it with vLLM or llama-server",
            )
        if answer.status_code != 200:
            raise self._failed(f"it answers {answer.status_code} to {url}: {answer.text[:200]}")
        try:
            return dict(answer.json())
        except ValueError as error:
            raise self._failed("its answer is not JSON") from error

    def _failed(self, what: str) -> UnavailableError:
        return UnavailableError(
            what, where=self.url, hint=f"what was captured is kept: run the build again; a key goes into {KEY}"
        )


def prompt_row(row: Mapping[str, Any]) -> Row:
    """A position of vLLM's `prompt_logprobs` (pure)."""
    return [(int(token), float(entry["logprob"])) for token, entry in row.items()]


def next_row(choice: Mapping[str, Any]) -> Row:
    """The first new token's likeliest ones, in llama-server's form or vLLM's; `UsageError` without ids (pure)."""
    given = choice.get("logprobs") or {}
    if content := given.get("content"):
        top = content[0].get("top_logprobs") or []
        if top and all("id" in entry for entry in top):
            return [(int(entry["id"]), float(entry["logprob"])) for entry in top]
    named = (given.get("top_logprobs") or [{}])[0]
    if named and all(name.startswith("token_id:") for name in named):
        return [(int(name.removeprefix("token_id:")), float(value)) for name, value in named.items()]
    raise UsageError(
        "the server gives no log-probabilities by token ids, so only its text could be distilled",
        where="base.model",
        hint="serve it with vLLM or llama-server",
    )


class EndpointTeacher:
    """Reads packs through a server; its server opened with `open_endpoint`."""

    hidden = 0

    def __init__(self, endpoint: Endpoint, vocabulary: int, k: int) -> None:
        self._endpoint, self.vocabulary, self._k = endpoint, vocabulary, k
        self.way = "step"
        try:
            if endpoint.within([0, 0], 1) is not None:
                self.way = "prompt"
        except (UnavailableError, UsageError):
            pass  # it refuses what it does not know
        if self.way == "step":
            endpoint.after([0, 0], 1)

    def read(self, pack: Pack) -> tuple[Iterator[torch.Tensor], None]:
        """A branch at a time; `UsageError` for articles that are not laid out `exact`."""
        if pack.layout != "exact":
            raise UsageError(
                f"a server cannot teach in the layout '{pack.layout}'", where="capture.layout", hint='leave it "exact"'
            )
        return (self._branch(pack, start, reply, end) for start, reply, end in pack.branches), None

    def _branch(self, pack: Pack, start: int, reply: int, end: int) -> torch.Tensor:
        import torch

        tokens = [*pack.tokens[: pack.prefix], *pack.tokens[start:end]]
        first = pack.prefix + reply - start
        if self.way == "prompt":
            # vLLM gives the probabilities of a token at the token itself, and the first token has none: hence -1.
            rows = (self._endpoint.within(tokens, self._k) or [])[first - 1 :]
        else:
            rows = [self._endpoint.after(tokens[:place], self._k) for place in range(first, len(tokens))]
        if len(rows) != end - reply:
            raise ModelError(f"{len(rows)} positions came back for {end - reply}", where=self._endpoint.url)
        return torch.stack([spread_row(row, self._k, self.vocabulary) for row in rows])


def spread_row(row: Row, k: int, vocabulary: int) -> torch.Tensor:
    """Log-probabilities [vocabulary]: the k likeliest as given, the remaining mass spread evenly over the others."""
    import torch

    best = sorted(row, key=lambda pair: -pair[1])[:k]
    ids = torch.tensor([token for token, _ in best])
    logprobs = torch.tensor([logprob for _, logprob in best], dtype=torch.float64)
    if not logprobs.isfinite().all() or int(ids.max()) >= vocabulary:
        raise ModelError("the server gives impossible tokens or log-probabilities", hint="another model's server?")
    left = max(1e-9, 1.0 - float(logprobs.exp().sum()))
    out = torch.full((vocabulary,), math.log(left / max(1, vocabulary - len(best))), dtype=torch.float64)
    out[ids] = logprobs
    return out.float()


def prove_same_tokens(ours: Tokenizer, endpoint: Endpoint, strings: Sequence[str]) -> int:
    """Count the strings that student and server cut alike; `ModelError` on the first that they do not."""
    for text in strings:
        left, right = ours.encode(text, control=True), endpoint.tokenize(text)
        if left != right:
            raise ModelError(
                f"student and server cut {text!r} differently: {left[:12]} and {right[:12]}",
                where=endpoint.url,
                hint="take a student of the served model's family",
            )
    return len(strings)


def is_endpoint(name: str) -> bool:
    """Whether a base model's name is the address of a server."""
    return name.startswith(("http://", "https://"))


@contextmanager
def open_endpoint(url: str) -> Iterator[Endpoint]:
    """A connection to the server; its key comes from the environment."""
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if (key := os.environ.get(KEY)) else {}
    with httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
        yield Endpoint(client, url)
