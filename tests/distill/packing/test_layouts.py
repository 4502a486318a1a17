"""Layouts: a student reads a pack's articles exactly as a branch's engine will put them together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.packing.forward import forward
from distill.packing.packing import Pack, apply_layout, encode_pack
from distill.teacher.capture import capture, read_capture
from distill.teacher.teacher import GgufTeacher
from quantize.formats.gguf_writer import write_gguf
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.tools.logits_recorder import LogitsRecorder
from runtime.errors import UsageError
from runtime.prompting.encode import encode_parts
from runtime.prompting.json_tokenizer import JsonTokenizer
from runtime.prompting.prompt_spec import PromptSpec, layout
from runtime.prompting.prompt_tokens import LAYOUTS, Layout
from runtime.text.articles import Section
from runtime.text.records import Record

TOLERANCE = 0.02
"""Of a log-probability: the engine keeps weights, keys and values in f16."""
SMALL = Pack(tuple(range(10)), 6, ((6, 7, 8), (8, 9, 10)), ("a", "b"), (1, 3))
MakeRecord = Callable[..., Record]


@pytest.fixture(scope="module")
def widened(tiny_llama: Path, open_model: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose attention matters, and its GGUF beside."""
    from distill.student.merge_lora import save_checkpoint

    folder = tmp_path_factory.mktemp("widened")
    save_checkpoint(open_model(tiny_llama, 5.0), tiny_llama, folder)
    write_gguf(folder, folder / "model.gguf")
    return folder


def pack_of(
    lang: str, spec: PromptSpec, sections: dict[str, Section], make_record: MakeRecord, tokenizer: JsonTokenizer
) -> tuple[Pack, list[Record], list[Section]]:
    talk = [("user", "你好 Hello"), ("assistant", "您好 Good day")]
    rows = [
        make_record("1", "How long? 多久？", "30 days. 30天。", lang=lang),
        make_record("2", "And on Sunday? 周日呢？", "Closed. 不营业。", lang=lang, context=talk),
    ]
    shown = [section for section in sections.values() if section.lang == lang][:3]
    pack, left = encode_pack(rows, shown, spec, tokenizer, 2000)
    assert pack is not None
    assert not left
    assert len(set(pack.articles)) == 3, "articles of one length would hide where the tail begins"
    return pack, rows, shown


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("how", LAYOUTS)
def test_a_pack_has_the_logits_that_the_engine_composes(
    how: Layout,
    lang: str,
    widened: Path,
    open_model: Callable[..., Any],
    spec: PromptSpec,
    sections: dict[str, Section],
    make_record: MakeRecord,
    tmp_path: Path,
) -> None:
    model, tokenizer = open_model(widened, 1.0), JsonTokenizer(widened)
    pack, rows, shown = pack_of(lang, spec, sections, make_record, tokenizer)

    def read(other: Layout) -> torch.Tensor:
        with torch.no_grad():
            return model.lm_head(forward(model, replace(pack, layout=other))).log_softmax(-1)

    ours = read(how)
    others = [read(other) for other in LAYOUTS if other != how]
    recorder = LogitsRecorder()
    options = EngineOptions(
        widened / "model.gguf", context_tokens=1024, threads=1, slots=1, layout=how, article_folder=tmp_path
    )
    with LlamaEngine(options, make_sampler=recorder) as engine:
        assert engine.layout == how
        for row, (_, reply, _) in zip(rows, pack.branches, strict=True):
            prompt = encode_parts(layout(spec, lang, shown, row.context, row.query), tokenizer)
            assert tuple(map(len, prompt.articles)) == pack.articles
            params = SamplingParams(max_tokens=1)
            records = recorder.watch(params)
            list(engine.generate(prompt, params, threading.Event()))
            theirs = torch.from_numpy(records[0].logprobs).float()
            torch.testing.assert_close(ours[reply - 1], theirs, atol=TOLERANCE, rtol=0)
            # The comparison can fail: another layout is another text.
            assert all((other[reply - 1] - theirs).abs().max() > 3 * TOLERANCE for other in others)


def test_parallel_articles_stand_behind_the_system_text_and_questions_behind_the_longest() -> None:
    assert replace(SMALL, layout="parallel").positions() == [0, 1, 2, 2, 3, 4, 5, 6, 5, 6]


def test_an_article_that_is_moved_takes_a_copy_of_the_system_text_along() -> None:
    moved = replace(SMALL, layout="sequential")
    assert moved.positions() == [*SMALL.positions(), 1, 2] == [0, 1, 2, 3, 4, 5, 6, 7, 6, 7, 1, 2]
    assert moved.read() == [*SMALL.tokens, 0, 1]
    rows = moved.attention()[0, 0].int().tolist()
    assert rows[2] == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert rows[4] == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1]
    assert rows[9] == [1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0]
    assert rows[11] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_a_parallel_article_sees_the_system_text_and_itself_and_a_question_sees_all() -> None:
    rows = replace(SMALL, layout="parallel").attention()[0, 0].int().tolist()
    assert rows[2] == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert rows[4] == [1, 1, 0, 1, 1, 0, 0, 0, 0, 0]
    assert rows[9] == [1, 1, 1, 1, 1, 1, 0, 0, 1, 1]


def test_mixed_takes_the_layouts_in_turn() -> None:
    assert [pack.layout for pack in apply_layout([SMALL] * 4, "mixed")] == ["exact", "parallel", "sequential", "exact"]
    assert {pack.layout for pack in apply_layout([SMALL] * 4, "parallel")} == {"parallel"}


def test_a_capture_remembers_how_its_packs_were_laid_out(
    tiny_llama: Path,
    open_model: Callable[..., Any],
    spec: PromptSpec,
    sections: dict[str, Section],
    make_record: MakeRecord,
    tmp_path: Path,
) -> None:
    pack, _, _ = pack_of("zh", spec, sections, make_record, JsonTokenizer(tiny_llama))
    model, packs = open_model(tiny_llama), apply_layout([pack] * 2, "mixed")
    capture(model, packs, tmp_path / "capture.parquet", k=4, precision="f32")
    exact, parallel = read_capture(tmp_path / "capture.parquet")
    assert [exact.pack, parallel.pack] == packs
    assert (exact.logprobs != parallel.logprobs).any()


def test_a_gguf_refuses_to_teach_in_a_layout_it_cannot_read() -> None:
    class File:
        vocab = threading.local()

    File.vocab.size = 8
    with pytest.raises(UsageError, match="parallel"):
        GgufTeacher(File()).read(replace(SMALL, layout="parallel"))
