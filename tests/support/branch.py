"""A bundle small enough to make in a blink, every part of it real: ONNX encoder, tokenizer, GGUF header, articles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.base.manifest import write_manifest
from runtime.retrieval.embedder import Embedder
from tests.support.gguf_files import tiny_gguf

WORDS_DIM = 32


CHATML = {
    "system_open": "<|im_start|>system\n",
    "system_close": "<|im_end|>\n",
    "user_open": "<|im_start|>user\n",
    "user_close": "<|im_end|>\n",
    "assistant_open": "<|im_start|>assistant\n",
    "assistant_close": "<|im_end|>\n",
    "stop": ["<|im_end|>"],
}
"""The pieces of a prompt that the small models are asked with."""


def make_embedder(folder: Path, *, dim: int = WORDS_DIM, seed: int = 0) -> Path:
    """An encoder with random token vectors: texts that share characters lie near each other, in any script."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    folder.mkdir(parents=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))

    # hidden[t] = vector of the pair (token t, token t+1), so that order within a word counts.
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(256 * 256, dim)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Pad", ["input_ids", "pads"], ["longer"]),
            helper.make_node("Slice", ["longer", "one", "end", "axis"], ["right"]),
            helper.make_node("Mul", ["input_ids", "width"], ["high"]),
            helper.make_node("Add", ["high", "right"], ["pair"]),
            helper.make_node("Gather", ["table", "pair"], ["last_hidden_state"]),
        ],
        "pairs",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", dim])],
        [
            numpy_helper.from_array(table, "table"),
            *(
                numpy_helper.from_array(np.array(value, dtype=np.int64), name)
                for name, value in {
                    "one": [1],
                    "end": [2**31],
                    "axis": [1],
                    "width": 256,
                    "pads": [0, 0, 0, 1],
                }.items()
            ),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / "model.onnx"))
    spec = {"dim": dim, "pooling": "mean", "query_prefix": "", "passage_prefix": "", "max_tokens": 512}
    (folder / "embedder.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder


ARTICLES = {
    "en/returns-window.md": (
        "---\nid: returns-window\ntitle: Return period\nlang: en\n---\n\n## How long {#how-long}\n\n"
        "You can return most items within 30 days of delivery or collection.\n\n## At Christmas {#christmas}\n\n"
        "Anything bought between 15 November and 24 December may be returned until 31 January.\n"
    ),
    "zh/returns-window.md": (
        "---\nid: returns-window\ntitle: 退货期限\nlang: zh\n---\n\n## 多长时间内可以退货 {#how-long}\n\n"
        "大多数商品可在送达或自提后30天内退货。\n\n## 圣诞延长退货期 {#christmas}\n\n"
        "凡在11月15日至12月24日之间购买的商品，可在次年1月31日之前退货。\n"
    ),
    "en/delivery-standard.md": (
        "---\nid: delivery-standard\ntitle: Standard delivery\nlang: en\n---\n\n## Price {#price}\n\n"
        "Standard delivery costs €4.90 and is free from €60. A parcel takes 2 to 4 working days.\n"
    ),
    "zh/delivery-standard.md": (
        "---\nid: delivery-standard\ntitle: 标准配送\nlang: zh\n---\n\n## 价格 {#price}\n\n"
        "标准配送费为4.90欧元，满60欧元免运费。包裹在2至4个工作日内送达。\n"
    ),
    "en/price-override.md": (
        "---\nid: price-override\ntitle: Staff price override\nlang: en\naudience: internal\n---\n\n"
        "## Limit {#limit}\n\n"
        "Branch staff may lower a shelf price by 10% with code NL-77.\n"
    ),
    "en/summer-sale.md": (
        "---\nid: summer-sale\ntitle: Summer sale\nlang: en\nvalid_from: 2026-06-01\nvalid_until: 2026-06-30\n---\n\n"
        "## Discount {#discount}\n\nGarden furniture is 25% cheaper during the summer sale.\n"
    ),
}


def write_articles(folder: Path) -> Path:
    for name, text in ARTICLES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def embedder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_embedder(tmp_path_factory.mktemp("embedder") / "embedder")


@pytest.fixture(scope="session")
def embedder(embedder_folder: Path) -> Embedder:
    return Embedder(embedder_folder, threads=1)


@pytest.fixture(scope="session")
def articles_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_articles(tmp_path_factory.mktemp("articles"))


def write_bundle(root: Path, embedder: Path, version: str) -> Path:
    """A bundle whose model is sound and says nothing, with both languages' articles."""
    import shutil

    shutil.copytree(embedder, root / "embedder")
    write_articles(root / "articles")
    (root / "model").mkdir()
    for quantization in ("q8_0", "q4_k_m"):
        (root / "model" / f"{quantization}.gguf").write_bytes(bytes(tiny_gguf()))
    info = {
        "name": "shop",
        "version": version,
        "created": "2026-11-23T00:00:00Z",
        "languages": ["en", "zh"],
        "model": "model/q4_k_m.gguf",
        "models": {"q8_0": "model/q8_0.gguf", "q4_k_m": "model/q4_k_m.gguf"},
        "embedder": "embedder",
    }
    prompt = {
        "pieces": CHATML,
        "system": {"en": "Answer from the articles.", "zh": "只根据资料回答。"},
        "refusal": {"en": "I can't find that.", "zh": "我没有找到。"},
        "languages": ["en"],
    }
    (root / "bundle.json").write_text(json.dumps(info), encoding="utf-8")
    (root / "prompt.json").write_text(json.dumps(prompt, ensure_ascii=False), encoding="utf-8")
    (root / "policy.toml").write_text('[refusal]\ntext = "我没有找到。"\n', encoding="utf-8")
    (root / "card.md").write_text("# Shop\n", encoding="utf-8")
    write_manifest(root, "bundle", {}, {"name": "shop", "version": version})
    return root


@pytest.fixture
def make_bundle(tmp_path: Path, embedder_folder: Path) -> Callable[..., Path]:
    """Writes a bundle whose model is sound and says nothing: enough for everything but the engine."""

    def make(name: str = "bundle", version: str = "1") -> Path:
        return write_bundle(tmp_path / name, embedder_folder, version)

    return make


CONTROL = ("<|im_start|>", "<|im_end|>")
ANSWER = "You can return most items within 30 days of delivery or collection. 大多数商品可在30天内退货。"


def make_gguf(path: Path, *, script: str | None = None, loop: bool = False, seed: int = 0, template: str = "") -> Path:
    """A real Llama of some hundred kilobytes with a byte-level vocabulary and ChatML's control tokens.

    With a `script` the model says it after every prompt that ends in a line break, three bytes a token, so that
    Chinese characters are spread over tokens; with `loop` it never stops. Without a script its weights are random.
    """
    import gguf
    from tokenizers import pre_tokenizers

    byte_char = {ord(char): char for char in sorted(pre_tokenizers.ByteLevel.alphabet()) if ord(char) < 256}
    rest = sorted(char for char in pre_tokenizers.ByteLevel.alphabet() if ord(char) >= 256)
    byte_char |= dict(zip((byte for byte in range(256) if byte not in byte_char), rest, strict=True))
    said = (script or "").encode()
    # Each piece is a token of its own even where its bytes repeat: longer ones get what makes them differ.
    pieces: list[bytes] = []
    while said:
        size = next(size for size in range(2, 40) if said[:size] not in pieces)
        pieces.append(said[:size])
        said = said[size:]
    tokens = [byte_char[byte] for byte in range(256)]
    tokens += ["".join(byte_char[byte] for byte in piece) for piece in pieces if len(piece) > 1]
    tokens += CONTROL
    ids = {token: number for number, token in enumerate(tokens)}
    size = 64 if script is None else -(-len(tokens) // 64) * 64
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return (rng.normal(scale=0.3, size=shape) if script is None else np.zeros(shape)).astype(np.float32)

    embedding, output = weights(len(tokens), size), weights(len(tokens), size)
    if script is not None:
        chain = [ids["".join(byte_char[byte] for byte in piece)] for piece in pieces]
        after = {ids[byte_char[ord("\n")]]: chain[0], **dict(zip(chain, [*chain[1:], ids[CONTROL[1]]], strict=True))}
        if loop:
            after[chain[-1]] = chain[0]
        np.fill_diagonal(embedding, 1.0)
        for before, then in after.items():
            output[then, before] = 1.0

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(65536)
    writer.add_embedding_length(size)
    writer.add_block_count(2)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_token_types([control if token in CONTROL else normal for token in tokens])
    writer.add_token_merges([f"{byte_char[0]} {byte_char[0]}"])
    writer.add_eos_token_id(ids[CONTROL[1]])
    writer.add_add_bos_token(False)
    if template:
        writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(size, dtype=np.float32))
    for layer in range(2):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", weights(size, size))
        writer.add_tensor(f"blk.{layer}.ffn_gate.weight", weights(32, size))
        writer.add_tensor(f"blk.{layer}.ffn_up.weight", weights(32, size))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", weights(size, 32))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(size, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def scripted_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Says `ANSWER` after every prompt, and stops."""
    return make_gguf(tmp_path_factory.mktemp("scripted") / "model.gguf", script=ANSWER)


@pytest.fixture(scope="session")
def endless_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Says the same again and again until it is stopped."""
    return make_gguf(tmp_path_factory.mktemp("endless") / "model.gguf", script=ANSWER, loop=True)


@pytest.fixture(scope="session")
def random_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: every prompt continues in its own way."""
    return make_gguf(tmp_path_factory.mktemp("random") / "model.gguf")


POLICY = """
[refusal]
text = "I can't find that."

[hand_off]
asks_for_person = ["human agent", "人工"]

[retrieval]
min_similarity = {min_similarity}
"""


@pytest.fixture
def make_home(tmp_path: Path, make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs a bundle with the given model, and recognisers where given, into a new home and returns it."""

    def make(
        model: Path, name: str = "home", min_similarity: float = 0.3, *, speech: Path | None = None, **prompt: object
    ) -> Path:
        import shutil

        from runtime.bundle.generations import install

        root = make_bundle(f"bundle for {name}")
        for quantization in ("q8_0", "q4_k_m"):
            shutil.copyfile(model, root / "model" / f"{quantization}.gguf")
        spec = json.loads((root / "prompt.json").read_text(encoding="utf-8")) | prompt
        (root / "prompt.json").write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
        (root / "policy.toml").write_text(POLICY.format(min_similarity=min_similarity), encoding="utf-8")
        if speech is not None:
            shutil.copytree(speech, root / "speech")
        write_manifest(root, "bundle", {}, {"name": "shop"})
        home = tmp_path / name
        install(root, home)
        monkeypatch.setenv("EDGEDESK_HOME", str(home))
        monkeypatch.setenv("EDGEDESK_THREADS", "1")
        return home

    return make
