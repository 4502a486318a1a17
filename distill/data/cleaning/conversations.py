"""Cleans raw conversations: system lines and boilerplate go, broken and unresolved conversations are dropped.

    without_system_lines   "Maria joined the chat", 会话已结束: no part of what anybody said
    not_broken             both sides said something that can be read, and not the same all the time
    resolved               the customer was not left with a promise to call back, or unhelped
    find_boilerplate       lines that agents paste into every conversation, found by counting them
    without_boilerplate    takes these lines out

Promises: a message keeps every other line; what is dropped has a reason that can be counted; patterns are bounded, so
time is linear in the text. Knows nothing of redaction and records.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from distill.data.cleaning.duplicates import text_key
from distill.data.conversation import RawConversation, RawTurn
from distill.data.steps import Dropped, Step

_SYSTEM_LINE = re.compile(
    r"\W{0,4}(?:"
    r"(?:[\w.'-]{1,30} ){1,3}(?:has |have )?(?:joined|left|entered|exited) (?:the )?(?:chat|conversation|session|room)"
    r"|(?:the |this )?(?:chat|conversation|ticket|session|case)(?: #?\w{1,20})? (?:was |has been |is |has )?(?:now )?"
    r"(?:started|ended|closed|opened|transferred|assigned|escalated|resolved|solved|reopened|merged|archived)\b[^\n]{0,80}"
    r"|you are now (?:chatting|connected|speaking) (?:with|to) [^\n]{1,60}"
    r"|(?:please wait|one moment)[^\n]{0,40}(?:connect|transfer|agent)[^\n]{0,60}"
    r"|(?:your )?(?:estimated )?wait(?:ing)? time[^\n]{1,60}"
    r"|(?:automatic|auto)[ -]?(?:reply|response|answer)\b[^\n]{0,120}"
    r"|(?:status|priority|assignee|tags?) (?:changed|set|updated) (?:from|to) [^\n]{1,80}"
    r"|this (?:chat|call|conversation) (?:may be|is being|is) (?:recorded|monitored)[^\n]{0,80}"
    r"|[^\n]{0,30}(?:会话|对话|聊天|工单)(?:已|已经|被)?(?:结束|关闭|开始|转接|分配|升级|超时)[^\n]{0,20}"
    r"|[^\n]{0,20}客服[^\n]{0,12}(?:已加入|已进入|加入会话|进入会话|已离开|接入)[^\n]{0,10}"
    r"|(?:系统|自动)(?:提示|消息|回复)[:：][^\n]{0,120}"
    r"|[^\n]{0,12}正在为您(?:转接|接入)[^\n]{0,30}|[^\n]{0,12}(?:前面|前方)还有[^\n]{0,20}(?:排队|等待)[^\n]{0,10}"
    r")\W{0,4}",
    re.IGNORECASE,
)
_MAX_LINE_CHARS = 200
"""A longer line is what somebody wrote, whatever it begins with."""
_GARBLED = re.compile(r"\ufffd|[ÃÂ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[™œ“”˜¦]|锟斤|烫烫|屯屯")
_GARBLED_SHARE = 0.02
_GREETING = re.compile(
    r"(?:(?:hi|hello|hey|good (?:morning|afternoon|evening|day)|greetings|thanks?(?: you)?"
    r"|thank you(?: so| very)? much|ok(?:ay)?|bye|goodbye|yes|no|welcome|how (?:can|may) i help(?: you)?(?: today)?"
    r"|are you there|you(?:'re| are) welcome|have a nice day"
    r"|您好|你好|在吗|在的|有人吗|谢谢|好的|再见|嗯|请问有什么可以帮您|有什么可以帮到您|不客气|亲)"
    r"(?: there| everyone)?\W{0,4}){1,4}",
    re.IGNORECASE,
)
_CUSTOMER_UNHELPED = re.compile(
    r"\bstill (?:not|no|doesn'?t|isn'?t|broken|waiting|the same)"
    r"|\b(?:doesn'?t|didn'?t|does not|did not) (?:help|work|answer|solve)"
    r"|\bnot helpful|\buseless|\bany(?:one|body) there\b|\bthis is (?:ridiculous|a joke)"
    r"|\bno(?:body|t) (?:helps|answered)"
    r"|还是不行|还是没|没有?解决|没有?用|不管用|没人(?:理|回)|有人吗|答非所问|还是一样",
    re.IGNORECASE,
)
_AGENT_PUT_OFF = re.compile(
    r"\b(?:get back to you|call you back|contact you (?:soon|shortly|later|within)|look into (?:it|this) and"
    r"|forward(?:ed)? (?:it|this|your)"
    r"|escalat(?:e|ed|ing)|open(?:ed)? a ticket|raise(?:d)? a ticket|pass(?:ed)? (?:it|this) on)\b"
    r"|稍后(?:联系|回复|给您)|尽快(?:回复|联系|处理)|会有专员|已(?:经)?(?:转交|反馈|升级)|帮您(?:反馈|转交|登记)",
    re.IGNORECASE,
)
_SAME_SHARE = 0.6
_MIN_TURNS_OF_ONE = 4
BOILERPLATE_SHARE = 0.02
"""A line that stands in so many of all conversations is pasted, not written."""
BOILERPLATE_LEAST = 10
"""And in so many, at least: five conversations share their greeting by chance."""


def is_system_line(line: str) -> bool:
    """Whether a help desk wrote a line about the conversation, and nobody said it."""
    return len(line) <= _MAX_LINE_CHARS and _SYSTEM_LINE.fullmatch(line.strip()) is not None


def without_system_lines(conversation: RawConversation) -> RawConversation | Dropped:
    """The conversation without them; dropped when nothing else is in it."""
    return _with_lines(conversation, lambda line: not is_system_line(line), "nothing but system lines")


def not_broken(conversation: RawConversation) -> RawConversation | Dropped:
    """Dropped when a side is missing, its letters are broken, or it says nothing but greetings or the same again."""
    said = {role: [turn.content for turn in conversation.turns if turn.role == role] for role in ("user", "assistant")}
    text = "\n".join(turn.content for turn in conversation.turns)
    reason = ""
    if not said["user"]:
        reason = "no customer's message"
    elif not said["assistant"]:
        reason = "no reply"
    elif len(_GARBLED.findall(text)) > _GARBLED_SHARE * len(text):
        reason = "broken characters"
    elif any(_says_one_thing(messages) for messages in said.values()):
        reason = "the same message again and again"
    elif all(len(each) < _MAX_LINE_CHARS and _GREETING.fullmatch(each.strip()) for each in said["user"]):
        reason = "nothing but greetings"
    return Dropped(reason, conversation.where or conversation.conversation) if reason else conversation


def resolved(conversation: RawConversation) -> RawConversation | Dropped:
    """Dropped when the customer's last words say that it did not help, or the last reply puts them off."""
    last = conversation.turns[-1]
    where = conversation.where or conversation.conversation
    customer = next((turn.content for turn in reversed(conversation.turns) if turn.role == "user"), "")
    if last.role == "user" and _CUSTOMER_UNHELPED.search(customer[-2000:]):
        return Dropped("unresolved: the customer was not helped", where)
    if last.role == "assistant" and _AGENT_PUT_OFF.search(last.content[-2000:]):
        return Dropped("unresolved: the last reply puts off", where)
    return conversation


def find_boilerplate(
    conversations: Iterable[RawConversation], *, share: float = BOILERPLATE_SHARE, least: int = BOILERPLATE_LEAST
) -> frozenset[str]:
    """Keys of the agents' lines that stand in more than `share` of all conversations, `least` at least.

    A line with a figure in it tells something, however often: it is never boilerplate.
    """
    counts: Counter[str] = Counter()
    total = 0
    for conversation in conversations:
        total += 1
        lines = {
            text_key(line)
            for turn in conversation.turns
            if turn.role == "assistant"
            for line in turn.content.split("\n")
            if not re.search(r"\d", line)
        }
        counts.update(line for line in lines if line)
    return frozenset(line for line, count in counts.items() if count >= max(least, share * total))


def without_boilerplate(conversation: RawConversation, lines: frozenset[str]) -> RawConversation | Dropped:
    """The conversation without these lines of its agents; a reply of nothing else goes whole."""

    def stays(line: str) -> bool:
        return text_key(line) not in lines

    return _with_lines(conversation, stays, "nothing but boilerplate", role="assistant")


def conversation_steps(boilerplate: frozenset[str] = frozenset()) -> tuple[Step[RawConversation], ...]:
    """The steps of this module in their order: lines go before a conversation is judged by what is left.

    They can be pickled, since workers get copies, and touch transcripts alone: what was made is as it is meant to be.
    """
    return (
        Step("system lines", _TranscriptsOnly(without_system_lines)),
        Step("boilerplate", _TranscriptsOnly(partial(without_boilerplate, lines=boilerplate))),
        Step("broken", _TranscriptsOnly(not_broken)),
        Step("unresolved", _TranscriptsOnly(resolved)),
    )


@dataclass(frozen=True)
class _TranscriptsOnly:
    run: Callable[[RawConversation], RawConversation | Dropped]

    def __call__(self, conversation: RawConversation) -> RawConversation | Dropped:
        return self.run(conversation) if conversation.source == "transcript" else conversation


def _with_lines(
    conversation: RawConversation, stays: Callable[[str], bool], reason: str, role: str = ""
) -> RawConversation | Dropped:
    turns: list[RawTurn] = []
    for turn in conversation.turns:
        if role and turn.role != role:
            turns.append(turn)
            continue
        lines = turn.content.split("\n")
        kept = [line for line in lines if not line.strip() or stays(line)]
        if len(kept) == len(lines):
            turns.append(turn)
        elif any(line.strip() for line in kept):
            turns.append(turn.model_copy(update={"content": "\n".join(kept).strip()}))
    if not turns:
        return Dropped(reason, conversation.where or conversation.conversation)
    return (
        conversation if turns == list(conversation.turns) else conversation.model_copy(update={"turns": tuple(turns)})
    )


def _says_one_thing(messages: list[str]) -> bool:
    if len(messages) < _MIN_TURNS_OF_ONE:
        return False
    (_, most), *_ = Counter(map(text_key, messages)).most_common(1)
    return most > _SAME_SHARE * len(messages)
