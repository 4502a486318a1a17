from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quantize.pipeline.build import KL_RECEIPT, QuantizeResult, build
from quantize.pipeline.settings import QuantizeSettings
from runtime.bundle.bundle import open_bundle
from runtime.errors import EdgedeskError, InputError, IntegrityError, MissingError, UsageError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(packed_encoder: Path) -> QuantizeSettings:
    return QuantizeSettings(
        name="shop",
        version="1.2.3",
        embedder=packed_encoder,
        base="tiny",
        licence="Apache-2.0",
        measure_records=4,
        decode_tokens=4,
        onnx_in_bundle=True,
        licences=(Path(__file__),),
    )


@pytest.fixture(scope="module")
def built(work: Path, settings: QuantizeSettings) -> QuantizeResult:
    return build(work, settings, now=NOW)


@pytest.fixture
def copy(work: Path, built: QuantizeResult, tmp_path: Path) -> Path:
    """A finished work folder that a test may spoil."""
    return shutil.copytree(work, tmp_path / "copy")


def test_a_bundle_opens_and_holds_every_part(built: QuantizeResult) -> None:
    bundle = open_bundle(built.bundle, verify=True)
    assert (bundle.info.name, bundle.info.version, bundle.info.languages) == ("shop", "1.2.3", ("en", "zh"))
    assert bundle.info.created == "2026-11-23T12:00:00+00:00"
    assert bundle.model_path.name == "q4_k_m.gguf"
    names = {path.relative_to(built.bundle).as_posix() for path in built.bundle.rglob("*") if path.is_file()}
    assert {
        "manifest.json", "bundle.json", "prompt.json", "policy.toml", "card.md", "report/answers.json",
        "licences/test_build.py", "model/q8_0.gguf", "model/q4_k_m.gguf", "embedder/model.onnx",
        "embedder/tokenizer.json", "embedder/embedder.json", "onnx/model.onnx", "vectors.npy",
    } <= names  # fmt: skip
    assert sum(name.startswith("articles/zh/") for name in names) == 3
    assert sum(name.endswith("manifest.json") for name in names) == 1


def test_the_card_says_what_was_measured(built: QuantizeResult) -> None:
    card = (built.bundle / "card.md").read_text(encoding="utf-8")
    assert [row.format for row in built.measures] == ["f32", "q8_0", "q4_k_m", "onnx"]
    for row in built.measures:
        assert f"| {row.format} | {row.megabytes} | {row.kl:.4f} |" in card
    assert f"mean {built.embedder.cosine}" in card
    assert "tiny (Apache-2.0)" in card


def test_a_branch_embeds_nothing_that_head_office_has_embedded(built: QuantizeResult, tmp_path: Path) -> None:
    from runtime.retrieval.retriever import Retriever

    bundle = open_bundle(built.bundle, verify=True)
    computed: list[int] = []
    with Retriever.open(bundle, tmp_path / "index", progress=lambda done, _: computed.append(done)) as retriever:
        shipped = retriever.search("退货期限", lang="zh", limit=5)
    assert computed == []
    with Retriever.build(retriever.articles, retriever.embedder, tmp_path / "own") as retriever:
        own = retriever.search("退货期限", lang="zh", limit=5)
    assert [hit.section.ref for hit in shipped] == [hit.section.ref for hit in own]
    assert [hit.similarity for hit in shipped] == pytest.approx([hit.similarity for hit in own], abs=1e-3)


def test_a_second_run_redoes_nothing(copy: Path, settings: QuantizeSettings) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    heard: list[str] = []
    build(copy, settings, now=datetime(2027, 1, 1, tzinfo=UTC), say=heard.append)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    assert sum("unchanged" in line for line in heard) == 9


def test_a_changed_policy_makes_a_new_bundle_and_nothing_else(copy: Path, settings: QuantizeSettings) -> None:
    policy = copy / "prompt" / "policy.toml"
    policy.write_text(policy.read_text(encoding="utf-8") + "# 政策\n", encoding="utf-8")
    heard: list[str] = []
    result = build(copy, settings, now=NOW, say=heard.append)
    assert [line.split()[1] for line in heard if "done in" in line] == ["bundle"]
    assert "政策" in (result.bundle / "policy.toml").read_text(encoding="utf-8")


def test_a_damaged_bundle_is_never_handed_over_in_silence(copy: Path, settings: QuantizeSettings) -> None:
    model = copy / "bundle" / "model" / "q8_0.gguf"
    data = model.read_bytes()
    model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="q8_0"):
        build(copy, settings, now=NOW)


def test_a_file_cut_since_the_last_run_is_made_again(copy: Path, settings: QuantizeSettings) -> None:
    for path in (copy / "quantized" / "q8_0" / "model.gguf", copy / "bundle" / "card.md"):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        build(copy, settings, now=NOW)
        assert path.read_bytes() == whole


def test_ctrl_c_keeps_finished_stages_and_leaves_nothing_half_made(copy: Path, settings: QuantizeSettings) -> None:
    for name in ("q8_0", "q4_k_m"):
        shutil.rmtree(copy / "quantized" / name)

    def stop(line: str) -> None:
        if line.split()[1:] == ["q4_k_m", "started"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(copy, settings, now=NOW, say=stop)
    assert (copy / "quantized" / "q8_0" / "manifest.json").is_file()
    assert not list(copy.rglob(".*"))


@pytest.mark.parametrize(
    ("lost", "error"),
    [
        ("merged", MissingError),
        ("records", MissingError),
        ("prompt/prompt.json", MissingError),
        ("articles", MissingError),
        ("prompt/policy.toml", MissingError),
        ("records/test.jsonl", InputError),
    ],
)
def test_a_part_distill_has_not_left_is_named_before_any_work(
    lost: str, error: type[EdgedeskError], work: Path, settings: QuantizeSettings, tmp_path: Path
) -> None:
    copy = shutil.copytree(work, tmp_path / "copy", ignore=shutil.ignore_patterns("quantized", "bundle"))
    path = copy / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(error) as caught:
        build(copy, settings, now=NOW)
    assert lost.split("/")[0] in caught.value.where
    assert caught.value.hint
    assert not (copy / "quantized").exists()


def test_wrong_settings_are_refused_before_any_work(work: Path, settings: QuantizeSettings) -> None:
    for change in ({"formats": ("q8_0",)}, {"formats": ("q2",), "default": "q2"}):
        with pytest.raises(UsageError):
            build(work, settings.model_copy(update=change), now=NOW)
    with pytest.raises(UsageError, match="no records are given to round by"):
        build(work, settings.model_copy(update={"rounding": "compensated", "importance_records": 0}), now=NOW)


def test_each_file_s_distance_from_f32_is_told_by_intent(built: QuantizeResult) -> None:
    """The receipt travels with the bundle; these records have no intent, so it names none."""
    receipt = json.loads((built.bundle / "report" / KL_RECEIPT).read_text(encoding="utf-8"))
    assert receipt == {}
    tried = built.manifests["onnx"].figures["tried"]
    assert {(row["block"], row["accuracy_level"]) for row in tried} == {(32, 4), (16, 4)}
