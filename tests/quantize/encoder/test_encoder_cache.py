"""An encoder is quantized once: the next build takes the same bytes, and a damaged entry is made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantize.encoder import encoder_cache
from quantize.encoder.encoder_cache import cached_encoder
from runtime.base.files import sha256_file
from runtime.errors import MissingError

TEXTS = ["return items", "退货期限30天，"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEDESK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "encoders"


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def test_encoder_is_quantized_once_and_a_damaged_entry_again(
    packed_encoder: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test, since quantizing takes seconds."""
    key = {"sha256": sha256_file(packed_encoder)}
    first = cached_encoder(packed_encoder, tmp_path / "one", key=key, texts=TEXTS)
    (entry,) = cache.iterdir()
    assert entry.stat().st_mode & 0o077 == 0
    # The second time its source is not even looked at; for another key, or other libraries, it is.
    again = cached_encoder(tmp_path / "gone", tmp_path / "two", key=key, texts=TEXTS)
    assert again == first
    assert hashes(tmp_path / "two") == hashes(tmp_path / "one")
    with pytest.raises(MissingError):
        cached_encoder(tmp_path / "gone", tmp_path / "three", key={"sha256": "another"}, texts=TEXTS)
    with monkeypatch.context() as patch:
        patch.setattr(encoder_cache, "version", lambda name: f"{name} 99")
        with pytest.raises(MissingError):
            cached_encoder(tmp_path / "gone", tmp_path / "three", key=key, texts=TEXTS)
    assert not (tmp_path / "three").exists()
    assert list(cache.iterdir()) == [entry]
    model = entry / "embedder" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    cached_encoder(packed_encoder, tmp_path / "four", key=key, texts=TEXTS)
    assert hashes(tmp_path / "four") == hashes(tmp_path / "one") == hashes(entry / "embedder")
