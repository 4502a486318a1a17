"""What a console remembers across its own death: open conversations, unsent text, verdicts the server has not got yet.

Promises: the file (`console.json` in the branch's folder) is owner-only and replaced whole, so that a kill leaves the
old one or the new one; a damaged file is put aside and the console starts without it. Turns themselves are the
server's to keep. Knows nothing of widgets.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.base.files import write_atomic
from tui.state import ConsoleTurn, Mode, Restored, State, Thread

FILE_NAME = "console.json"
FORMAT = 1


def snapshot(state: State) -> dict[str, Any]:
    """What is worth remembering of a state."""
    return {
        "format": FORMAT,
        "open": state.open,
        "threads": [_thread(thread) for thread in state.threads if _worth(thread, state.open)],
    }


def _worth(thread: Thread, opened: int) -> bool:
    return (
        thread.key == opened or bool(thread.composer.strip() or thread.stash.strip()) or any(map(_kept, thread.turns))
    )


def _thread(thread: Thread) -> dict[str, Any]:
    row: dict[str, Any] = {
        "key": thread.key,
        "conversation": thread.conversation,
        "composer": thread.composer,
        "mode": thread.mode.value,
        "stash": thread.stash,
        "turns": [_turn(turn) for turn in thread.turns if _kept(turn)],
    }
    if thread.busy and (turn := thread.current) is not None and not turn.stored:
        # The server may never have heard of it: the message is typed again.
        place = "composer" if thread.mode is Mode.CUSTOMER else "stash"
        row[place] = "\n".join(part for part in (turn.question, row[place]) if part.strip())
    return row


def _kept(turn: ConsoleTurn) -> bool:
    return bool(turn.stored and (turn.edited.strip() or not turn.saved))


def _turn(turn: ConsoleTurn) -> dict[str, Any]:
    kept = {name: getattr(turn, name) for name in ("question", "stored", "lang", "draft", "edited", "handoff")}
    if not turn.saved:
        names = ("verdict", "reply", "reason", "retired", "decided_s", "saved")
        kept |= {name: getattr(turn, name) for name in names}
    return kept


def write(path: Path, remembered: dict[str, Any]) -> None:
    """Replace the file."""
    write_atomic(path, [json.dumps(remembered, ensure_ascii=False).encode("utf-8", "replace")], mode=0o600)


def read(path: Path) -> Restored | None:
    """What was remembered; None where there is nothing, or nothing that can be read."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        said = {}
    if not isinstance(said, dict) or said.get("format") != FORMAT or not isinstance(said.get("threads"), list):
        with suppress(OSError):
            path.replace(path.with_suffix(".damaged"))
        return None
    return Restored(tuple(said["threads"]), int(said.get("open") or 0))
