"""Token ids of an encoder's texts; of a large vocabulary only what occurs in them is loaded.

A Unigram model cuts a text into the pieces of its vocabulary with the greatest sum of scores. Only pieces that occur in
the text can be among them, so a model of just these cuts it the same way. The 250,000 pieces of a multilingual
encoder take `tokenizers` 1.5 s to load and 200 MB; as a table they take a tenth of both, and a question has some
hundred of them. Promises: the ids are those that the whole tokenizer gives. Safe to call from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json
from tokenizers import Tokenizer
from tokenizers.models import Unigram

from runtime.base.files import read_text
from runtime.errors import ModelError

MAX_FILE_BYTES = 64 * 1024 * 1024
"""A vocabulary of 250,000 pieces is 17 MB."""
LARGE_VOCABULARY = 20_000
"""Pieces up to which the whole tokenizer is loaded at once: it takes a tenth of a second."""
MANY_CHARS = 20_000
"""Characters of one call from which the whole tokenizer is loaded, and kept: looking each of their substrings up would
take longer."""


class EncoderTokenizer:
    """`tokenizer.json` of an encoder."""

    def __init__(self, path: Path, max_tokens: int) -> None:
        """`max_tokens`: what goes beyond is cut off. `InputError` or `ModelError` for a file that cannot be used."""
        self._path = path
        self._max_tokens = max_tokens
        self._lock = threading.Lock()
        text = read_text(path, max_bytes=MAX_FILE_BYTES)
        self._pieces = _PieceTable.of(text, path)
        if self._pieces is None:
            self._whole = self._prepare(text)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with the marks of begin and end."""
        if not texts:
            return []
        if self._pieces is None or sum(map(len, texts)) > MANY_CHARS:
            with self._lock:  # so that two threads do not load it twice
                whole = self._whole
            return [encoding.ids for encoding in whole.encode_batch(list(texts))]
        part, numbers = self._pieces.tokenizer_for(texts)
        part.enable_truncation(self._max_tokens)
        return [
            # Marks come from the post-processor, which knows their ids in the whole vocabulary.
            [
                token if mark else numbers[token]
                for token, mark in zip(encoding.ids, encoding.special_tokens_mask, strict=True)
            ]
            for encoding in part.encode_batch(list(texts))
        ]

    @cached_property
    def _whole(self) -> Tokenizer:
        return self._prepare(read_text(self._path, max_bytes=MAX_FILE_BYTES))

    def _prepare(self, text: str) -> Tokenizer:
        try:
            tokenizer = Tokenizer.from_str(text)
            tokenizer.no_padding()
            tokenizer.enable_truncation(self._max_tokens)
        except Exception as error:  # the Rust side raises plain Exception
            raise ModelError("not a tokenizer", where=str(self._path), hint=str(error)) from None
        return tokenizer


class _PieceTable:
    """A Unigram vocabulary as a table, and all else of its tokenizer."""

    def __init__(self, rest: Tokenizer, pieces: Sequence[str], scores: Sequence[float], unknown: int) -> None:
        """`rest`: the tokenizer with another vocabulary; `unknown`: the number of the piece for what is in none."""
        self._rest = rest
        self._spelled, self._scores = pieces, scores
        # Of a piece that is there twice the last one counts, as in `tokenizers`.
        self._numbers = dict(zip(pieces, range(len(pieces)), strict=True))
        self._longest = max(map(len, pieces))
        # What is in no piece costs ten more than the least of all scores: that one belongs to every part.
        self._always = {unknown, scores.index(min(scores))}
        self._unknown = unknown

    @classmethod
    def of(cls, text: str, path: Path) -> _PieceTable | None:
        """The table of a tokenizer file; None where it is small, or of a kind for which a part does not do."""
        try:
            described: Any = from_json(text, cache_strings="keys")  # hardly a piece is there twice
            model = described["model"]
            vocabulary, unknown = model["vocab"], model["unk_id"]
            usable = (
                model["type"] == "Unigram"
                and not model.get("byte_fallback")  # bytes are pieces that are no substrings
                and not described.get("added_tokens")  # they are cut out before the model sees the text
                and len(vocabulary) > LARGE_VOCABULARY
                and 0 <= unknown < len(vocabulary)
            )
        except (ValueError, TypeError, KeyError):
            return None  # the whole tokenizer says what is wrong
        if not usable:
            return None
        model["vocab"] = [vocabulary[unknown]]
        model["unk_id"] = 0
        try:
            rest = Tokenizer.from_str(to_json(described).decode())
            pieces, scores = zip(*vocabulary, strict=True)
            return cls(rest, pieces, scores, unknown)
        except Exception as error:  # as above
            raise ModelError("not a tokenizer", where=str(path), hint=str(error)) from None

    def tokenizer_for(self, texts: Sequence[str]) -> tuple[Tokenizer, list[int]]:
        """A tokenizer that cuts these texts as the whole one does, and the number of each of its pieces there."""
        found = set(self._always)
        for word in {word for text in texts for word in self._words(text)}:
            for start in range(len(word)):
                for end in range(start + 1, min(start + self._longest, len(word)) + 1):
                    if (number := self._numbers.get(word[start:end])) is not None:
                        found.add(number)
        numbers = sorted(found)
        vocabulary = [(self._spelled[number], self._scores[number]) for number in numbers]
        part = Tokenizer(Unigram(vocabulary, numbers.index(self._unknown), byte_fallback=False))
        rest = self._rest
        if rest.normalizer is not None:
            part.normalizer = rest.normalizer
        if rest.pre_tokenizer is not None:
            part.pre_tokenizer = rest.pre_tokenizer
        if rest.post_processor is not None:
            part.post_processor = rest.post_processor
        return part, numbers

    def _words(self, text: str) -> list[str]:
        """What the model is given of a text: it never looks beyond one of these."""
        rest = self._rest
        shown = rest.normalizer.normalize_str(text) if rest.normalizer is not None else text
        if rest.pre_tokenizer is None:
            return [shown]
        return [word for word, _ in rest.pre_tokenizer.pre_tokenize_str(shown)]
