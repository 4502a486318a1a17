from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from quantize.formats.gguf_quantize import KINDS, quantize_gguf
from quantize.formats.gguf_writer import write_gguf
from runtime.base.files import new_file
from runtime.engine.llama.scorer import LlamaScorer
from runtime.errors import MissingError, ModelError, SpaceError, UsageError


@pytest.fixture(scope="session")
def f16(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("f16 with space") / "f16.gguf"
    write_gguf(tiny_llama, path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_smaller_than_f16_and_runs(kind: str, f16: Path, tmp_path: Path) -> None:
    out = tmp_path / f"{kind}.gguf"
    assert "size" in quantize_gguf(f16, out, kind)
    assert out.stat().st_size < f16.stat().st_size
    with LlamaScorer(out, context=64) as llama:
        assert llama.logits([5, 6, 7]).shape == (3, llama.vocab.size)
        assert llama.decode_rate([5, 6, 7], 4) > 0
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_file_llama_cpp_refuses_is_an_error_with_its_words_and_leaves_nothing(
    f16: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "cut.gguf"
    source.write_bytes(f16.read_bytes()[:20000])
    old = tmp_path / "q8_0.gguf"
    old.write_bytes(b"the last good one")
    with pytest.raises(ModelError, match="making q8_0") as caught:
        quantize_gguf(source, old, "q8_0")
    assert caught.value.hint
    assert old.read_bytes() == b"the last good one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.gguf", "q8_0.gguf"]
    assert capfd.readouterr() == ("", "")


def test_wrong_requests_are_refused_by_name(f16: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="q3"):
        quantize_gguf(f16, tmp_path / "x.gguf", "q3")
    with pytest.raises(MissingError):
        quantize_gguf(tmp_path / "none.gguf", tmp_path / "x.gguf", "q8_0")
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(ModelError, match="cannot load"):
        LlamaScorer(tmp_path / "text.gguf")


def test_a_full_disk_is_said_before_the_work(f16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SpaceError):
        quantize_gguf(f16, tmp_path / "q8_0.gguf", "q8_0")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_file_leaves_neither_itself_nor_a_part(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_file(tmp_path / "model.gguf") as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())
