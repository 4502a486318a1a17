"""GGUF files put together by hand, byte by byte, and a child process that loads many of them in llama.cpp."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runtime.base.child_process import child_environment, module_command

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
WIDTH, LAYERS, HEADS, FEED = 16, 1, 2, 16


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def u32(value: int) -> tuple[int, bytes]:
    return U32, struct.pack("<I", value)


def array(kind: int, items: Sequence[bytes]) -> tuple[int, bytes]:
    return ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items)


@dataclass(frozen=True)
class Gguf:
    """A model file in parts; `bytes(gguf)` puts them together as they are, right or wrong."""

    entries: tuple[tuple[str, int, bytes], ...]
    """Name, type, bytes of the value."""
    tensors: tuple[tuple[str, tuple[int, ...], int, int], ...]
    """Name, shape, type, offset."""
    data: bytes
    version: int = 3
    magic: bytes = b"GGUF"
    counts: tuple[int, int] | None = None
    """Tensors and entries as the header says; by default what there is."""
    extra: bytes = field(default=b"")

    def __bytes__(self) -> bytes:
        head = self.header()
        return head + bytes(-len(head) % 32) + self.data + self.extra

    def header(self) -> bytes:
        counts = self.counts or (len(self.tensors), len(self.entries))
        parts = [self.magic, struct.pack("<IQQ", self.version, *counts)]
        parts += [text(name) + struct.pack("<I", kind) + value for name, kind, value in self.entries]
        for name, shape, kind, offset in self.tensors:
            parts += [text(name), struct.pack(f"<I{len(shape)}Q", len(shape), *shape), struct.pack("<IQ", kind, offset)]
        return b"".join(parts)

    def with_entry(self, name: str, kind: int, value: bytes) -> Gguf:
        """Instead of the entry of that name, or at the end."""
        rest = tuple(entry for entry in self.entries if entry[0] != name)
        return replace(self, entries=(*rest, (name, kind, value)))

    def without_entry(self, name: str) -> Gguf:
        return replace(self, entries=tuple(entry for entry in self.entries if entry[0] != name))


def tiny_gguf(tokenizer: str = "gpt2", kind: str = "llama") -> Gguf:
    """A sound model of one layer and some hundred tokens, 40 KB or so, all of whose weights are 0."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    words = [chr(0x100 + number) for number in range(40)] if tokenizer == "gpt2" else ["<unk>", "<s>", "</s>", "▁", "a"]
    tokens = [*words, *(byte_tokens if tokenizer == "llama" else [chr(33 + number) for number in range(90)])]
    types = [6 if token in byte_tokens else 3 if token in ("<unk>", "<s>", "</s>") else 1 for token in tokens]
    f32 = struct.Struct("<f").pack
    numbers = {
        "context_length": 512,
        "embedding_length": WIDTH,
        "block_count": LAYERS,
        "feed_forward_length": FEED,
        "attention.head_count": HEADS,
        "attention.head_count_kv": HEADS,
        "rope.dimension_count": WIDTH // HEADS,
        "vocab_size": len(tokens),
    }
    entries = [("general.architecture", STRING, text(kind)), ("general.alignment", *u32(32))]
    entries += [(f"{kind}.{name}", *u32(value)) for name, value in numbers.items()]
    entries += [
        (f"{kind}.attention.layer_norm_rms_epsilon", F32, f32(1e-5)),
        (f"{kind}.rope.freq_base", F32, f32(10000.0)),
        ("tokenizer.ggml.model", STRING, text(tokenizer)),
        ("tokenizer.ggml.pre", STRING, text("default")),
        ("tokenizer.ggml.tokens", *array(STRING, [text(token) for token in tokens])),
        ("tokenizer.ggml.scores", *array(F32, [f32(-number) for number in range(len(tokens))])),
        ("tokenizer.ggml.token_type", *array(I32, [struct.pack("<i", one) for one in types])),
        ("tokenizer.ggml.bos_token_id", *u32(1)),
        ("tokenizer.ggml.eos_token_id", *u32(2)),
        ("tokenizer.ggml.add_bos_token", BOOL, b"\0"),
        ("tokenizer.chat_template", STRING, text("{{ messages }}")),
    ]
    if tokenizer == "gpt2":
        entries.append(("tokenizer.ggml.merges", *array(STRING, [text(f"{words[0]} {words[1]}")])))
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (WIDTH, len(tokens)),
        "output_norm.weight": (WIDTH,),
        "output.weight": (WIDTH, len(tokens)),
    }
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}.weight": (WIDTH,) for name in ("attn_norm", "ffn_norm")}
        shapes |= {f"blk.{layer}.attn_{name}.weight": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{layer}.ffn_{name}.weight": (WIDTH, FEED) for name in ("gate", "up", "down")}
    tensors, offset = [], 0
    for name, shape in shapes.items():
        tensors.append((name, shape, 0, offset))
        size = 4
        for one in shape:
            size *= one
        offset += -(-size // 32) * 32
    return Gguf(tuple(entries), tuple(tensors), bytes(offset))


NUMBERS = (0, 1, 2, 3, 7, 8, 31, 32, 33, 255, 256, 511, 512, 513, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
LONG_NUMBERS = (*NUMBERS, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
OTHER_KEYS = (
    ("attention.key_length", U32), ("attention.value_length", U32), ("expert_count", U32), ("expert_used_count", U32),
    ("attention.causal", BOOL), ("pooling_type", U32), ("attention.sliding_window", U32), ("rope.scaling.type", STRING),
    ("rope.scaling.factor", F32), ("attention.max_alibi_bias", F32), ("nextn_predict_layers", U32),
    ("expert_group_count", U32), ("attention.clamp_kqv", F32), ("logit_scale", F32), ("leading_dense_block_count", U32),
    ("rope.dimension_count_swa", U32), ("attention.key_length_swa", U32), ("embedding_length_out", U32),
    ("rope.scaling.original_context_length", U32), ("tensor_data_layout", STRING), ("use_parallel_residual", BOOL),
)  # fmt: skip
"""Entries that llama.cpp knows beside those of the tiny model, without the architecture before them."""
OTHER_TOKENIZER_KEYS = (
    ("eot_token_id", U32), ("eom_token_id", U32), ("unknown_token_id", U32), ("padding_token_id", U32),
    ("separator_token_id", U32), ("mask_token_id", U32), ("fim_pre_token_id", U32), ("add_space_prefix", BOOL),
    ("remove_extra_whitespaces", BOOL), ("add_eos_token", BOOL), ("add_sep_token", BOOL), ("token_type_count", U32),
    ("precompiled_charsmap", ARRAY), ("suppress_tokens", ARRAY), ("eog_token_ids", ARRAY),
)  # fmt: skip


def mutate(model: Gguf, chance: random.Random) -> bytes:
    """The file with one thing wrong, or two: a part of it replaced, or bytes of its header changed."""
    for _ in range(chance.choice((1, 1, 1, 2))):
        model = chance.choice((_entry, _entry, _tensor, _tensor, _head, _other_entry, _drop))(model, chance)
    data = bytearray(bytes(model))
    size = len(model.header())
    match chance.randrange(5):
        case 0:
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(size)] = chance.randrange(256)
        case 1:
            data[chance.randrange(size)] ^= 1 << chance.randrange(8)
        case 2 if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        case _:
            pass
    return bytes(data)


def _value(kind: int, chance: random.Random) -> bytes:
    if kind == U32:
        return struct.pack("<I", chance.choice(NUMBERS))
    if kind == F32:
        return struct.pack("<f", chance.choice((0.0, -1.0, 1.0, 1e-30, 1e30, float("nan"), float("inf"), 0.5)))
    if kind == BOOL:
        return bytes([chance.choice((0, 1, 1, 2, 255))])
    if kind == STRING:
        return text(
            chance.choice(("", "none", "linear", "yarn", "longrope", "su", "llama", "a" * 300, "\0", "模型", "%s%n"))
        )
    if kind == ARRAY:
        inner = chance.choice((U32, I32, F32, BOOL, STRING, ARRAY, 0))
        width = {U32: 4, I32: 4, F32: 4, BOOL: 1, 0: 1}.get(inner, 8)
        count = chance.choice((0, 1, 5, 130, 261))
        said = count if chance.random() < 0.8 else chance.choice(LONG_NUMBERS)
        return struct.pack("<IQ", inner, said) + bytes(width) * count
    return struct.pack("<Q", chance.choice(LONG_NUMBERS))


def _entry(model: Gguf, chance: random.Random) -> Gguf:
    """Another value of the same type, another type with the same bytes, or both."""
    place = chance.randrange(len(model.entries))
    name, kind, value = model.entries[place]
    if chance.random() < 0.3:
        kind = chance.choice((0, U32, I32, F32, BOOL, STRING, ARRAY, U64, 11, 12, 13, 99))
    if chance.random() < 0.7:
        value = _value(kind, chance)
    elif kind == ARRAY and len(value) > 20:
        inner, count = struct.unpack_from("<IQ", value)
        value = struct.pack("<IQ", inner, max(0, count + chance.choice((-1, 1, -7, 100)))) + value[12:]
        if chance.random() < 0.5 and inner == STRING:
            changed = bytearray(value)
            changed[chance.randrange(12, len(changed))] = chance.randrange(256)
            value = bytes(changed)
    entries = list(model.entries)
    entries[place] = (name, kind, value)
    return replace(model, entries=tuple(entries))


def _other_entry(model: Gguf, chance: random.Random) -> Gguf:
    kind = chance.choice(("llama", "tokenizer.ggml"))
    name, value_kind = chance.choice(OTHER_KEYS if kind == "llama" else OTHER_TOKENIZER_KEYS)
    return model.with_entry(f"{kind}.{name}", value_kind, _value(value_kind, chance))


def _drop(model: Gguf, chance: random.Random) -> Gguf:
    if chance.random() < 0.7:
        return model.without_entry(chance.choice(model.entries)[0])
    entry = chance.choice(model.entries)
    return replace(model, entries=(*model.entries, entry))  # twice


def _tensor(model: Gguf, chance: random.Random) -> Gguf:
    place = chance.randrange(len(model.tensors))
    name, shape, kind, offset = model.tensors[place]
    match chance.randrange(6):
        case 0:
            dims = list(shape)
            dims[chance.randrange(len(dims))] = chance.choice(LONG_NUMBERS)
            shape = tuple(dims)
        case 1:
            kind = chance.choice((0, 1, 2, 8, 9, 12, 15, 16, 24, 26, 28, 30, 36, 39, 40, 99, 2**32 - 1))
        case 2:
            offset = chance.choice((*LONG_NUMBERS, offset + 32, offset + 1, max(0, offset - 32)))
        case 3:
            name = chance.choice((model.tensors[0][0], "", "x" * 63, "x" * 64, "blk.7.attn_q.weight", name + "\0"))
        case 4:
            shape = tuple(reversed(shape)) if chance.random() < 0.5 else (*shape, 1)
        case _:
            shape = (1,) * chance.choice((0, 1, 4, 5, 8))
    tensors = list(model.tensors)
    tensors[place] = (name, shape, kind, offset)
    return replace(model, tensors=tuple(tensors))


def _head(model: Gguf, chance: random.Random) -> Gguf:
    match chance.randrange(5):
        case 0:
            return replace(model, version=chance.choice((*NUMBERS, 3 << 24)))
        case 1:
            return replace(model, magic=chance.choice((b"GGUE", b"FUGG", b"GGML", b"\0\0\0\0")))
        case 2:
            return replace(model, counts=(chance.choice(LONG_NUMBERS), len(model.entries)))
        case 3:
            return replace(model, counts=(len(model.tensors), chance.choice(LONG_NUMBERS)))
        case _:
            return replace(model, tensors=tuple(chance.sample(model.tensors, len(model.tensors))))


LOADER = """
import ctypes, os, sys
from runtime.engine.llama.bindings import last_log, library
lib = library()

def used(path):
    params = lib.llama_model_default_params()
    params.use_mmap = len(path) % 2 == 0
    model = lib.llama_model_load_from_file(path.encode(), params)
    if not model:
        return "refused: " + last_log(2).replace("\\n", " ")
    vocab = lib.llama_model_get_vocab(model)
    size = lib.llama_vocab_n_tokens(vocab)
    said = "Wie viel?\\n 退货 \\U0001f600 a".encode()
    tokens = (lib.llama_token * 256)()
    count = lib.llama_tokenize(vocab, said, len(said), tokens, 256, False, True)
    piece = ctypes.create_string_buffer(8192)
    for token in range(size):
        lib.llama_token_to_piece(vocab, token, piece, 8192, 0, True)
        lib.llama_vocab_is_eog(vocab, token)
    wanted = lib.llama_context_default_params()
    wanted.n_ctx, wanted.n_batch, wanted.n_ubatch, wanted.n_threads = 64, 64, 64, 1
    context = lib.llama_init_from_model(model, wanted)
    if not context:
        lib.llama_model_free(model)
        return "no context"
    first = tokens[:min(4, count)] if count > 0 else [0, size - 1]
    row = (lib.llama_token * len(first))(*first)
    said = "decoded" if lib.llama_decode(context, lib.llama_batch_get_one(row, len(first))) == 0 else "not decoded"
    lib.llama_free(context)
    lib.llama_model_free(model)
    return said

for line in sys.stdin:
    path = line.rstrip("\\n")
    os.write(1, (path + "\\t").encode())
    os.write(1, (used(path) + "\\n").encode())
"""


def load_in_children(paths: Iterable[Path]) -> dict[Path, str]:
    """What llama.cpp makes of each file: `refused: WHY`, `no context`, `decoded`, `not decoded`, or `died (-6)`.

    A child loads, tokenizes with and computes a batch on one file after the other; where it dies, the next child
    begins behind the file that ended it.
    """
    from runtime.engine.llama import bindings

    del bindings  # the child's import must work here as well: a broken one would look like a death
    waiting, found = list(paths), {}
    command = [*module_command("runtime")[:2], "-c", LOADER]
    while waiting:
        names = "".join(f"{path}\n" for path in waiting)
        done = subprocess.run(
            command, input=names, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=child_environment(OMP_NUM_THREADS="1", GGML_NO_BACKTRACE="1"), check=False, timeout=280,
        )  # fmt: skip
        for line in done.stdout.splitlines():
            name, _, outcome = line.partition("\t")
            found[Path(name)] = outcome or f"died ({done.returncode})"
        behind = len(done.stdout.splitlines())
        if done.returncode == 0 or not behind:
            break
        waiting = waiting[behind:]
    return found
