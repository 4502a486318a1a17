"""Bytes of tokens to text: a character that is spread over several tokens comes out whole."""

from __future__ import annotations

import codecs


class Detokenizer:
    """Bytes of tokens in, whole characters out. Bytes that can be no character are left out."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    def feed(self, data: bytes) -> str:
        """The characters that these bytes complete, perhaps none yet."""
        return self._decoder.decode(data)
