"""Who may teach whom in a build, and how its student reads."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.pipeline.build import open_build
from distill.recipe.recipe import Capture, PromptChoice, Recipe, Student, Tuning
from distill.recipe.settings import DistillSettings
from distill.teacher import generators
from quantize.formats.gguf_writer import write_gguf
from runtime.base.manifest import read_manifest
from runtime.engine.tools.tokenizer_parity import parity_strings, prove_parity
from runtime.errors import InputError, ModelError, UsageError
from runtime.prompting.json_tokenizer import JsonTokenizer
from tests.conftest import LLAMA2
from tests.support.company import RUN, leftovers


def test_a_student_may_be_narrower_as_well_as_shorter(run: Callable[..., list[str]], work: Path) -> None:
    run(student=Student(layers=3, kv_heads=1, feed_forward=96, repair_packs=1))
    made = json.loads((work / "merged" / "config.json").read_text())
    assert (made["num_hidden_layers"], made["num_key_value_heads"], made["intermediate_size"]) == (3, 1, 96)
    figures = read_manifest(work / "pruned").figures
    assert figures["held_out"]["kl"] < figures["held_out_before"]["kl"]


def test_a_student_reads_articles_as_the_recipe_says_and_its_teacher_plainly(
    run: Callable[..., list[str]], work: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill.student import training
    from distill.teacher.capture import read_capture

    read: dict[str, set[str]] = {}
    for name in ("distill", "tune"):
        real = getattr(training, name)

        def watch(model: Any, rows: Any, *given: Any, real: Any = real, name: str = name, **more: Any) -> Any:
            layouts = {getattr(row, "pack", row).layout for row in rows}
            read[name] = read.get(name, set()) | layouts
            return real(model, rows, *given, **more)

        monkeypatch.setattr(training, name, watch)
    packing = recipe.packing.model_copy(update={"layout": "parallel"})
    run(packing=packing, teacher=None)
    assert read == {"distill": {"parallel"}, "tune": {"parallel"}}
    rows = list(read_capture(work / "capture" / "capture.parquet"))
    assert {row.pack.layout for row in rows} == {"exact"}
    assert all(row.pack.articles for row in rows)
    assert json.loads((work / "prompt" / "prompt.json").read_text())["layout"] == "parallel"
    mixed = recipe.packing.model_copy(update={"layout": "mixed"})
    assert run(packing=mixed, teacher=None) == ["prompt", "pruned", "student", "merged"]  # no capture again
    read.clear()
    run(
        packing=mixed,
        prompt=PromptChoice(articles=2, layout="sequential"),
        capture=Capture(packs=2, k=8, layout="packing"),
    )
    assert read["distill"] == {"exact", "parallel"}  # two packs take two turns
    assert {row.pack.layout for row in read_capture(work / "capture" / "capture.parquet")} == {"exact", "parallel"}
    assert json.loads((work / "prompt" / "prompt.json").read_text())["layout"] == "sequential"


def test_branches_may_read_otherwise_than_the_student_learned(
    run: Callable[..., list[str]], work: Path, recipe: Recipe
) -> None:
    run(teacher=None)
    assert "facts_read" not in read_manifest(work / "merged").figures
    assert run(teacher=None, prompt=PromptChoice(articles=2, layout="sequential")) == ["prompt", "merged"]
    figures = read_manifest(work / "merged").figures
    composed, exact = figures["facts_read"]
    assert composed >= 0
    assert exact >= 0
    assert figures["held_out"]["kl"] < 0.1


def test_general_conversations_are_replayed_in_both_languages_and_a_context_grows(
    run: Callable[..., list[str]], work: Path, company: Path, recipe: Recipe, tiny_llama: Path
) -> None:
    from distill.teacher.capture import read_capture

    chat = company / "chat.jsonl"
    rows = [("en", "Tell me a joke.", "No."), ("en", "讲个笑话。", "不。"), ("fr", "Une blague ?", "Non.")]
    chat.write_text(
        "".join(
            json.dumps(
                {"lang": lang, "messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]}
            )
            + "\n"
            for lang, a, b in rows
        )
    )
    data = recipe.data.model_copy(update={"replay": chat})
    packing = recipe.packing.model_copy(update={"replay": 0.5, "layout": "sequential"})
    run(
        data=data,
        packing=packing,
        student=Student(layers=3, repair_packs=0, rope_factor=2),
        teacher=None,
        capture=Capture(packs=4, k=8),
    )
    packs = [row.pack for row in read_capture(work / "capture" / "capture.parquet")]
    assert [bool(pack.articles) for pack in packs].count(False) == 2
    tokenizer = JsonTokenizer(tiny_llama)
    replayed = " ".join(tokenizer.decode(pack.tokens) for pack in packs if not pack.articles)
    assert "joke" in replayed
    assert "讲个笑话" in replayed
    assert "blague" not in replayed
    merged = json.loads((work / "merged" / "config.json").read_text())
    assert merged["rope_scaling"]["rope_type"] == "linear"
    assert merged["max_position_embeddings"] == 2 * 4096
    assert read_manifest(work / "student").figures["held_out"]["kl"] > 0
    chat.write_text(json.dumps({"lang": "fr", "messages": [{"role": "user", "content": "Une blague ?"}]}) + "\n")
    with pytest.raises(InputError, match="no general conversation"):
        run(data=data, packing=packing, teacher=None)


def test_positions_that_are_scaled_already_are_not_scaled_again(
    run: Callable[..., list[str]], tiny_llama: Path, tmp_path: Path
) -> None:
    scaled = shutil.copytree(tiny_llama, tmp_path / "scaled")
    config = json.loads((scaled / "config.json").read_text())
    scaling = {"rope_type": "linear", "factor": 4.0}
    (scaled / "config.json").write_text(json.dumps({**config, "rope_scaling": scaling}))
    with pytest.raises(UsageError, match="scaled already"):
        run(base=scaled, student=Student(rope_factor=2), teacher=None)


def test_another_checkpoint_may_be_the_student_padding_rows_and_all(
    run: Callable[..., list[str]], work: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    small = shutil.copytree(tiny_llama, tmp_path / "small")
    rows = json.loads((tiny_llama / "config.json").read_text())["vocab_size"]
    config = AutoConfig.from_pretrained(
        tiny_llama, num_hidden_layers=2, hidden_size=32, intermediate_size=64, vocab_size=rows + 64
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(small)
    ran = run(student=Student(model=str(small)), kd=DistillSettings(rank=2, precision="f32"))
    assert ran == [name for name in RUN if name != "pruned"]
    assert read_manifest(work / "capture").inputs["vocabulary"] == rows
    figures = read_manifest(work / "student").figures
    assert 0 < figures["held_out"]["kl"] < 100
    merged = json.loads((work / "merged" / "config.json").read_text())
    assert (merged["hidden_size"], merged["vocab_size"]) == (32, rows + 64)


def test_the_teachers_own_replies_are_captured_beside_the_gold_ones(
    run: Callable[..., list[str]], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill.teacher import sampled_replies
    from distill.teacher.capture import read_capture

    def say_so(_: Any, records: list[Any], sections: Callable[[Any], list[Any]], *_more: Any, **__: Any) -> Any:
        assert all(1 <= len(sections(record)) <= 2 for record in records)
        update = {"response": "So it is.", "source": "teacher"}
        return [r.model_copy(update={**update, "id": f"{r.id}/s0"}) for r in records], {"kept": len(records)}

    monkeypatch.setattr(sampled_replies, "sample_replies", say_so)
    assert "teacher_replies" in run(capture=Capture(packs=2, k=8, samples=1))
    captured = [name for row in read_capture(work / "capture" / "capture.parquet") for name in row.pack.records]
    gold, own = ({name for name in captured if name.endswith("/s0") == written} for written in (False, True))
    assert own
    assert {name.removesuffix("/s0") for name in own} <= gold


def test_a_gguf_may_teach_a_checkpoint_without_being_unpacked(
    run: Callable[..., list[str]], work: Path, tiny_llama: Path, tmp_path: Path, recipe: Recipe
) -> None:
    write_gguf(tiny_llama, tmp_path / "teacher.gguf")
    small = shutil.copytree(tiny_llama, tmp_path / "small")
    student, kd = Student(model=str(small)), DistillSettings(rank=2, precision="f32")
    ran = run(base=tmp_path / "teacher.gguf", student=student, teacher=None, kd=kd)
    assert ran == [name for name in RUN if name not in ("tuned_teacher", "pruned")]
    # Teacher and student are one model here but for the f16 of the file.
    assert read_manifest(work / "student").figures["held_out"]["kl"] < 0.05
    wrong = recipe.model_copy(update={"student": student})
    with pytest.raises(UsageError, match="cannot be fine-tuned"):
        open_build(wrong, work, base=str(tmp_path / "teacher.gguf"))


def test_a_base_with_llama_2s_tokenizer_and_template_is_tuned_like_any_other(
    run: Callable[..., list[str]], work: Path, tiny_llama2: Path
) -> None:
    assert run(base=tiny_llama2, student=Student()) == ["articles", "teacher", "prompt", "records", "merged"]
    write_gguf(work / "merged", work / "again.gguf")
    assert prove_parity(JsonTokenizer(work / "merged"), work / "again.gguf", parity_strings(["多久可以退？"])) == 400
    assert json.loads((work / "prompt" / "prompt.json").read_text())["pieces"]["stop"] == ["</s>"]


def test_a_base_without_a_chat_template_is_given_one(
    run: Callable[..., list[str]], work: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(tiny_llama, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template") as error:
        run(base=bare, student=Student())
    assert "prompt.template" in error.value.hint
    template = tmp_path / "own.jinja"
    own = LLAMA2.replace("bos_token + ", "")  # this tokenizer has none
    template.write_text(own.replace("[INST]", "<|im_start|>问"), encoding="utf-8")
    made = PromptChoice(articles=2, template=template)
    assert run(base=bare, student=Student(), prompt=made)[-1] == "merged"
    pieces = json.loads((work / "prompt" / "prompt.json").read_text(encoding="utf-8"))["pieces"]
    assert pieces["system_open"].endswith("<|im_start|>问 <<SYS>>\n")
    assert (work / "merged" / "chat_template.jinja").read_text(encoding="utf-8") == template.read_text(encoding="utf-8")
    assert run(base=bare, student=Student(), prompt=made) == []
    template.write_text(own.replace("[INST]", "<|im_start|>答"), encoding="utf-8")
    assert run(base=bare, student=Student(), prompt=made) == ["teacher", "prompt", "merged"]


@pytest.mark.parametrize("kind", ["checkpoint", "GGUF"])
def test_a_teacher_with_token_difference_teaches_by_text_and_the_build_says_so(
    kind: str, recipe: Recipe, work: Path, tiny_qwen2: Path, tiny_llama: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    teacher = tiny_qwen2
    if kind == "GGUF":
        teacher = tmp_path / "big.gguf"
        write_gguf(tiny_qwen2, teacher)
    theirs = JsonTokenizer(tiny_qwen2).encode("2026", control=False)
    asked: list[str] = []

    def say_so(self: Any, record: Any, sections: Any, **_: Any) -> generators.GeneratedReply:
        assert self._engine.vocab.encode("2026", control=False) == theirs
        asked.append(record.id)
        # Every second reply states what no article says.
        return generators.GeneratedReply(
            record.response + " 可以。" if len(asked) % 2 else "It takes 77 days.", sections, True
        )

    monkeypatch.setattr(generators.GgufGenerator, "reply", say_so)
    other = recipe.model_copy(update={"student": Student(model=str(tiny_llama)), "teacher": None})
    made = open_build(other, work, base=str(teacher)).run(write_gguf)
    assert re.search(r"text distillation: .*(token \d+ is| cut .* differently)", capsys.readouterr().err)
    assert list(made) == ["articles", "teacher", "prompt", "records", "teacher_replies", "merged"]
    figures = made["teacher_replies"].figures
    assert figures["asked"] == len(asked)
    assert sum(figures["verdicts"].values()) == len(asked)
    assert figures["records"] == figures["verdicts"]["kept"] > 0
    assert figures["verdicts"]["ungrounded"] > 0
    assert made["merged"].figures["training"]["packs"] > other.lora.packs  # its words besides the records' own
    assert leftovers(work) == []
    open_build(other, work, base=str(teacher)).run(write_gguf)
    assert len(asked) == figures["asked"]  # nothing is asked again
    with pytest.raises(UsageError, match="cannot be fine-tuned"):
        open_build(other.model_copy(update={"teacher": Tuning()}), work, base=str(teacher))
