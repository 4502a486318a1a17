"""The vocabulary of a tokenizer.json as an engine needs it: text to tokens, and tokens back to bytes one by one.

Only byte-level vocabularies, whose tokens are pieces of UTF-8 written in GPT-2's alphabet: that is what the students
of `distill` have. Knows nothing of models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime.base.files import read_text
from runtime.errors import ModelError
from runtime.prompting.json_tokenizer import MAX_TOKENIZER_BYTES, JsonTokenizer


class JsonVocabulary(JsonTokenizer):
    """`runtime.engine.core.interface.Vocabulary` over a tokenizer.json."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        described: dict[str, Any] = json.loads(read_text(file, max_bytes=MAX_TOKENIZER_BYTES))
        if '"ByteLevel"' not in json.dumps(described.get("decoder")):
            raise ModelError("its tokens are not pieces of bytes", where=str(file), hint='use runtime = "llama"')
        self._where = str(file)
        bytes_of = byte_alphabet()
        self._pieces = {
            number: bytes(bytes_of[char] for char in text)
            for text, number in described["model"]["vocab"].items()
            if all(char in bytes_of for char in text)
        }
        for added in described.get("added_tokens", ()):
            self._pieces[added["id"]] = b"" if added.get("special") else added["content"].encode()

    def piece(self, token: int) -> bytes:
        """A token's bytes; control tokens, and numbers of no token, have none."""
        return self._pieces.get(token, b"")

    def ends(self, token: int) -> bool:  # noqa: ARG002 - the interface's
        """Never: the file does not say; the bundle's prompt names the tokens that end an answer."""
        return False

    def control_token(self, text: str) -> int:
        """The one token of a control string; `ModelError` when there is none."""
        tokens = self.encode(text, control=True)
        if len(tokens) != 1:
            raise ModelError(
                f"'{text}' is {len(tokens)} tokens in this vocabulary, so it cannot end an answer",
                where=self._where,
                hint="prompt.json and the model do not belong together: build the bundle again",
            )
        return tokens[0]


def byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet: the character that represents each byte in a byte-level vocabulary."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + place): byte for place, byte in enumerate(hidden)}
