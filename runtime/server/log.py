"""The server's log: `run/log.jsonl`, one JSON object a line, owner-only, turned over at 10 MB.

Promises: what a customer or an agent wrote is not in it unless the setting `log_text` asks for that; an unexpected
error is logged as its type and the places in the code it came through, never its message, which may quote a text.
"""

from __future__ import annotations

import json
import os
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runtime.events import escape_line_breaks

FILE_NAME = "log.jsonl"
MAX_BYTES = 10 * 1024 * 1024
KEPT = 3
"""Older files beside the current one."""
MAX_FIELD_CHARS = 20_000
"""Of one text of a line, whoever hands it over: a line must not be as long as what went wrong."""


class Log:
    """Appends lines; a log that cannot be written stops nothing."""

    def __init__(
        self,
        folder: Path,
        *,
        text: bool,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.path = folder / FILE_NAME
        self.text = text
        """Whether questions and answers may be logged."""
        self._now = now
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def info(self, event: str, **fields: Any) -> None:
        """What happened in the ordinary course."""
        self._write("info", event, fields)

    def failure(self, event: str, error: BaseException, **fields: Any) -> None:
        """An error nobody expected."""
        places = [f"{frame.name} {Path(frame.filename).name}:{frame.lineno}" for frame in _frames(error)]
        self._write("error", event, {**fields, "error": type(error).__name__, "places": places[-12:]})

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        at = self._now().isoformat(timespec="milliseconds")
        fields = {key: one[:MAX_FIELD_CHARS] if isinstance(one, str) else one for key, one in fields.items()}
        line = escape_line_breaks(json.dumps({"at": at, "level": level, "event": event, **fields}, ensure_ascii=False))
        with self._lock:
            try:
                self._turn_over()
                handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                try:
                    os.write(handle, f"{line}\n".encode("utf-8", "replace"))
                finally:
                    os.close(handle)
            except OSError:
                return  # a full disk must not keep a customer waiting

    def _turn_over(self) -> None:
        if not self.path.exists() or self.path.stat().st_size < self._max_bytes:
            return
        for number in range(KEPT, 0, -1):
            older = self.path.with_name(f"{FILE_NAME}.{number - 1}") if number > 1 else self.path
            if older.exists():
                os.replace(older, self.path.with_name(f"{FILE_NAME}.{number}"))


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__))
