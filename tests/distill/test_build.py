"""The chain of stages: what has not changed is not done again, what has is, and nothing half-made is ever left."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from distill import stages as module
from distill.build import open_build
from distill.packs import Pack
from distill.prepare import split_of
from distill.recipe import Capture, Data, Evaluate, Packing, Prompt, Recipe, Student, Transcripts, Tuning
from distill.train import DistillSettings
from distill.work import STAGES
from quantize.gguf_writer import write_gguf
from runtime.errors import InputError, IntegrityError, MissingError, ModelError, SpaceError, UsageError
from runtime.manifest import Manifest, read_manifest, verify
from runtime.tokenizer import JsonTokenizer

TEXTS = {
    "returns": ("How long you may return it: 30 days.", "Returning costs nothing."),
    "delivery": ("Delivery costs €4.90.", "We deliver on weekdays."),
}
RAN = "done in"
RUN = [name for name in STAGES if name != "sampled"]
"""What a recipe without `capture.samples` runs."""
LEARNING = ["corrected", "capture", "pruned", "student", "merged"]
"""Stages that rest on the records."""


def chats(ask: str, reply: str, start: int) -> str:
    """Forty conversations as CSV, no two alike."""
    rows = [f"c{n},user,{ask} {n}?\nc{n},assistant,{reply} {n}." for n in range(start, start + 40)]
    return "conversation,role,content\n" + "\n".join(rows) + "\n"


def write_company(root: Path) -> None:
    """Two articles, house rules, policies, and transcripts in two languages."""
    (root / "articles").mkdir(parents=True)
    for name, (one, two) in TEXTS.items():
        text = f"# {name.title()}\n\n## One {{#one}}\n\n{one}\n\n## Two {{#two}}\n\n{two} 可以。\n"
        (root / "articles" / f"{name}.md").write_text(text, encoding="utf-8")
    (root / "en.csv").write_text(chats("May I return item", "It costs nothing to return item", 100))
    (root / "zh.csv").write_text(chats("可以退货吗", "免费退货", 500), encoding="utf-8")
    (root / "rules.md").write_text("Answer from the articles.\n")
    (root / "policy.toml").write_text('[refusal]\ntext = "I do not know. 不知道。"\n', encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every test has its company and its work folder: stages know files by their paths."""
    return tmp_path_factory.mktemp("build") / "here"


@pytest.fixture(scope="module")
def recipe(root: Path) -> Recipe:
    company = root / "company"
    return Recipe(
        name="small",
        data=Data(
            articles={"en": company / "articles"},
            house_rules={"en": company / "rules.md"},
            policy={"en": company / "policy.toml"},
            transcripts=(Transcripts(path=company / "en.csv"),),
        ),
        prompt=Prompt(articles=2),
        packing=Packing(records=4, tokens=900, refusals=1),
        teacher=Tuning(packs=1, rank=2, precision="f32"),
        capture=Capture(packs=2, k=8),
        student=Student(layers=3),
        kd=DistillSettings(precision="f32"),
        lora=Tuning(packs=2, rank=2, precision="f32"),
        evaluate=Evaluate(packs=1),
    )


@pytest.fixture
def company(root: Path) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    write_company(root / "company")
    return root / "company"


@pytest.fixture
def work(root: Path, company: Path) -> Path:
    """Where nothing has been built yet."""
    return root / "a work folder"


@pytest.fixture(scope="module")
def finished(root: Path, recipe: Recipe, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder after its first build, kept aside."""
    shutil.rmtree(root, ignore_errors=True)
    write_company(root / "company")
    open_build(recipe, root / "a work folder", base=str(tiny_llama)).run(write_gguf)
    return shutil.copytree(root / "a work folder", tmp_path_factory.mktemp("finished") / "work")


@pytest.fixture
def built(finished: Path, work: Path) -> Path:
    """A work folder after its first build."""
    return shutil.copytree(finished, work)


@pytest.fixture
def run(recipe: Recipe, work: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """`run(**changes of the recipe)` builds and returns the names of the stages that ran."""

    def build(*, force_from: str | None = None, base: Path = tiny_llama, **changes: Any) -> list[str]:
        capsys.readouterr()
        made = recipe.model_copy(update=changes)
        open_build(made, work, base=str(base), force_from=force_from).run(write_gguf)
        said = capsys.readouterr()
        assert said.out == ""  # stdout is data
        return [line.split()[0] for line in said.err.splitlines() if RAN in line]

    return build


def leftovers(work: Path) -> list[str]:
    return [path.name for path in work.rglob(".*")]


def test_a_second_run_does_nothing_and_the_first_leaves_whole_folders(
    run: Callable[..., list[str]], work: Path
) -> None:
    assert run() == RUN
    for name in RUN:
        verify(work / name, read_manifest(work / name))
        assert read_manifest(work / name).figures["seconds"] >= 0
    assert leftovers(work) == []
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*")}
    assert run() == []
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*")} == before


def test_the_figures_of_a_build_are_all_measured(built: Path) -> None:
    figures = {name: read_manifest(built / name).figures for name in RUN}
    assert figures["teacher"]["parity_strings"] >= 300
    assert figures["corrected"]["training"]["packs"] == 1
    assert figures["pruned"]["layers"][0] == 0
    assert figures["pruned"]["layers"][-1] == 3
    assert len(figures["pruned"]["influence"]) == 4
    assert len(figures["pruned"]["errors"]) == 3
    assert figures["pruned"]["held_out"]["kl"] < figures["pruned"]["held_out_before"]["kl"]
    assert figures["student"]["held_out"]["tokens"] > 0
    assert figures["merged"]["largest_logit_difference"] < 1e-3
    assert figures["capture"]["packs"] == 2
    assert json.loads((built / "merged" / "config.json").read_text())["num_hidden_layers"] == 3


@pytest.mark.usefixtures("built")
def test_only_what_rests_on_a_change_runs_again(run: Callable[..., list[str]], recipe: Recipe) -> None:
    assert run(lora=recipe.lora.model_copy(update={"rank": 4})) == ["merged"]
    lora = {"lora": recipe.lora.model_copy(update={"rank": 4})}
    assert run(kd=recipe.kd.model_copy(update={"ce_weight": 0.5}), **lora) == ["student", "merged"]
    assert run(**lora) == ["student", "merged"]
    assert run(evaluate=Evaluate(packs=2), **lora) == ["capture", "pruned", "student"]
    run(**lora)
    assert run(capture=Capture(packs=1, k=8), **lora) == ["capture", "student", "merged"]
    student = recipe.student.model_copy(update={"repair_packs": 0})
    assert run(student=student, **lora) == ["capture", "pruned", "student", "merged"]
    assert run(**lora) == ["capture", "pruned", "student", "merged"]
    packing = recipe.packing.model_copy(update={"records": 3})
    assert run(packing=packing, **lora) == LEARNING
    assert run(prompt=Prompt(articles=1), **lora) == ["prompt", *LEARNING]
    run(**lora)
    assert run(teacher=None, **lora) == LEARNING[1:]


def test_a_changed_article_reaches_everything_that_reads_it(
    run: Callable[..., list[str]], built: Path, company: Path
) -> None:
    """Also where no record changes: the teacher reads the article's own words."""
    before = (built / "records" / "train.jsonl").read_bytes()
    path = company / "articles" / "returns.md"
    path.write_text(path.read_text(encoding="utf-8").replace("30 days", "45 days"), encoding="utf-8")
    assert run() == ["articles", "teacher", "prompt", "records", *LEARNING]
    assert (built / "records" / "train.jsonl").read_bytes() == before


@pytest.mark.usefixtures("built")
def test_a_changed_transcript_changes_records_but_not_the_teacher(run: Callable[..., list[str]], company: Path) -> None:
    path = company / "en.csv"
    path.write_text(path.read_text().replace("nothing", "€5"), encoding="utf-8")
    ran = run()
    assert "teacher" not in ran
    assert ran[-6:] == ["records", *LEARNING]


def test_another_base_starts_again_from_the_teacher(
    run: Callable[..., list[str]], built: Path, tiny_qwen2: Path
) -> None:
    assert run(base=tiny_qwen2) == ["teacher", "prompt", *LEARNING]
    assert json.loads((built / "merged" / "config.json").read_text())["model_type"] == "qwen2"


@pytest.mark.usefixtures("built")
def test_a_build_may_be_told_to_go_on_from_a_stage(run: Callable[..., list[str]]) -> None:
    assert run(force_from="student") == ["student", "merged"]
    assert run() == []


def test_a_stage_there_is_not_is_refused(run: Callable[..., list[str]], work: Path) -> None:
    with pytest.raises(UsageError, match=r"--from: no stage 'studnet'"):
        run(force_from="studnet")
    assert not work.exists()


def test_a_stage_folder_that_was_lost_or_lost_its_manifest_is_made_again(
    run: Callable[..., list[str]], built: Path
) -> None:
    shutil.rmtree(built / "merged")
    assert run() == ["merged"]
    (built / "merged" / "manifest.json").write_text("{")
    assert run() == ["merged"]


def test_without_layers_the_base_itself_is_tuned(run: Callable[..., list[str]], work: Path) -> None:
    assert run(student=Student()) == ["articles", "teacher", "prompt", "records", "merged"]
    assert run(student=Student(), force_from="student") == ["merged"]
    assert json.loads((work / "merged" / "config.json").read_text())["num_hidden_layers"] == 4


@contextmanager
def stopped(*_: Any, **__: Any) -> Iterator[Callable[[int], None]]:
    """A progress bar under which somebody presses Ctrl-C."""

    def advance(_amount: int) -> None:
        raise KeyboardInterrupt

    yield advance


@pytest.mark.parametrize("stage", ["corrected", "capture", "student", "merged"])
def test_ctrl_c_in_the_middle_of_a_stage_leaves_nothing_of_it_and_all_before_it(
    stage: str, run: Callable[..., list[str]], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = {"corrected": "correcting", "capture": "capturing", "student": "distilling", "merged": "tuning"}
    real = module.bar
    monkeypatch.setattr(
        module, "bar", lambda what, *a, **k: (stopped if what.startswith(bars[stage]) else real)(what, *a, **k)
    )
    with pytest.raises(KeyboardInterrupt):
        run()
    assert leftovers(work) == []
    done = RUN[: RUN.index(stage)]
    assert sorted(path.name for path in work.iterdir()) == sorted(done)
    monkeypatch.undo()
    assert run() == RUN[len(done) :]


def test_a_capture_that_was_cut_off_goes_on_and_another_recipe_does_not_take_it_over(
    run: Callable[..., list[str]], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill import capture as capturing

    monkeypatch.setattr(capturing, "PART_PACKS", 1)
    real, read = capturing._captured_row, []

    def cut_off(*given: Any) -> Any:
        if read:
            raise KeyboardInterrupt
        read.append(given[1])
        return real(*given)

    monkeypatch.setattr(capturing, "_captured_row", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert (work / "capture.parts" / "part-00000.parquet").is_file()
    with pytest.raises(IntegrityError, match="capture changed"):
        run(capture=Capture(packs=2, k=4))
    monkeypatch.setattr(capturing, "_captured_row", lambda *given: read.append(given[1]) or real(*given))
    assert run()[0] == "capture"
    assert len(read) == 2
    assert read[0] != read[1]
    assert not (work / "capture.parts").exists()


def test_a_student_may_be_narrower_as_well_as_shorter(run: Callable[..., list[str]], work: Path) -> None:
    run(student=Student(layers=3, kv_heads=1, feed_forward=96, repair_packs=1))
    made = json.loads((work / "merged" / "config.json").read_text())
    assert (made["num_hidden_layers"], made["num_key_value_heads"], made["intermediate_size"]) == (3, 1, 96)
    figures = read_manifest(work / "pruned").figures
    assert figures["held_out"]["kl"] < figures["held_out_before"]["kl"]


def test_a_student_reads_articles_as_the_recipe_says_and_its_teacher_plainly(
    run: Callable[..., list[str]], work: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill import train
    from distill.capture import read_capture

    read: dict[str, set[str]] = {}
    for name in ("distill", "tune"):
        real = getattr(train, name)

        def watch(model: Any, rows: Any, *given: Any, real: Any = real, name: str = name, **more: Any) -> Any:
            layouts = {getattr(row, "pack", row).layout for row in rows}
            read[name] = read.get(name, set()) | layouts
            return real(model, rows, *given, **more)

        monkeypatch.setattr(train, name, watch)
    packing = recipe.packing.model_copy(update={"layout": "parallel"})
    run(packing=packing, teacher=None)
    assert read == {"distill": {"parallel"}, "tune": {"parallel"}}
    rows = list(read_capture(work / "capture" / "capture.parquet"))
    assert {row.pack.layout for row in rows} == {"exact"}
    assert all(row.pack.articles for row in rows)
    assert json.loads((work / "prompt" / "prompt.json").read_text())["layout"] == "parallel"
    mixed = recipe.packing.model_copy(update={"layout": "mixed"})
    assert run(packing=mixed, teacher=None) == ["prompt", "student", "merged"]  # nothing is captured again
    read.clear()
    run(packing=mixed, prompt=Prompt(articles=2, layout="sequential"), capture=Capture(packs=2, k=8, layout="packing"))
    assert read["distill"] == {"exact", "parallel"}  # two packs take two turns
    assert {row.pack.layout for row in read_capture(work / "capture" / "capture.parquet")} == {"exact", "parallel"}
    assert json.loads((work / "prompt" / "prompt.json").read_text())["layout"] == "sequential"


def test_general_conversations_are_replayed_in_both_languages_and_a_context_grows(
    run: Callable[..., list[str]], work: Path, company: Path, recipe: Recipe, tiny_llama: Path
) -> None:
    from distill.capture import read_capture

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
    from distill import sampled
    from distill.capture import read_capture

    def say_so(_gguf: Path, records: list[Any], sections: Callable[[Any], list[Any]], *_: Any, **__: Any) -> Any:
        assert all(1 <= len(sections(record)) <= 2 for record in records)
        update = {"response": "So it is.", "source": "teacher"}
        return [r.model_copy(update={**update, "id": f"{r.id}/s0"}) for r in records], {"kept": len(records)}

    monkeypatch.setattr(sampled, "sample_replies", say_so)
    assert "sampled" in run(capture=Capture(packs=2, k=8, samples=1))
    captured = [name for row in read_capture(work / "capture" / "capture.parquet") for name in row.pack.records]
    gold, own = ({name for name in captured if name.endswith("/s0") == sampled} for sampled in (False, True))
    assert own
    assert {name.removesuffix("/s0") for name in own} <= gold


def test_a_gguf_may_teach_a_checkpoint_without_being_unpacked(
    run: Callable[..., list[str]], work: Path, tiny_llama: Path, tmp_path: Path, recipe: Recipe
) -> None:
    write_gguf(tiny_llama, tmp_path / "teacher.gguf")
    small = shutil.copytree(tiny_llama, tmp_path / "small")
    student, kd = Student(model=str(small)), DistillSettings(rank=2, precision="f32")
    ran = run(base=tmp_path / "teacher.gguf", student=student, teacher=None, kd=kd)
    assert ran == [name for name in RUN if name not in ("corrected", "pruned")]
    # Teacher and student are one model here but for the f16 of the file.
    assert read_manifest(work / "student").figures["held_out"]["kl"] < 0.05
    wrong = recipe.model_copy(update={"student": student})
    with pytest.raises(UsageError, match="cannot be corrected"):
        open_build(wrong, work, base=str(tmp_path / "teacher.gguf"))


def test_a_student_of_another_family_is_refused_before_anything_runs(
    recipe: Recipe, work: Path, tiny_llama: Path, tiny_qwen2: Path
) -> None:
    other = recipe.model_copy(update={"student": Student(model=str(tiny_qwen2))})
    with pytest.raises(ModelError, match="mean nothing"):
        open_build(other, work, base=str(tiny_llama)).run(write_gguf)
    assert list(work.iterdir()) == []


def test_a_dry_run_predicts_hours_and_disk_and_captures_nothing(recipe: Recipe, work: Path, tiny_llama: Path) -> None:
    build = open_build(recipe, work, base=str(tiny_llama))
    predicted = build.predict(write_gguf, 3)
    assert predicted["hours"] >= 0
    assert predicted["gigabytes"] > 0
    assert predicted["sampled_records"] >= 3
    assert sorted(path.name for path in work.iterdir()) == ["articles", "prompt", "records", "teacher"]
    with pytest.raises(UsageError, match="captures no teacher"):
        open_build(recipe.model_copy(update={"student": Student()}), work, base=str(tiny_llama)).predict(write_gguf, 3)


@pytest.mark.parametrize(
    ("error", "seen"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "No space left on device"), SpaceError)],
    ids=["Ctrl-C", "full disk"],
)
def test_a_stage_that_ends_early_keeps_the_folder_of_the_last_run(
    error: BaseException, seen: type[BaseException], recipe: Recipe, built: Path, tiny_llama: Path, company: Path
) -> None:
    before = read_manifest(built / "teacher")
    path = company / "articles" / "returns.md"
    path.write_text(path.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")

    def interrupted(_checkpoint: Path, out: Path) -> None:
        out.write_bytes(b"half")
        raise error

    with pytest.raises(seen):
        open_build(recipe, built, base=str(tiny_llama)).run(interrupted)
    assert leftovers(built) == []
    assert read_manifest(built / "teacher") == before
    verify(built / "teacher", before)


def test_a_base_that_llama_cpp_cuts_differently_is_refused_before_anything_is_learned(
    recipe: Recipe, work: Path, tiny_llama: Path, tiny_qwen2: Path
) -> None:
    with pytest.raises(ModelError, match="differently"):
        open_build(recipe, work, base=str(tiny_llama)).run(lambda _checkpoint, out: write_gguf(tiny_qwen2, out))
    assert [path.name for path in work.iterdir()] == ["articles"]


def test_too_little_space_is_said_before_the_first_stage(
    recipe: Recipe, work: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime import files

    usage = shutil.disk_usage("/")
    build = open_build(recipe, work, base=str(tiny_llama))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SpaceError, match="the build"):
        build.run(write_gguf)
    assert list(work.iterdir()) == []


def test_a_base_there_is_not_makes_no_work_folder(recipe: Recipe, work: Path) -> None:
    with pytest.raises(MissingError, match="no base model"):
        open_build(recipe, work, base="no-such-model")
    assert not work.exists()


def test_records_that_fit_no_pack_are_said(run: Callable[..., list[str]], company: Path) -> None:
    (company / "rules.md").write_text("Answer from the articles. " * 100)
    with pytest.raises(InputError, match="fits a prompt") as error:
        run(packing=Packing(tokens=128))
    assert "packing.tokens" in error.value.hint


@pytest.mark.parametrize("layers", [3, None])
def test_that_nothing_is_held_out_is_said_before_the_long_stages(
    layers: int | None, run: Callable[..., list[str]], company: Path, work: Path
) -> None:
    names = [
        name for name in (f"c{n}" for n in range(40)) if split_of(name, Data.model_fields["seed"].default) != "test"
    ]
    rows = [f"{name},user,May I return item {name}?\n{name},assistant,Item {name} costs nothing." for name in names]
    (company / "en.csv").write_text("conversation,role,content\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match="held out"):
        run(student=Student(layers=layers))
    assert not {"capture", "merged"} & {path.name for path in work.iterdir()}


def test_that_no_held_out_record_fits_a_pack_is_said_before_the_capture(
    run: Callable[..., list[str]], company: Path, work: Path
) -> None:
    rows = []
    for name in (f"c{n}" for n in range(100, 140)):
        asked = "May I return item" if split_of(name, Data.model_fields["seed"].default) != "test" else "xyzzy " * 900
        rows.append(f"{name},user,{asked} {name}?\n{name},assistant,Item {name} costs nothing.")
    (company / "en.csv").write_text("conversation,role,content\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match="no test record"):
        run()
    assert not (work / "capture").exists()


def test_packs_hold_both_languages_and_the_seed_decides_their_order(
    recipe: Recipe, work: Path, company: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zh = company / "zh-articles"
    zh.mkdir()
    for name in TEXTS:
        text = f"---\nlang: zh\n---\n# 退货{name}\n\n## 一 {{#one}}\n\n30天内可以退货。\n\n## 二 {{#two}}\n\n免费。\n"
        (zh / f"{name}.md").write_text(text, encoding="utf-8")
    data = recipe.data
    both = recipe.model_copy(
        update={
            "languages": ("en", "zh"),
            "student": Student(),
            "data": data.model_copy(
                update={
                    "articles": {**data.articles, "zh": zh},
                    "house_rules": {**data.house_rules, "zh": company / "rules.md"},
                    "policy": {**data.policy, "zh": company / "policy.toml"},
                    "transcripts": (*data.transcripts, Transcripts(path=company / "zh.csv")),
                }
            ),
        }
    )
    build = open_build(both, work, base=str(tiny_llama))
    manifests: dict[str, Manifest] = build.run(write_gguf)
    assert manifests["articles"].figures["articles"] == {"en": 2, "zh": 2}
    packs = build.packs("train", limit=1000)
    chinese = [pack for pack in packs if "退货" in build.tokenizer.decode(pack.tokens[: pack.prefix])]
    assert 0 < len(chinese) < len(packs)
    assert packs == build.packs("train", limit=1000)
    assert build.packs("train", limit=2) == packs[:2]
    assert build.packs("train", limit=1000, skip=1) == [*packs[1:], packs[0]]
    assert build.packs("train", limit=1, skip=len(packs) + 2) == [packs[2]]
    capsys.readouterr()
    open_build(both.model_copy(update={"languages": ("zh", "en")}), work, base=str(tiny_llama)).run(write_gguf)
    assert "prompt    done in" in capsys.readouterr().err
    assert not names(packs) & names(build.packs("test", limit=1000))


def names(packs: list[Pack]) -> set[str]:
    return {name for pack in packs for name in pack.records}
