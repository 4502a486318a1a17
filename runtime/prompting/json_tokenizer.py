"""A Hugging Face tokenizer.json behind the prompt's tokenizer protocol; what training and measuring cut text with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.base.files import read_text
from runtime.errors import ModelError

MAX_TOKENIZER_BYTES = 64 * 1024 * 1024


class JsonTokenizer:
    """A `Tokenizer` over a tokenizer.json (a file, or the checkpoint folder that holds it)."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as Fast

        path = path / "tokenizer.json" if path.is_dir() else path
        text = read_text(path, max_bytes=MAX_TOKENIZER_BYTES)
        try:
            self._parsing, self._plain = Fast.from_str(text), Fast.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise ModelError("not a tokenizer.json", where=str(path), hint=str(error)) from None
        self._plain.encode_special_tokens = True

    def encode(self, text: str, *, control: bool) -> list[int]:
        """Ids without added begin or end tokens; control tokens count as such only when `control`."""
        fast: Any = self._parsing if control else self._plain
        ids: list[int] = fast.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, control tokens left out."""
        text: str = self._parsing.decode(list(ids), skip_special_tokens=True)
        return text
