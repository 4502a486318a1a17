from __future__ import annotations

from pathlib import Path

import pytest

from quantize.formats.gguf_quantize import quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.measure.divergence import measure_decoders
from quantize.measure.samples import make_samples, read_sample_records, section_index
from quantize.pipeline.build import load_samples
from quantize.pipeline.bundle import read_prompt
from runtime.base.jsonl import write_rows
from runtime.errors import InputError
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.text.records import Record
from tests.quantize.conftest import variant

LANGUAGES = ("en", "zh")


def test_the_table_orders_files_by_their_bits(work: Path, tiny_llama: Path, tmp_path: Path) -> None:
    checkpoint = variant(tiny_llama, tmp_path / "checkpoint")
    write_gguf(checkpoint, tmp_path / "f16.gguf")
    candidates = {"f16": tmp_path / "f16.gguf"}
    for kind in ("q8_0", "q4_k_m"):
        candidates[kind] = tmp_path / f"{kind}.gguf"
        quantize_gguf(candidates["f16"], candidates[kind], kind)
    samples = load_samples(work, 6)
    heard: list[str] = []
    rows = measure_decoders(checkpoint, candidates, samples, scratch=tmp_path, decode_tokens=4, report=heard.append)
    assert [row.format for row in rows] == ["f32", "f16", "q8_0", "q4_k_m"]
    assert heard == [f"measuring {row.format}" for row in rows]
    f32, f16, q8_0, q4_k_m = rows
    assert (f32.kl, f32.top1) == (0.0, 1.0)
    assert f16.kl <= 1e-4
    assert 0 <= f16.kl < q8_0.kl < q4_k_m.kl
    assert q4_k_m.top1 <= q8_0.top1 <= 1
    assert f32.tokens == sum(len(sample.tokens) - sample.reply for sample in samples) > 0
    assert all(row.tokens_per_s > 0 for row in rows)
    assert not list(tmp_path.glob("tmp*"))


def test_a_sample_is_the_runtime_s_prompt_then_the_reply_and_its_end(work: Path) -> None:
    tokenizer = JsonTokenizer(work / "merged")
    spec = read_prompt(work / "prompt" / "prompt.json")
    sections = section_index(work / "articles")
    record = next(row for row in read_sample_records(work / "records", 6, LANGUAGES) if row.lang == "zh")
    (sample,) = make_samples([record], spec, sections, tokenizer)
    assert tokenizer.decode(sample.tokens[sample.reply :]) == record.response
    assert sample.tokens[-1] == tokenizer.encode("<|im_end|>", control=True)[0]
    prompt = tokenizer.decode(sample.tokens[: sample.reply])
    assert sections[record.lang, record.evidence[0]].text in prompt
    assert record.query in prompt
    assert prompt.endswith("assistant\n")


def test_what_the_model_does_not_write_is_not_measured(work: Path) -> None:
    assert {row.lang for row in read_sample_records(work / "records", 99, LANGUAGES)} == set(LANGUAGES)
    assert {row.lang for row in read_sample_records(work / "records", 99, ("en",))} == {"en"}


def test_the_choice_of_records_does_not_depend_on_their_order(work: Path, tmp_path: Path) -> None:
    chosen = read_sample_records(work / "records", 3, LANGUAGES)
    write_rows(tmp_path / "test.jsonl", reversed(read_sample_records(work / "records", 99, LANGUAGES)))
    assert read_sample_records(tmp_path, 3, LANGUAGES) == chosen


def test_an_unanswerable_record_is_read_with_other_sections(work: Path) -> None:
    record = Record(
        id="none", conversation="c", turn=0, lang="en", query="Why?", response="I do not know.",
        source="simulated", split="test",
    )  # fmt: skip
    spec = read_prompt(work / "prompt" / "prompt.json")
    tokenizer = JsonTokenizer(work / "merged")
    (sample,) = make_samples([record], spec, section_index(work / "articles"), tokenizer)
    assert len(sample.tokens) > 100


def test_nothing_to_measure_on_is_bad_input(work: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"test\.jsonl"):
        read_sample_records(tmp_path, 3, LANGUAGES)
    spec = read_prompt(work / "prompt" / "prompt.json").model_copy(update={"context_tokens": 256})
    long = [
        row.model_copy(update={"query": "why " * 400}) for row in read_sample_records(work / "records", 2, LANGUAGES)
    ]
    with pytest.raises(InputError, match="context"):
        make_samples(long, spec, {}, JsonTokenizer(work / "merged"))
