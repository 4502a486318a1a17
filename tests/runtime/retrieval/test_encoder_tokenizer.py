"""Token ids of an encoder: from the pieces that occur, the same as from the whole vocabulary."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from runtime.retrieval import encoder_tokenizer
from runtime.retrieval.encoder_tokenizer import LARGE_VOCABULARY, MANY_CHARS, EncoderTokenizer

LETTERS = "abcdefgh 0123.,▁标准配送费是多少退货期限"
TEXTS = ["", "abba 0123", "标准配送费是多少？", "<s></s><mask><unk>", "zzzz", "退货" * 80, "a" * 600, "ａｂ ﬁ é\u0301"]


def write_unigram(path: Path, **changes: Any) -> Path:
    """A Unigram tokenizer like multilingual-e5's, with more pieces than are loaded at once, some of them twice."""
    chance = random.Random(1)
    pieces: dict[str, float] = {"<s>": 0.0, "<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0}
    while len(pieces) <= LARGE_VOCABULARY:
        piece = "".join(chance.choice(LETTERS) for _ in range(chance.randrange(1, 9)))
        pieces[piece] = round(-3 - 15 * chance.random(), 3)
    rows = [*pieces.items(), ("ab", -1.0), ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(rows, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(path))
    if changes:
        said = json.loads(path.read_text(encoding="utf-8"))
        said["model"] |= changes.pop("model", {})
        path.write_text(json.dumps(said | changes, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_unigram(tmp_path_factory.mktemp("编码器 1") / "tokenizer.json")


@pytest.fixture(scope="module")
def whole(path: Path) -> Tokenizer:
    found = Tokenizer.from_file(str(path))
    found.enable_truncation(64)
    return found


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> EncoderTokenizer:
    return EncoderTokenizer(path, 64)


def test_token_ids_of_few_pieces_are_those_of_the_whole_vocabulary(
    tokenizer: EncoderTokenizer, whole: Tokenizer
) -> None:
    assert tokenizer.encode(TEXTS) == [one.ids for one in whole.encode_batch(TEXTS)]
    assert "_whole" not in vars(tokenizer), "the whole vocabulary was loaded for a few short texts"
    assert tokenizer.encode([]) == []
    ids = tokenizer.encode(["abba 标准"])[0]
    assert (ids[0], ids[-1]) == (0, 2)
    assert max(ids) > 300, "ids are those of the vocabulary, not of its part"


@settings(max_examples=150)
@given(st.lists(st.text(st.sampled_from(LETTERS + "xyzé？\u3000\n<>"), max_size=80) | st.text(max_size=20), max_size=4))
def test_token_ids_of_any_text_are_those_of_the_whole_vocabulary(
    tokenizer: EncoderTokenizer, whole: Tokenizer, texts: list[str]
) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    assert tokenizer.encode(texts) == [one.ids for one in whole.encode_batch(texts)]


def test_whole_vocabulary_is_loaded_for_many_texts(path: Path, whole: Tokenizer) -> None:
    tokenizer = EncoderTokenizer(path, 64)
    texts = ["标准配送费 abc"] * (MANY_CHARS // 9 + 1)
    assert tokenizer.encode(texts) == [one.ids for one in whole.encode_batch(texts)]
    assert "_whole" in vars(tokenizer)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"byte_fallback": True}},
        {
            "added_tokens": [
                {"id": 2, "content": "</s>", "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": False, "special": True}
            ]
        },
    ],
)  # fmt: skip
def test_tokenizer_of_which_a_part_does_not_do_is_loaded_whole(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = write_unigram(tmp_path / "tokenizer.json", **changes)
    whole = Tokenizer.from_file(str(path))
    tokenizer = EncoderTokenizer(path, 512)
    assert "_whole" in vars(tokenizer)
    assert tokenizer.encode(TEXTS) == [one.ids for one in whole.encode_batch(TEXTS)]


def test_tokenizer_with_a_small_vocabulary_is_loaded_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_tokenizer, "LARGE_VOCABULARY", 10**6)
    assert "_whole" in vars(EncoderTokenizer(path, 64))
