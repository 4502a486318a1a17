"""What only the real models can show; skipped, saying so, where they have not been fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.models.catalogue import CATALOGUE, open_base
from distill.models.gguf_import import read_metadata
from distill.models.shape import gguf_shape
from runtime.base.files import sha256_file
from runtime.base.user_cache import cache_folder
from tests.support.paths import ROOT


def test_the_cached_base_is_the_file_that_was_checked(smollm2: Path) -> None:
    assert smollm2.is_dir()
    gguf = cache_folder() / "models" / "smollm2-135m-instruct" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert sha256_file(gguf) == CATALOGUE["smollm2-135m-instruct"].sha256
    assert gguf_shape(read_metadata(gguf), gguf) == CATALOGUE["smollm2-135m-instruct"].shape


def test_the_real_tokenizer_cuts_as_llama_cpp_does(smollm2: Path, shop: Path) -> None:
    from runtime.engine.tools.tokenizer_parity import parity_strings, prove_parity
    from runtime.prompting.json_tokenizer import JsonTokenizer

    base = open_base("smollm2-135m-instruct", lambda _text: None)
    assert base.gguf is not None
    texts = [path.read_text(encoding="utf-8") for path in sorted(shop.rglob("articles/*.md"))]
    assert prove_parity(JsonTokenizer(smollm2), base.gguf, parity_strings(texts)) >= 300


def test_the_real_chat_template_gives_its_pieces(smollm2: Path) -> None:
    from distill.models.chat_template import chat_pieces

    pieces = chat_pieces(smollm2)
    assert pieces.user_open == "<|im_start|>user\n"
    assert pieces.assistant_open == "<|im_start|>assistant\n"
    assert pieces.stop == ("<|im_end|>",)


def test_the_real_teacher_puts_most_of_its_mass_into_the_top_32(smollm2: Path, shop: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from distill.models.chat_template import chat_pieces
    from distill.packing.packing import encode_pack
    from distill.teacher.capture import capture
    from runtime.prompting.json_tokenizer import JsonTokenizer
    from runtime.prompting.prompt_spec import PromptSpec
    from runtime.text.articles import load_articles
    from runtime.text.records import Record

    sections = [s for article in load_articles(shop / "en" / "articles")[:2] for s in article.sections][:3]
    spec = PromptSpec(
        pieces=chat_pieces(smollm2),
        system={"en": (shop / "en" / "house-rules.md").read_text(encoding="utf-8")},
        refusal={"en": "I cannot find that."},
        languages=("en",),
    )
    records = [
        Record(
            id=f"r{number}",
            conversation=f"c{number}",
            turn=0,
            lang="en",
            query=f"What do you say about {section.heading.lower()}?",
            response=section.text,  # long enough that the file's own parts weigh little
            evidence=(section.ref,),
            source="simulated",
            split="train",
        )
        for number, section in enumerate(sections)
    ]
    pack, left = encode_pack(records, sections, spec, JsonTokenizer(smollm2), 1400)
    assert pack is not None
    assert not left
    teacher = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32, attn_implementation="sdpa")
    figures = capture(teacher, [pack], tmp_path / "capture.parquet")
    assert 0.8 < figures["captured_mass"] < 1
    assert figures["bytes_a_position"] <= 200


@pytest.mark.slow
def test_retrieval_finds_nine_of_ten_hand_written_questions(shop: Path, tmp_path: Path) -> None:
    """The shop's own questions, the real INT8 encoder, earlier questions from simulated conversations only."""
    from distill.data.dataset import gather_articles, make_records
    from distill.models.catalogue import fetch_model
    from distill.recipe.load_recipe import load_recipe
    from quantize.encoder.export_encoder import export_encoder
    from runtime.evaluation.answers import load_questions
    from runtime.evaluation.retrieval import evaluate, from_questions
    from runtime.retrieval.embedder import Embedder
    from runtime.retrieval.past_questions import read_past_questions
    from runtime.retrieval.retriever import Retriever
    from runtime.text.articles import load_articles

    if not (cache_folder() / "models" / "multilingual-e5-small").is_dir():
        pytest.skip("the embedder is not cached: edgedesk models fetch multilingual-e5-small")
    source = fetch_model("multilingual-e5-small", lambda _text: None)
    recipe = load_recipe(ROOT / "recipes" / "demo.toml")
    gather_articles(recipe.data, tmp_path / "articles")
    (tmp_path / "records").mkdir()
    make_records(recipe, tmp_path / "articles", tmp_path / "records")
    (tmp_path / "embedder").mkdir()
    articles = load_articles(tmp_path / "articles")
    export_encoder(source, tmp_path / "embedder", texts=[articles[0].sections[0].text], threads=2)
    asked = read_past_questions(tmp_path / "records")
    with Retriever.build(articles, Embedder(tmp_path / "embedder"), tmp_path / "index", asked=asked) as retriever:
        questions = load_questions([str(shop / "en" / "questions-*.jsonl")], ["en"])
        figures = evaluate(retriever, from_questions(questions))
    assert figures["queries"] >= 120
    assert figures["hit@5"] >= 0.9
