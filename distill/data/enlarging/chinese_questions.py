"""Questions that a Chinese sentence or heading of an article answers, made by rules.

Chinese asks where the answer stands, so a figure gives way to its question word:

    一次通话25分钟。            ->  一次通话多长时间？
    您最晚可提前3小时改期。      ->  我最晚可提前多久改期？
    如果您迟到，我们……          ->  如果我迟到怎么办？
    我们不安装燃气灶。           ->  你们安装燃气灶吗？

Promises: time is linear in the sentence; a clause that does not stand by itself gives nothing, or its topic goes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MAX_CLAUSE = 34
_NUMBER = r"(?:\d{1,9}(?:[.,]\d{1,3})?|[一二两三四五六七八九十]{1,3}|半)"
_FIGURES = (
    (re.compile(r"\d{1,2}[:：]\d\d(?:至|到|-|–|—|~|～)\d{1,2}[:：]\d\d"), "几点到几点"),
    (re.compile(r"\d{1,2}[:：]\d\d"), "几点"),
    (re.compile(r"(?:(?:19|20)\d\d年)?\d{1,2}月\d{1,2}[日号]"), "哪一天"),
    (
        re.compile(rf"{_NUMBER}个?(?:工作日|小时|分钟|天|日|周|星期|个月|年|月)(?<!\d{4}年)(?![一-三]|初|末|底|级|份)"),
        "多久",
    ),
    (re.compile(r"(?:¥|￥|€|\$)\s?\d[\d,.]{0,9}|\d[\d,.]{0,9}\s?(?:元|欧元|美元|英镑|块钱|人民币)"), "多少钱"),
    (re.compile(r"\d{1,3}(?:\.\d{1,2})?%|百分之[一二三四五六七八九十]{1,3}"), "多大比例"),
    (re.compile(r"\d{1,6}(?:\.\d{1,2})?(?:公斤|千克|克|斤|kg)"), "多重"),
    (re.compile(r"\d{1,6}(?:\.\d{1,2})?(?:厘米|毫米|公分|米|cm|mm)"), "多长"),
    (re.compile(r"\d{1,6}(?=个|件|台|次|张|位|辆|本|份|条|名|款|种|部|只|套)"), "几"),
)
"""A figure and what asks for it, the surest first."""
_CONNECTIVE = re.compile(
    r"^(?:但是?|并且?|而且|且|也|不过|否则|因此|所以|其中|然后|再|同时|此外|另外|只|都|就|还|届时|之后|而)(?=[^期])"
)
_NEEDS_SUBJECT = re.compile(
    r"^(?:须|需|可|最多|最少|最晚|最迟|至少|一般|通常|大约|约|不|能|会|应|必须|无需|免费|前|超过|满|共|在|由|凭|按|从|到|送|寄|包|为|\d|一般)"
)
_CONDITION = re.compile(r"^(?:如果|若是?|如|假如|要是|倘若|万一)(?!何|需|下|图|上|今)([^，。；]{2,24}?)(?:的话|时)?，")
_WHEN = re.compile(r"^(?:当)?([^，。；]{3,22}?)(?<!千瓦)(?<![小临及按准随平当同有工历])(时|的时候|后|之后|前|之前)，")
_HOW_TO = re.compile(r"^(?:如需|若需|如要|要|想要|需要|如想)([^，。；]{2,20})，(?:请|可|您可|须|需|先)")
_ALLOWED = re.compile(
    r"(?:可以|可(?!能|是|靠|见|爱|惜|用)|不能|不可以?|无法|(?<![智功性节只才技可万])能够?(?!力|量|源)|需要|无需|不需要?|必须|须|支持|不支持|提供|不提供|接受|不接受|安装|不安装|欢迎|收取|不收)"
)
_INCLUDES = re.compile(r"^([^，。；被把将需没未]{2,18}?)(?<!不)(?:包括|包含|含有|涵盖)(?!在|进|的)")
_QUESTION = re.compile(r"[？?]$|怎么|如何|什么|吗$|多少|哪[里些个]|为什么|为何|是否|能不能|可不可以|几[天个点]")
_DANGLING = re.compile(r"[它其]|这[些个种]|那[些个种]|该|此|^多久|在那里|在这里")
_NAME_END = re.compile(r"[（(][^（()）]{0,30}[)）]")


def swap_speaker(text: str) -> str:
    """The words of the company as a customer says them: 您 -> 我, 我们 -> 你们."""
    text = re.sub(r"我们|本店|本公司|我店|我司", "\x01", text)
    text = re.sub(r"您|你(?!们)", "我", text)
    return text.replace("\x01", "你们")


def leans_on_context(question: str) -> bool:
    """Whether a question points at something that it does not name."""
    return _DANGLING.search(question) is not None


def heading_questions(heading: str, title: str) -> Iterator[str]:
    """What a customer asks whom a heading answers; the first is the heading itself where it is a question."""
    heading = heading.strip().rstrip("。：:")
    if not heading or len(heading) > 40:
        return
    spoken = swap_speaker(heading)
    if _QUESTION.search(heading):
        yield spoken if spoken.endswith(("？", "?")) else f"{spoken}？"
        return
    yield f"{spoken}有什么要注意的？"
    if title and title not in heading and heading not in title:
        yield f"我想了解一下{swap_speaker(title)}：{spoken}。"
    else:
        yield f"请介绍一下{spoken}。"


def row_questions(row: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """What a table's row answers: each column, asked for what the row is about."""
    (_, about), *columns = row
    for name, _ in columns:
        if name and about and len(about) < 40 and len(name) < 30:
            yield f"{about}的{name}是多少？" if re.search(r"\d", dict(columns)[name]) else f"{about}的{name}是什么？"


def sentence_questions(sentence: str, topic: str) -> Iterator[str]:
    """What a sentence answers, surest first."""
    sentence = sentence.strip().rstrip("。！!；;").strip()
    if len(sentence) < 5 or sentence.endswith(("？", "?")):
        return
    if how := _HOW_TO.match(sentence):
        yield f"怎么{swap_speaker(how[1])}？"
    elif condition := _CONDITION.match(sentence):
        yield f"如果{swap_speaker(condition[1])}怎么办？"
    elif (when := _WHEN.match(sentence)) and "，" not in when[1]:
        yield f"{swap_speaker(when[1])}{when[2]}要怎么做？"
    clauses = [clause.strip() for clause in re.split(r"[，；;]", _NAME_END.sub("", sentence)) if clause.strip()]
    for clause in clauses:
        if _CONDITION.match(f"{clause}，") or not 3 <= len(clause) <= _MAX_CLAUSE:
            continue
        whole = _standing(clause, topic)
        if whole:
            yield from _clause_questions(*whole)


def _standing(clause: str, topic: str) -> tuple[str, str] | None:
    """(what goes first, clause) as a customer would say it; None for a clause that cannot stand."""
    clause = _CONNECTIVE.sub("", clause)
    if len(clause) < 3 or clause.startswith(
        (
            "请",
            "例如",
            "比如",
            "因为",
            "由于",
            "使",
            "一旦",
            "当然",
            "虽然",
            "尽管",
            "没有",
            "有了",
            "简而言之",
            "而",
            "即",
            "和",
            "或",
            "及",
            "它",
            "其",
            "这",
            "那",
            "该",
            "此",
        )
    ):
        return None
    if not _NEEDS_SUBJECT.match(clause):
        return "", swap_speaker(clause)
    about = topic.strip("。：: ")
    if _QUESTION.search(about):
        return None
    return (f"{swap_speaker(about)}，", swap_speaker(clause)) if 2 <= len(about) <= 18 else None


def _clause_questions(lead: str, clause: str) -> Iterator[str]:
    figures, rest = 0, clause
    for pattern, _ in _FIGURES[:6]:
        rest, count = pattern.subn("", rest)  # a date is taken once: its month is no duration
        figures += count
    for pattern, word in _FIGURES:
        found = pattern.search(clause)
        if found and figures <= 1:
            if word in ("多长", "多重") and found.end() + 2 < len(clause):
                return  # "a cable of 1.2 metres": the length is not what the clause tells
            asked = clause[: found.start()] + word + clause[found.end() :]
            if len(asked) >= 5:
                yield f"{lead}{_question(asked)}"
            return
    if figures > 1:
        return
    if includes := _INCLUDES.match(clause):
        yield f"{lead}{includes[1]}包括什么？"
    elif _ALLOWED.search(clause) and len(clause) <= 26:
        yield f"{lead}{_positive(clause)}吗？"


def _question(asked: str) -> str:
    asked = (
        re.sub(r"(?:最晚|最迟)?(?:在|于)?(几点|哪一天)之?前", r"最晚\1之前", asked) if "最晚" not in asked else asked
    )
    return re.sub(r"(?:多达|长达|不超过|不少于|大约|约|至少|最多|最长)(?=多)", "", asked) + "？"


def _positive(clause: str) -> str:
    """The clause without its denial: what the customer asks is whether it is so."""
    return re.sub(
        r"不可以|不能(?!够)|无法",
        "可以",
        re.sub(r"无需|不需要?", "需要", re.sub(r"不(支持|提供|接受|安装|收)", r"\1", clause)),
    )
