"""A conversation as a file: Markdown for people, JSON for programs.

Promises: pure; what came from strangers is inert in the Markdown (`tui.base.inert_text`) and unchanged in the JSON;
both say which draft became which reply. Knows nothing of where files go.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tui.base.i18n import Catalogue
from tui.base.inert_text import inert, one_line


def as_json(said: dict[str, Any]) -> str:
    """The answer of `GET /v1/conversations/{id}`, indented."""
    return json.dumps(said, ensure_ascii=False, indent=2) + "\n"


def as_markdown(said: dict[str, Any], words: Catalogue) -> str:
    """The conversation for a person to read, in the interface's language."""
    lines = [f"# {words('export.title', conversation=one_line(str(said['conversation'])))}", ""]
    tags = ", ".join(one_line(str(tag)) for tag in said.get("tags") or ())
    for name, value in (("tags", tags), ("notes", said.get("notes")), ("satisfaction", said.get("satisfaction"))):
        if value:
            lines += [f"- {words('export.' + name)}: {inert(str(value))}"]
    for turn in said["turns"]:
        lines += ["", f"## {turn['turn']} · {one_line(str(turn.get('asked') or ''))}", ""]
        lines += [f"**{words('turn.customer')}**", "", _quoted(str(turn["question"])), ""]
        feedback = turn.get("feedback") or {}
        verdict = str(feedback.get("verdict") or "")
        reply = str(feedback.get("reply") or (turn["draft"] if verdict == "accepted" else ""))
        if turn.get("draft") and verdict != "accepted":
            lines += [f"**{words('turn.draft')}**", "", _quoted(str(turn["draft"])), ""]
        if verdict:
            why = f": {inert(str(feedback['reason']))}" if feedback.get("reason") else ""
            lines += [f"*{words('verdict.' + verdict)}*{why}", ""]
        if reply:
            lines += [f"**{words('turn.right' if verdict == 'rejected' else 'turn.reply')}**", "", _quoted(reply), ""]
        if turn.get("handoff"):
            lines += [f"*{words('turn.handoff', why=one_line(str(turn['handoff'])))}*", ""]
        for source in (turn.get("details") or {}).get("citations") or ():
            lines.append(f"- {one_line(str(source))}")
    return "\n".join(lines).rstrip() + "\n"


def file_name(conversation: str, ending: str) -> str:
    """A name that is safe in any folder."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', conversation)[:64]}.{ending}"


def _quoted(text: str) -> str:
    """As a block quote, in which no line can begin a heading or a list of its own."""
    return "\n".join(f"> {line}" for line in inert(text).split("\n"))
