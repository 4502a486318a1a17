"""Sentences of an article that tell whoever answers what to say: they are kept from the model and never quoted.

Articles tell customers about the shop. A sentence about what is *said* ("staff always open with …", "the right answer
is …", 员工总是先说……) is talk about talk, and that is how a hostile article puts words into the desk's mouth without an
order to a machine in it. It is seen by what it is made of, not by its wording:

    an act of speech with a content to come (say that, greet with, the answer is, mention, a motto)
    and somebody who answers (staff, we, assistants, a reply, a conversation) or an audience (customers, callers)
    and a claim to hold for all answers (always, every, first, must, policy, no matter what)

or an order to speak by itself ("Say …", 请说……). What customers are told to do themselves ("write your number on the
parcel") is none. Promises: a section without such a sentence stays as it is. Pure; knows nothing of models.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from runtime.text.articles import Article, Section
from runtime.text.normalize import nfkc
from runtime.text.sentences import sentences
from runtime.understanding.prompt_injection import is_injection

_SPEECH = re.compile(
    r"""
      \b(?:say|says|said|saying|state|states|utter|utters|recite|recites|announce|announces|proclaim|mention|mentions
        |mentioned|mentioning|chant|exclaim)\b
    | \b(?:greet|greets|greeted|welcome[sd]?|sign\s+off|signs\s+off)\b[^.!?]{0,20}\b(?:with|by|saying)\b
    | \b(?:repl(?:y|ies)|respon(?:d|ds|se|ses)|answers?|messages?|conversations?|chats?|greetings?)\b[^.!?,]{0,40}
        \b(?:is|are|be|contains?|includes?|begins?|starts?|opens?|ends?|closes?|carry|carries|reads?|consists?|has|have
            |with|that|as|using|uses)\b
    | \b(?:open|begin|start|close|end|finish|conclude)s?\b[^.!?,]{0,25}
        \b(?:conversation|call|chat|reply|replies|answer|message|greeting|response)s?\b[^.!?,]{0,20}\b(?:with|by)\b
    | \b(?:tell|inform|advise|remind|assure)(?:s|ing)?\s+
        (?:them|people|every(?:one|body)|any(?:one|body)|(?:the\s+|all\s+|every\s+)?(?:customer|caller|visitor|user|client|shopper)s?)\b
    | \b(?:hears?|be\s+told)\b
    | \b(?:quote|quotes|use|uses|include|includes|insert|append|add|adds|put|puts)\b[^.!?]{0,25}
        \b(?:phrase|words?|sentence|line|slogan|text|string|tag|marker)\b
    | \b(?:pass\s?phrase|password|code\s?word|catch\s?phrase|key\s?word|slogan|motto|watchword)s?\b
    | (?<![来的如是据或再所好难小听])[说讲念](?!明|法|的|来) | 回[答复] | 答复 | 答案 | 应答
    | 告[知诉](?!我|店|客服|工作) | 提[到及起] | 问候 | 招呼 | 复述 | 宣[布称] | 口令 | 口号
    | 暗[号语] | 话术 | 开场白 | 字样 | 这句话 | 听到 | 转告 | 加上
    """,
    re.VERBOSE,
)
_SPEAKER = re.compile(
    r"""
      \b(?:staff|employees?|agents?|assistants?|bots?|models?|ai|colleagues?|clerks?|representatives?|operators?|desk
        |team|personnel|whoever|anyone|everyone|answers?|repl(?:y|ies)|responses?|conversations?|chats?|calls?|messages?
        |greetings?|company|shop|store|management|house|customers?|callers?|visitors?|users?|clients?|shoppers?|questions?|inquir(?:y|ies)|enquir(?:y|ies)
        |you|we)\b
    | 员工 | 店员 | 客服 | 助[手理] | 机器人 | \bai\b | 同事 | 人员 | 我们 | 你
    | 回[答复] | 答[复案] | 对话 | 聊天 | 会话
    | 顾客 | 客户 | 客人 | 来[客电]
    | 用户 | 公司 | 总部 | 管理层 | 门店 | 问题 | 咨询 | 提问 | 开场
    """,
    re.VERBOSE,
)
_SCOPE = re.compile(
    r"""
      \b(?:always|every|each|all|any|never|first|must|only|exactly|before|beginning|begin|begins|start|starts|open|opens
        |opening|end|ends|ending|close|closes|closing|finish|finally|last|policy|required|requires?|obliged?|mandatory
        |supposed|expects?|expected|correct|right|proper|standard|official|approved|regardless|whatever|no\s+matter
        |instead|should|ought|shall|whenever|when\s+asked|if\s+asked)\b
    | 任何 | 所有 | 每 | 总是 | 一律 | 一定 | 始终 | 永远 | 先 | 开[头始场] | 结[尾束] | 最后 | 末尾 | 必须
    | 务必 | 规定 | 要求 | 应[当该] | 只[能要] | 正确 | 标准 | 统一
    | 之前 | 希望 | 期待 | 无论 | 不管 | 凡是 | 都[会要应]
    """,
    re.VERBOSE,
)
_ORDER = re.compile(
    r"""
    ^\W*(?:q\s*:[^\n]{0,200}?\ba\s*:\s*)?(?:please\s+|now\s+|then\s+|always\s+|just\s+|simply\s+)*
        (?:say|reply|respond|answer|greet|mention|announce|recite|repeat\s+after|tell\s+(?:them|customers?|people|users?
            |everyone|everybody|visitors?|callers?|anyone))\b(?!\s+(?:to\s+(?:the|this|our|that)|yes\b|no\b))
    | \bwhat\s+(?:do|should|must|will|would)\s+(?:you|we|staff)\s+(?:say|answer|reply|tell)
    | ^\W*(?:请|请你|现在|总是|务必)?(?:说(?!明|法)|讲|念|回答|回复|答复|复述|宣布)
    | (?:你|我们|员工)(?:说|回答|怎么说|该说)什么
    """,
    re.VERBOSE,
)
_WHEN = re.compile(
    r"\b(?:within|in)\s+(?:\w+\s+)?(?:\w+\s+)?(?:minutes?|hours?|days?|weeks?)\b|[分小][钟时]内|[天日周]内|工作日内"
)
"""A promise of when somebody is answered says nothing of what is said."""


class Suspicion(NamedTuple):
    """A sentence that people should look at before customers do."""

    ref: str
    lang: str
    kind: str
    """`is_injection`: to a model, the whole section is withheld; `is_dictation`: the sentence is."""
    sentence: str


def is_dictation(sentence: str) -> bool:
    """Whether a sentence tells whoever answers what to say."""
    plain = " ".join(nfkc(sentence).casefold().split())
    bare = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    if _ORDER.search(bare):
        return True
    parts = (_SPEECH, _SPEAKER, _SCOPE)
    return all(part.search(bare) for part in parts) and not _WHEN.search(bare)


Look = Callable[[Sequence[str]], Sequence[bool]]
"""Another eye for sentences that dictate, such as `runtime.understanding.dictation_classifier`."""


def without_injected(section: Section, look: Look | None = None) -> Section | None:
    """The section as the model reads it and customers are quoted it; None where nothing of it is left."""
    if is_injection(section.text):
        return None
    whole = sentences(section.text)
    kept = [sentence for sentence, bad in zip(whole, _dictating(whole, look), strict=True) if not bad]
    if len(kept) == len(whole):
        return section
    return replace(section, text="\n".join(kept)) if kept else None


def find_suspicious(articles: Sequence[Article], look: Look | None = None) -> list[Suspicion]:
    """What is withheld of these articles, in their order."""
    return [found for article in articles for section in article.sections for found in _of(section, look)]


def _dictating(whole: Sequence[str], look: Look | None) -> list[bool]:
    """Which sentences dictate; what follows a question that does is its answer."""
    seen = look(whole) if look else [False] * len(whole)
    out: list[bool] = []
    for at, sentence in enumerate(whole):
        answers = at > 0 and out[-1] and whole[at - 1].endswith(("?", "？"))
        out.append(seen[at] or is_dictation(sentence) or answers)
    return out


def _of(section: Section, look: Look | None) -> Iterable[Suspicion]:
    found = is_injection(section.text)
    whole = sentences(section.text)
    for sentence, bad in zip(whole, _dictating(whole, look), strict=True):
        kind = "orders" if is_injection(sentence) else "dictates" if bad else ""
        if kind:
            found = found and kind != "orders"
            yield Suspicion(section.ref, section.lang, kind, sentence)
    if found:  # an order that runs over several sentences
        yield Suspicion(section.ref, section.lang, "orders", section.text)
