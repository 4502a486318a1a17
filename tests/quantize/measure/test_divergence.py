from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quantize.formats.gguf_quantize import quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from quantize.measure.divergence import measure_decoders
from quantize.measure.samples import make_samples, read_sample_records, section_index, text_samples
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
    assert f32.kl_p99 == 0
    assert q8_0.kl < q8_0.kl_p99 < q4_k_m.kl_p99
    assert f32.tokens == sum(len(sample.tokens) - sample.reply for sample in samples) > 0
    assert all(row.tokens_per_s > 0 for row in rows)
    assert not list(tmp_path.glob("tmp*"))


def test_the_receipt_tells_every_intent_and_flips_and_speeds_by_thread_count(
    work: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """A file of another model strays on both intents; of f32's right tokens it loses those it does not find itself."""
    write_gguf(variant(tiny_llama, tmp_path / "other"), tmp_path / "other.gguf")
    checkpoint = variant(tiny_llama, tmp_path / "checkpoint", num_hidden_layers=1)
    samples = [replace(sample, intent=f"intent {index % 2}") for index, sample in enumerate(load_samples(work, 4))]
    f32, row = measure_decoders(
        checkpoint,
        {"other": tmp_path / "other.gguf"},
        samples,
        scratch=tmp_path,
        decode_tokens=2,
        speed_threads=(1, 2),
    )
    assert (f32.lost, f32.won, f32.speeds) == (0, 0, ())
    assert set(row.by_intent) == {"intent 0", "intent 1"}
    tokens = sum(one.tokens for one in row.by_intent.values())
    assert tokens == row.tokens
    weighed = sum(one.kl * one.tokens for one in row.by_intent.values()) / tokens
    assert row.kl == pytest.approx(weighed, rel=1e-3)
    assert row.kl > 0.1
    assert [speed.threads for speed in row.speeds] == [1, 2]


def test_a_general_text_is_cut_as_llama_perplexity_cuts_it(tiny_llama: Path, tmp_path: Path) -> None:
    """Whole pieces; of each the second half is measured, the token after the middle first."""
    path = tmp_path / "text.txt"
    path.write_text("Parcels arrive within three days. 退货期限为30天。\n" * 40, encoding="utf-8")
    samples = text_samples(path, tiny_llama, length=64, count=3)
    whole = JsonTokenizer(tiny_llama).encode(path.read_text(encoding="utf-8"), control=False)
    assert [sample.tokens for sample in samples] == [tuple(whole[n : n + 64]) for n in (0, 64, 128)]
    assert {sample.reply for sample in samples} == {33}
    path.write_text("short", encoding="utf-8")
    with pytest.raises(InputError, match="fewer than 64 tokens"):
        text_samples(path, tiny_llama, length=64)
    path.write_text("", encoding="utf-8")
    with pytest.raises(InputError):
        text_samples(path, tiny_llama, length=64)


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
