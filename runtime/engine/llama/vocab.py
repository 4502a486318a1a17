"""A model's vocabulary: text to tokens, and tokens back to text a piece at a time.

Promises: plain text never becomes a control token, whatever it contains; a character that is spread over several
tokens comes out whole or, when the answer is cut inside it, not at all. Knows nothing of contexts.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from runtime.engine.llama.bindings import last_log, library
from runtime.errors import ModelError, UnavailableError


class LlamaVocabulary:
    """The vocabulary of a loaded model; reading it is safe from any thread.

    Fits `runtime.prompting.prompt_spec.Tokenizer`.
    """

    def __init__(self, handle: Any, model: Any = None) -> None:
        """`handle`: llama.cpp's own. `model`: freed with the vocabulary, where nothing else owns it."""
        self._lib = library()
        self._open: Any = handle
        self._model = model
        self.size: int = self._lib.llama_vocab_n_tokens(handle)

    @property
    def handle(self) -> Any:
        """llama.cpp's own; `UnavailableError` after the model was closed, as while a server changes to another."""
        if self._open is None:
            raise UnavailableError("the model is closed", hint="try again in a moment")
        return self._open

    def close(self) -> None:
        """To be called before the model is freed: the vocabulary lives inside it. Safe to call twice."""
        self._open = None
        model, self._model = self._model, None
        if model is not None:
            self._lib.llama_model_free(model)

    def encode(self, text: str, *, control: bool) -> list[int]:
        """Token ids without any added begin or end token; `control` lets control tokens in the text count as such."""
        data = text.encode("utf-8", errors="replace")
        room = len(data) + 8
        while True:
            buffer = (self._lib.llama_token * room)()
            count = self._lib.llama_tokenize(self.handle, data, len(data), buffer, room, False, control)
            if count >= 0:
                return list(buffer[:count])
            room = -count

    def piece(self, token: int) -> bytes:
        """A token's bytes; control tokens have none. A character may be spread over several tokens."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = self._lib.llama_token_to_piece(self.handle, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    def ends(self, token: int) -> bool:
        """Whether the model itself says that this token ends an answer."""
        return bool(self._lib.llama_vocab_is_eog(self.handle, token))

    def control_token(self, text: str) -> int:
        """The one token of a control string such as `<|im_end|>`; `ModelError` when the model has none."""
        tokens = self.encode(text, control=True)
        if len(tokens) != 1:
            raise ModelError(
                f"'{text}' is {len(tokens)} tokens in this model, so it cannot end an answer",
                hint="prompt.json and the model do not belong together: build the bundle again",
            )
        return tokens[0]


def open_vocabulary(path: Path) -> LlamaVocabulary:
    """The vocabulary of a GGUF file alone: weights are neither read nor given memory; close it after use.

    llama.cpp aborts the process on some malformed headers: a process that must live opens only what a child process
    has loaded before. `ModelError` when llama.cpp cannot load it.
    """
    lib = library()
    params = lib.llama_model_default_params()
    params.vocab_only = True
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise ModelError("llama.cpp cannot load it", where=str(path), hint=last_log())
    return LlamaVocabulary(lib.llama_model_get_vocab(model), model)
