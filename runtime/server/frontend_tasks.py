"""Recognises the prompts that chat front ends send on their own account: titles, tags, follow-up questions, searches.

Open WebUI, LibreChat, NextChat, LobeChat and others ask the model that answers their user to name the conversation as
well. No customer asked that, so such a request is answered here, from the conversation's own words: it is not stored,
not counted, and never in the agents' inbox. Pure; knows nothing of HTTP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["title", "tags", "follow_ups", "queries", "autocomplete", "emoji", "image", "summary"]
TITLE_CHARS = 40
SUMMARY_CHARS = 400


@dataclass(frozen=True)
class FrontendTask:
    """What a front end wants for itself, and the answer."""

    kind: Kind
    answer: str


# A customer may ask for a summary or a title too. So a prompt counts only where it has both: the task, and a form of
# words that a program writes (a section head, a length in words, an output format, the history in a tag).
_MARKUP = r"###\s*(?:task|guidelines|output|instructions)\b|<chat_history>|\bjson\b|[\[{]\s*\"(?:title|tags)\""
_FORM = re.compile(
    rf"{_MARKUP}|\b\d+(?:-\d+)?[- ](?:to[- ]\d+[- ])?words?\b|\bwords? or (?:less|fewer)\b|-or-less\b|\bto five word\b"
    r"|\b\d+ (?:words|characters) or\b|\b(?:without any|no) (?:lead-in|punctuation|quotation marks|quotes)"
    r"|\b(?:respond|reply|return|output) (?:with only|only(?: with)?) (?:the|an?|title)\b"
    r"|\bonly (?:return|reply|respond|output) (?:with )?(?:the|an?|title)\b|\bfuture context\b"
    r"|不要(?:解释|标点|引号|加引号|多余)|\d+\s*个?字(?:以内|左右)|四到五个字|上下文提示|直接(?:返回|输出)",
    re.IGNORECASE,
)
_HISTORY = r"\b(?:chat|conversation|discussion|dialogue?|messages?|content|query)\b|对话|会话|聊天|这句话"
# Each task with words that must all be there. Small patterns one after the other: their cost grows with the text only.
_KINDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("tags", (r"\b(?:generate|suggest|create)\b|生成", r"\btags\b|标签", _HISTORY, _MARKUP)),
    ("follow_ups", (r"\b(?:suggest|generate)\b|生成|建议", r"\bfollow[- ]?ups?\b|后续问题|追问", _MARKUP)),
    ("queries", (r"\bgenerat\w*\b|生成", r"\bsearch quer\w*|搜索", _HISTORY, _MARKUP)),
    ("autocomplete", (r"\bautocompletion system\b",)),
    ("image", (r"\bdetailed prompt\b", r"\bimage generation\b")),
    ("emoji", (r"\bfacial expression\b|\bfitting emoji\b", r"\bemoji\b")),
    (
        "title",
        (
            r"\b(?:generate|create|provide|write|give|summariz\w*)\b|总结|概括|生成|返回|使用",
            r"\btitle\b|标题|主题",
            _HISTORY,
        ),
    ),
    # Only a program keeps a summary for later prompts; a customer may want one of so many words, with no explanation.
    ("summary", (r"\bsummariz\w*\b|总结|概括", _HISTORY, r"\bfuture context\b|上下文提示|<chat_history>")),
)
_COMPILED = tuple((kind, tuple(re.compile(word, re.IGNORECASE) for word in words)) for kind, words in _KINDS)
_TAGGED = re.compile(r"<chat_history>(.*?)(?:</chat_history>|\Z)", re.I | re.S)
# Blanks of one line only: `^\s*` would run through all blank lines below, from each of them anew.
_USER_LINE = re.compile(r"^[^\S\n]*(?:user|human|用户)[^\S\n]*[:：][^\S\n]*(\S.*)", re.I | re.M)
_LOOKED_AT = 1500
"""Characters of a prompt in which its task is looked for; the conversation follows behind them."""
_READ = 20_000
"""Characters of a message that are read at all: a title is made of what the customer said first."""


def recognise_task(messages: Sequence[tuple[str, str]]) -> FrontendTask | None:
    """The task of a request, given as (role, text) from the first message to the last; None for an ordinary question.

    The task is in the last user message, or in a system message that comes with one user message alone. Takes time in
    proportion to the texts, whoever wrote them: the event loop waits for it.
    """
    if not messages:
        return None
    messages = [(role, text[:_READ]) for role, text in messages]
    role, last = messages[-1]
    users = [text for who, text in messages if who == "user"]
    if role in ("user", "system", "developer") and (kind := _kind(last)):
        return FrontendTask(kind, _answer(kind, last, users[:-1] if role == "user" else users))
    system = " ".join(text for who, text in messages if who in ("system", "developer"))
    if len(users) == 1 and (kind := _kind(system)):
        return FrontendTask(kind, _answer(kind, system, users))
    return None


def _kind(prompt: str) -> Kind | None:
    head = prompt[:_LOOKED_AT]
    if not _FORM.search(head):
        return None
    return next((kind for kind, words in _COMPILED if all(word.search(head) for word in words)), None)


def _answer(kind: Kind, prompt: str, earlier: Sequence[str]) -> str:
    if kind == "summary":
        return " ".join(" ".join(earlier).split())[:SUMMARY_CHARS]
    title = _title(prompt, earlier)
    if kind == "title":
        return json.dumps({"title": title}, ensure_ascii=False) if _wants_json(prompt) else title
    key = kind if kind in ("tags", "follow_ups", "queries") else "text"
    return json.dumps({key: "" if key == "text" else []}) if _wants_json(prompt) else ""


def _wants_json(prompt: str) -> bool:
    return re.search(r"\bjson\b", prompt, re.IGNORECASE) is not None


def _title(prompt: str, earlier: Sequence[str]) -> str:
    """The first thing the user said, cut at a word."""
    tagged = _TAGGED.search(prompt)
    lines = _USER_LINE.findall(tagged.group(1) if tagged else prompt)
    said = " ".join((lines[0] if lines else earlier[0] if earlier else "").split())
    if len(said) <= TITLE_CHARS:
        return said or "Chat"
    cut = said[:TITLE_CHARS]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"
