"""Chroma under a hostile working folder and environment: the index stays local and works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

HOSTILE = {
    "CHROMA_API_IMPL": "chromadb.api.fastapi.FastAPI",
    "CHROMA_SERVER_HOST": "198.51.100.7",
    "CHROMA_SERVER_HTTP_PORT": "8000",
    "IS_PERSISTENT": "false",
    "PERSIST_DIRECTORY": "elsewhere",
    "ANONYMIZED_TELEMETRY": "true",
    "CHROMA_OTEL_COLLECTION_ENDPOINT": "http://198.51.100.7:4317",
    "CHROMA_OTEL_GRANULARITY": "all",
    "CHROMA_SEGMENT_CACHE_POLICY": "LRU",
    "CHROMA_SERVER_NOFILE": "none",
    "ENVIRONMENT": "production",
    "MIGRATIONS": "never",
    "MIGRATIONS_HASH_ALGORITHM": "crc",
    "ALLOW_RESET": "perhaps",
}
"""Each is a name Chroma's settings read; some are well formed and point elsewhere, some stop it at import."""

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from runtime.retrieval.chroma_index import VectorIndex
index = VectorIndex.open(Path(sys.argv[1]), {"set": 1}, ["a"] * 3, lambda: np.eye(3, dtype=np.float32))
found = index.nearest(np.array([0.1, 0.9, 0.0], dtype=np.float32), 2, "a")
settings = index._client.get_settings()
print(json.dumps([[one.row for one in found], settings.chroma_api_impl, settings.chroma_otel_granularity]))
index.close()
"""


@pytest.mark.parametrize(
    ("dot_env", "variables"),
    [
        pytest.param("名字=值\n".encode("utf-16"), {}, id="another encoding"),
        pytest.param("".join(f"{name}={value}\n" for name, value in HOSTILE.items()).encode(), {}, id="well formed"),
        pytest.param(b"\xff\xfe\x00 no text", HOSTILE, id="both"),
    ],
)
def test_chroma_ignores_dot_env_and_environment(tmp_path: Path, dot_env: bytes, variables: dict[str, str]) -> None:
    """P2: neither has any effect on where the index is kept, nor can either stop the program."""
    work, home, index = tmp_path / "work", tmp_path / "home", tmp_path / "index"
    for folder in (work, home, index):
        folder.mkdir()
    (work / ".env").write_bytes(dot_env)
    env = {**os.environ, **variables, "PYTHONPATH": str(ROOT), "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(index)], capture_output=True, text=True, cwd=work, env=env
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == '[[1, 0], "chromadb.api.rust.RustBindingsAPI", null]'
    assert [path.name for path in work.iterdir()] == [".env"]  # nothing is written into the working folder
    assert not list(home.iterdir())  # and nothing into the user's home
