"""Which column of an export is what, and who its authors are: what a recipe says, then a preset, then common names.

A source row is a table's row or an object of JSON, with its nested names joined by dots. Promises: a recipe's own words
go before everything; a name that fits two columns is never guessed between. Knows nothing of files and conversations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from distill.data.authors import AUTHORS, Side, plain_name
from distill.recipe.transcript_settings import Columns, Roles
from runtime.base.validation import nearest
from runtime.errors import InputError, UsageError

NAMES: Mapping[str, tuple[str, ...]] = {
    "conversation": (
        "conversation",
        "conversation_id",
        "convo_id",
        "ticket_id",
        "ticket",
        "ticket_number",
        "case_id",
        "thread_id",
        "session_id",
        "chat_id",
        "dialogue_id",
        "dialog_id",
        "会话",
        "会话id",
        "会话编号",
        "工单",
        "工单号",
        "工单编号",
        "对话id",
    ),
    "customer": (
        "customer",
        "customer_id",
        "requester_id",
        "requester.id",
        "contact_id",
        "user_id",
        "visitor_id",
        "client_id",
        "buyer_id",
        "customer_email",
        "requester_email",
        "客户id",
        "顾客id",
        "用户id",
        "买家id",
    ),
    "role": (
        "role",
        "author_role",
        "author.role",
        "author_type",
        "author.type",
        "sender_type",
        "sender.type",
        "speaker",
        "from",
        "sender",
        "author",
        "actor",
        "side",
        "direction",
        "incoming",
        "角色",
        "发送者",
        "发送方",
        "发言人",
        "身份",
    ),
    "content": (
        "content",
        "message",
        "text",
        "body",
        "utterance",
        "plain_body",
        "body_text",
        "html_body",
        "comment",
        "comment_body",
        "value",
        "message_body",
        "内容",
        "消息",
        "消息内容",
        "文本",
        "正文",
    ),
    "time": (
        "time",
        "created_at",
        "created",
        "timestamp",
        "sent_at",
        "date",
        "datetime",
        "created_time",
        "时间",
        "发送时间",
        "创建时间",
        "日期",
    ),
    "private": ("private", "is_private", "internal", "is_internal", "internal_note", "is_note", "内部", "私密"),
    "public": ("public", "is_public", "公开"),
    "kind": ("kind", "type", "message_type", "part_type", "comment_type", "event_type", "类型", "消息类型"),
    "lang": ("lang", "language", "locale", "语言"),
    "intent": ("intent", "意图"),
    "emotion": ("emotion", "情绪"),
    "evidence": ("evidence", "依据"),
    "author": ("author_id", "author.id", "sender_id", "sender.id", "from_id"),
}
"""What programs call a message's parts; of several that are there the first counts."""
_NOTES = frozenset({"note", "notes", "internalnote", "privatenote", "internal", "private", "备注", "内部备注"})
_EVENTS = frozenset(
    {
        "activity",
        "assignment",
        "close",
        "open",
        "event",
        "system",
        "statuschange",
        "systemmessage",
        "template",
        "系统消息",
    }
)
_TRUE = frozenset({"true", "1", "yes", "y", "t", "on", "是", "x", "private", "internal"})
_FALSE = frozenset({"false", "0", "no", "n", "f", "off", "否", "private", "internal"})
"""Of a column `public`: what says that a message is not."""


@dataclass(frozen=True)
class Preset:
    """What is known of one help desk's export."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    authors: Mapping[str, Side] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    """Paths of the list that holds a conversation's messages, in nested JSON."""
    opening: tuple[str, ...] = ()
    """Paths of the customer's first message, where it stands beside that list."""


PRESETS: Mapping[str, Preset] = {
    "zendesk": Preset(
        {
            "conversation": ("ticket_id", "ticket id", "id"),
            "role": ("author.role", "author_role", "comment_author_role", "author_type"),
            "content": ("plain_body", "body", "html_body", "comment", "comment_body"),
            "customer": ("requester_id", "requester.id"),
        },
        messages=("comments", "ticket.comments", "audits"),
    ),
    "intercom": Preset(
        {
            "conversation": ("conversation_id", "id"),
            "role": ("author.type", "author_type"),
            "kind": ("part_type",),
            "content": ("body", "message_body"),
        },
        messages=("conversation_parts.conversation_parts", "conversation_parts"),
        opening=("source.body", "conversation_message.body"),
    ),
    "freshdesk": Preset(
        {
            "conversation": ("ticket_id", "ticket id", "id"),
            "role": ("incoming",),
            "content": ("body_text", "body"),
            "customer": ("requester_id",),
        },
        {"true": "user", "false": "assistant", "1": "user", "0": "assistant"},
        messages=("conversations",),
        opening=("description_text", "description"),
    ),
    "zammad": Preset(
        {
            "conversation": ("ticket_id", "ticket", "number", "id"),
            "role": ("sender", "sender_type"),
            "private": ("internal",),
            "content": ("body",),
        },
        messages=("articles",),
    ),
    "chatwoot": Preset(
        {
            "conversation": ("conversation_id", "display_id", "id"),
            "role": ("message_type",),
            "kind": ("sender_type", "sender.type"),
            "content": ("content", "processed_message_content"),
        },
        {"0": "user", "1": "assistant", "2": "skip", "3": "skip", "template": "skip"},
        messages=("messages",),
    ),
    "openai": Preset({"role": ("role",), "content": ("content",)}, messages=("messages",)),
    "sharegpt": Preset(
        {"role": ("from", "role"), "content": ("value", "content")}, messages=("conversations", "conversation")
    ),
}
MESSAGE_LISTS = ("messages", "conversations", "comments", "turns", "dialog", "dialogue", "articles", "log", "original")
"""Names under which nested JSON keeps a conversation's messages, where no preset says so."""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message as its row says it, nothing changed yet."""

    where: str
    conversation: str
    customer: str
    side: Side
    content: str
    time: str
    hidden: str
    """Why it is left out; "" = it is not."""
    lang: str
    intent: str
    emotion: str
    evidence: str | None
    problem: str = ""
    """Why its conversation cannot be used; "" = nothing is wrong."""
    hint: str = ""


class ColumnMap:
    """Finds a message's parts in rows; made once a file."""

    def __init__(self, columns: Columns, roles: Roles, preset: str) -> None:
        self._given = {name: value for name, value in columns.model_dump().items() if value}
        self._preset = PRESETS.get(preset, Preset())
        own: dict[str, Side] = {}
        for side in ("user", "assistant", "skip"):
            own |= {plain_name(each): side for each in getattr(roles, side)}
        self.authors: Mapping[str, Side] = {**AUTHORS, **self._preset.authors, **own}
        self.message_lists = (*self._preset.messages, *MESSAGE_LISTS)
        self.openings = self._preset.opening
        self._found: dict[tuple[str, ...], dict[str, str]] = {}

    def find(self, names: Iterable[str], where: str) -> dict[str, str]:
        """Part → column, for rows with these columns; `InputError` where a message cannot be made of them."""
        key = tuple(names)
        if key not in self._found:
            if len(self._found) > 1000:  # objects with names of their own in every row
                self._found.clear()
            self._found[key] = self._find(key, where)
        return self._found[key]

    def _find(self, names: tuple[str, ...], where: str) -> dict[str, str]:
        plain: dict[str, list[str]] = {}
        for name in names:
            plain.setdefault(plain_name(name), []).append(name)
        found: dict[str, str] = {}
        for part, common in NAMES.items():
            if part in self._given:
                if len(plain.get(plain_name(self._given[part]), ())) != 1:
                    raise InputError(
                        f"no column '{self._given[part]}', which columns.{part} names",
                        where=where,
                        hint=nearest(self._given[part], [name for name in names if name]),
                    )
                found[part] = plain[plain_name(self._given[part])][0]
                continue
            candidates = (*self._preset.columns.get(part, ()), *common)
            there = (plain[plain_name(each)] for each in candidates if plain_name(each) in plain)
            # A column that is another part already is not taken twice: `message_type` may be the role.
            if column := next((each[0] for each in there if len(each) == 1 and each[0] not in found.values()), None):
                found[part] = column
        if "role" not in found and "kind" in found:  # a column `type` of incoming and outgoing
            found["role"] = found.pop("kind")
        return found

    def missing(self, found: Mapping[str, str]) -> str:
        """The first part that a message needs and these columns do not have; "" for none."""
        if "content" not in found:
            return "content"
        if "role" not in found and not ("author" in found and "customer" in found):
            return "role"
        return "" if "conversation" in found or "customer" in found else "conversation"

    def message(
        self, get: Callable[[str], str], found: Mapping[str, str], where: str, conversation: str = ""
    ) -> MessageRow:
        """The message of one row; an author that is not understood is its `problem`."""

        def part(name: str) -> str:
            return get(found[name]).strip() if name in found else ""

        said, kind, customer = part("role"), part("kind"), part("customer")
        side = self.authors.get(plain_name(said))
        if not said and part("author") and customer:
            side = "user" if part("author") == customer else "assistant"
        hidden = "bot or system message" if side == "skip" else ""
        if _is(part("private"), _TRUE) or _is(part("public"), _FALSE) or plain_name(kind) in _NOTES:
            hidden = "private note"
        elif plain_name(kind) in _EVENTS or self.authors.get(plain_name(kind)) == "skip":
            hidden = "bot or system message"
        unknown = side is None and not hidden
        return MessageRow(
            where=where,
            conversation=conversation or part("conversation"),
            customer=customer,
            side=side or "skip",
            content=get(found["content"]),
            time=part("time"),
            hidden=hidden,
            lang=part("lang"),
            intent=part("intent"),
            emotion=part("emotion"),
            evidence=part("evidence") if "evidence" in found else None,
            problem=f"column '{found.get('role', 'role')}': unknown author{_shown(said)}" if unknown else "",
            hint="say who it is: roles = { user = […], assistant = […], skip = […] }" if unknown else "",
        )


def check_preset(name: str) -> None:
    """`UsageError` for a preset that there is not."""
    if name and name not in PRESETS:
        raise UsageError(f"no preset '{name}'", where="preset", hint=nearest(name, list(PRESETS)))


def _is(value: str, words: frozenset[str]) -> bool:
    return value.casefold() in words


def _shown(role: str) -> str:
    """The author's kind as written, unless it may be somebody's name or text."""
    return f" '{role}'" if 0 < len(role) <= 24 and not re.search(r"[@\d]", role) else " (empty)" if not role else ""
