from __future__ import annotations

from pathlib import Path

import pytest

from runtime.base.settings import load_settings
from runtime.errors import UsageError


def test_settings_come_from_flag_then_environment_then_file_then_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEDESK_THREADS", raising=False)
    (tmp_path / "settings.toml").write_text("threads = 3\nqueue_limit = 5\nquestion_chars = 7\n")
    monkeypatch.setenv("EDGEDESK_QUEUE_LIMIT", "6")
    monkeypatch.setenv("EDGEDESK_CACHE", "/not/a/setting")
    settings = load_settings(tmp_path, threads=4, port=None)
    assert (settings.threads, settings.queue_limit, settings.question_chars, settings.port) == (4, 6, 7, None)
    for wrong, message in (("treads = 3", "treads"), ("threads = 0", "threads"), ("threads = ", "TOML")):
        (tmp_path / "settings.toml").write_text(wrong)
        with pytest.raises(UsageError, match=message):
            load_settings(tmp_path)
