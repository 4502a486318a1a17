"""A conversation as a file: Markdown for people, JSON for programs.

Promises: pure; what came from strangers is inert in the Markdown (`tui.base.inert_text`) and unchanged in the JSON;
both say which draft became which reply. Knows nothing of where files go.
"""

from __future__ import annotations

import re

from runtime.client.answers import Conversation, ConversationTurn, TurnFeedback
from tui.base.i18n import Catalogue
from tui.base.inert_text import inert, one_line


def as_json(conversation: Conversation) -> str:
    """The answer of `GET /v1/conversations/{id}`, indented."""
    return conversation.model_dump_json(indent=2) + "\n"


def as_markdown(conversation: Conversation, words: Catalogue) -> str:
    """The conversation for a person to read, in the interface's language."""
    lines = [f"# {words('export.title', conversation=one_line(conversation.conversation))}", ""]
    facts = {
        "tags": ", ".join(one_line(tag) for tag in conversation.tags),
        "notes": conversation.notes,
        "satisfaction": conversation.satisfaction,
    }
    lines += [f"- {words('export.' + name)}: {inert(str(value))}" for name, value in facts.items() if value]
    for turn in conversation.turns:
        lines += _turn_lines(turn, words)
    return "\n".join(lines).rstrip() + "\n"


def _turn_lines(turn: ConversationTurn, words: Catalogue) -> list[str]:
    feedback = turn.feedback or TurnFeedback()
    # What was sent is the server's word; the right answer to a rejected draft was sent to nobody.
    rejected = feedback.verdict == "rejected"
    reply = (feedback.reply if rejected else turn.reply) or ""
    lines = ["", f"## {turn.turn} · {one_line(turn.asked)}", ""]
    lines += [f"**{words('turn.customer')}**", "", _quoted(turn.question), ""]
    if turn.draft and feedback.verdict != "accepted":
        lines += [f"**{words('turn.draft')}**", "", _quoted(turn.draft), ""]
    if feedback.verdict:
        why = f": {inert(feedback.reason)}" if feedback.reason else ""
        lines += [f"*{words('verdict.' + feedback.verdict)}*{why}", ""]
    if reply:
        lines += [f"**{words('turn.right' if rejected else 'turn.reply')}**", "", _quoted(reply), ""]
    if turn.handoff:
        lines += [f"*{words('turn.handoff', why=one_line(turn.handoff))}*", ""]
    return lines + [f"- {one_line(source)}" for source in turn.details.citations]


def file_name(conversation: str, ending: str) -> str:
    """A name that is safe in any folder."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', conversation)[:64]}.{ending}"


def _quoted(text: str) -> str:
    """As a block quote, in which no line can begin a heading or a list of its own."""
    return "\n".join(f"> {line}" for line in inert(text).split("\n"))
