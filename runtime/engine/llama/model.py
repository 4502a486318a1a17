"""A model and its context: batches of tokens in, logits out. The thin shell around llama.cpp's C calls.

Promises: C pointers are freed once; a failed step raises and leaves the memory empty rather than wrong. One context for
all sequences, their cells in one pool (`kv_unified`), flash attention always on, so that stored keys and values fit
whatever context is made later. Not thread-safe: one thread at a time may call it. Knows nothing of text and queues.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.base.hardware import free_processors
from runtime.bundle.gguf_check import check_gguf
from runtime.engine.core.memory_capacity import MemoryNeeds, available_bytes, fit_slots
from runtime.engine.core.options import KvType
from runtime.engine.llama.bindings import last_log, library
from runtime.engine.llama.rotary import Rotation
from runtime.engine.llama.thread_tuner import ThreadTuner, is_short
from runtime.engine.llama.vocab import LlamaVocabulary
from runtime.errors import ModelError
from runtime.prompting.prompt_tokens import Layout

MADV_DONTNEED = 4
"""On a mapped file: its pages leave the process and stay in the file cache; a later read maps them again."""


class Row(NamedTuple):
    """A token of a batch."""

    token: int
    position: int
    sequence: int
    logits: bool
    """Whether the logits after it are wanted."""


class LlamaModel:
    """A GGUF file with one context of `cells` cells for `sequences` sequences of at most `context_tokens` tokens."""

    def __init__(
        self,
        path: Path,
        *,
        context_tokens: int,
        slots: int,
        sequences: int,
        threads: int,
        batch_tokens: int,
        kv_type: KvType = "f16",
        memory_bytes: int | None = None,
    ) -> None:
        """`memory_bytes`: what it may take, by default what can be had; so many slots are opened as fit into it."""
        self._header = check_gguf(path)  # llama.cpp aborts the process on some malformed headers
        self.path = path
        self.lib = lib = library()
        self._model: Any = None
        self.context: Any = None
        self._batch: Any = None
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise ModelError("llama.cpp cannot load it", where=str(path), hint=last_log())
        self.vocab = LlamaVocabulary(lib.llama_model_get_vocab(self._model))
        if lib.llama_model_has_encoder(self._model) or not lib.llama_model_has_decoder(self._model):
            self.close()
            raise ModelError("not a model that writes text", where=str(path), hint="use a decoder-only model")
        self.thread_tuner = ThreadTuner(threads)
        """For every step of this context, the self-test's too: what one has found of the neighbours holds for all."""
        self._threads = threads
        self._has_computed = False
        self._parameters = int(lib.llama_model_n_params(self._model))
        self.context_tokens = min(context_tokens, int(lib.llama_model_n_ctx_train(self._model)))
        self.kv_type = kv_type
        self.slots = fit_slots(
            self._needs(max(batch_tokens, sequences)),
            context_tokens=self.context_tokens,
            slots=slots,
            available=available_bytes() if memory_bytes is None else memory_bytes,
            where=str(path),
        )
        settings = lib.llama_context_default_params()
        settings.n_ctx = self.context_tokens * self.slots
        settings.n_batch = settings.n_ubatch = max(batch_tokens, sequences)  # fewer than sequences aborts the process
        settings.n_threads = settings.n_threads_batch = threads
        settings.n_seq_max = sequences
        settings.kv_unified = True
        settings.swa_full = True  # or the beginnings that prompts share would be gone
        settings.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
        settings.type_k = settings.type_v = lib.GGML_TYPE_Q8_0 if kv_type == "q8_0" else lib.GGML_TYPE_F16
        settings.no_perf = True
        self.batch_tokens = batch_tokens
        self.context = lib.llama_init_from_model(self._model, settings)
        if not self.context:
            self.close()
            raise ModelError(f"no context of {settings.n_ctx} tokens can be made", where=str(path), hint=last_log())
        release_mapped_pages(path)
        self.cells = int(lib.llama_n_ctx(self.context))
        self.memory = lib.llama_get_memory(self.context)
        self._batch = lib.llama_batch_init(settings.n_batch, 0, 1)

    def _needs(self, batch_tokens: int) -> MemoryNeeds:
        """Memory, from the file's header; keys and values of heads of different sizes are taken as of the largest."""
        lib, kind = self.lib, self.metadata("general.architecture")
        hidden, heads = int(lib.llama_model_n_embd(self._model)), max(1, int(lib.llama_model_n_head(self._model)))

        def size(name: str) -> int:
            text = self.metadata(f"{kind}.attention.{name}")
            return int(text) if text.isdigit() else hidden // heads

        head_sizes = size("key_length") + size("value_length")
        values = lib.llama_model_n_layer(self._model) * lib.llama_model_n_head_kv(self._model) * head_sizes
        per_token = values * 34 // 32 if self.kv_type == "q8_0" else values * 2
        # As quantize/measure/size_prediction.py has it: some vectors of the hidden size for every row of a batch, and
        # the logits.
        buffers = batch_tokens * 4 * (24 * hidden + self.vocab.size)
        return MemoryNeeds(int(lib.llama_model_size(self._model)), int(per_token), int(buffers))

    @property
    def shares_prefixes(self) -> bool:
        """Whether a part of a sequence can be copied or removed; a recurrent state cannot be taken apart."""
        return not (self.lib.llama_model_is_recurrent(self._model) or self.lib.llama_model_is_hybrid(self._model))

    def decode(self, rows: Sequence[Row]) -> None:
        """Compute a batch, with as many threads as help beside what else the machine does.

        A sequence's rows must follow the positions that it has.
        """
        # A small matrix is split evenly, so the slowest thread decides; rows beyond a tile are handed out in pieces,
        # and a thread without a processor holds up nothing. Beside that, threads wait for each other between layers.
        tuner, short = self.thread_tuner, is_short(len(rows), self._parameters)
        if not self._has_computed:  # a glance at the neighbours now: what was busy while this was loaded may be quiet
            tuner.begin(free_processors())
            self._has_computed = True
        count = tuner.threads if short else tuner.max_threads
        if count != self._threads:
            self.lib.llama_set_n_threads(self.context, count, count)
            self._threads = count
        began, computed = time.monotonic(), time.process_time()
        self._decode(rows)
        if short:
            tuner.record_step(time.process_time() - computed, time.monotonic() - began)

    def _decode(self, rows: Sequence[Row]) -> None:
        batch = self._batch
        batch.n_tokens = len(rows)
        for number, (token, position, sequence, logits) in enumerate(rows):
            batch.token[number] = token
            batch.pos[number] = position
            batch.n_seq_id[number] = 1
            batch.seq_id[number][0] = sequence
            batch.logits[number] = logits
        if failed := self.lib.llama_decode(self.context, batch):
            self.clear()
            raise ModelError(f"llama.cpp could not go on (code {failed})", where=str(self.path), hint=last_log())

    def logits(self, row: int) -> NDArray[np.float32]:
        """A copy of the logits after a row of the last batch, float32 [vocab]."""
        pointer = self.lib.llama_get_logits_ith(self.context, row)
        return np.ctypeslib.as_array(pointer, shape=(self.vocab.size,)).copy()

    def copy(self, source: int, target: int, end: int = -1) -> None:
        """Give `target` the source's cells at positions before `end`, all if negative."""
        self.lib.llama_memory_seq_cp(self.memory, source, target, 0, end)

    def remove(self, sequence: int, start: int = 0, end: int = -1) -> None:
        """Take a sequence's cells at positions from `start` to before `end` away from it."""
        self.lib.llama_memory_seq_rm(self.memory, sequence, start, end)

    def shift(self, sequence: int, delta: int) -> None:
        """Move a sequence's cells by `delta` positions; done with the next batch, and nothing may be saved before."""
        self.lib.llama_memory_seq_add(self.memory, sequence, -1, -1, delta)

    def save(self, sequence: int) -> NDArray[np.uint8]:
        """Keys and values of a sequence's cells as bytes, for `load`."""
        size = self.lib.llama_state_seq_get_size(self.context, sequence)
        data = np.empty(size, dtype=np.uint8)
        written = self.lib.llama_state_seq_get_data(self.context, _pointer(data), size, sequence)
        if written != size:
            raise ModelError("llama.cpp does not give its memory", where=str(self.path), hint=last_log())
        return data

    def load(self, sequence: int, data: NDArray[np.uint8]) -> bool:
        """Fill an empty sequence with what `save` gave; False when it does not fit this context."""
        return bool(self.lib.llama_state_seq_set_data(self.context, _pointer(data), data.nbytes, sequence))

    def metadata(self, key: str) -> str:
        """A value of the file's header as text; empty when there is none."""
        buffer = ctypes.create_string_buffer(256)
        count = self.lib.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode(errors="replace") if count >= 0 else ""

    def rotation(self) -> Rotation | None:
        """How keys are turned by their positions; None where that is not a plain multiple of the position."""
        lib, kind = self.lib, self.metadata("general.architecture")
        pairing = lib.llama_model_rope_type(self._model)
        scaling = self.metadata(f"{kind}.rope.scaling.type") or "none"
        if pairing not in (lib.LLAMA_ROPE_TYPE_NORM, lib.LLAMA_ROPE_TYPE_NEOX) or scaling not in ("none", "linear"):
            return None

        def number(name: str, default: float) -> float:
            return float(self.metadata(f"{kind}.{name}") or default)

        width = int(lib.llama_model_n_embd(self._model)) // max(1, int(lib.llama_model_n_head(self._model)))
        head = int(number("attention.key_length", width))
        turned = int(number("rope.dimension_count", head))
        if head % 2 or turned % 2 or not 0 < turned <= head:
            return None
        exponents = -np.arange(0, turned, 2) / turned
        frequencies = number("rope.freq_base", 10_000.0) ** exponents
        if scaling == "linear":
            frequencies = frequencies / number("rope.scaling.factor", 1.0)
        offset, length = self._header.vectors.get("rope_freqs.weight", (0, 0))
        if length == len(frequencies):  # Llama 3's long context slows the low ones down
            at = self._header.data_start + offset
            frequencies = frequencies / np.fromfile(self.path, dtype="<f4", count=length, offset=at)
        return Rotation(head, pairing == lib.LLAMA_ROPE_TYPE_NORM, tuple(frequencies.tolist()))

    def cannot_compose(self, layout: Layout) -> str:
        """Why articles cannot be put together on this architecture; empty when they can."""
        lib, kind = self.lib, self.metadata("general.architecture")
        if not self.shares_prefixes:
            return "a recurrent state cannot be put together"
        if lib.llama_model_n_swa(self._model) > 0:
            return "a sliding window hides the articles"
        if lib.llama_model_rope_type(self._model) not in (lib.LLAMA_ROPE_TYPE_NORM, lib.LLAMA_ROPE_TYPE_NEOX):
            return "its positions are not of one dimension"
        if layout == "sequential":
            if self.kv_type != "f16":
                return f"shifting keys kept as {self.kv_type} crashes llama.cpp"
            if not lib.llama_memory_can_shift(self.memory):
                return "its memory cannot be shifted"
            # llama.cpp says that it could, but would scale the whole memory anew with every shift.
            if (scaling := self.metadata(f"{kind}.rope.scaling.type")) in ("yarn", "longrope"):
                return f"{scaling} positions must not be shifted"
        return ""

    def clear(self) -> None:
        """Forget everything."""
        self.lib.llama_memory_clear(self.memory, False)

    def close(self) -> None:
        """Free context and model; safe to call twice."""
        self.vocab.close()
        batch, self._batch = self._batch, None
        context, self.context = self.context, None
        model, self._model = self._model, None
        if batch:
            self.lib.llama_batch_free(batch)
        if context:
            self.lib.llama_free(context)
        if model:
            self.lib.llama_model_free(model)


def _pointer(data: NDArray[np.uint8]) -> Any:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


def release_mapped_pages(path: Path) -> int:
    """Give this process's pages of a file that is mapped for reading back to the kernel; returns the bytes mapped.

    llama.cpp copies most weights into an order that its kernels prefer and leaves the file mapped besides, so a model
    takes up to twice its size of a process's memory. What was not copied returns from the file cache when it is used.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    name, mapped = str(path.resolve()), 0
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or fields[5] != name or "w" in fields[1]:
            continue
        start, end = (int(part, 16) for part in fields[0].split("-"))
        if libc.madvise(start, end - start, MADV_DONTNEED) == 0:
            mapped += end - start
    return mapped
