"""Texts that talk to the model instead of about the shop: found by their forms, in articles and in questions.

A small model follows orders wherever it reads them, so orders are kept from it: a section that holds one is not shown
to the model nor quoted (people still find and read it), a question that is one is answered by the desk itself. An
answer that recites the house rules is withheld. Forms nobody thought of
pass. Pure; knows nothing of models.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from runtime.text.articles import Section
from runtime.text.normalize import nfkc
from runtime.text.tokens import terms

ECHO_TERMS = 8
"""So many terms of the house rules in a row are a recital of them."""
_MACHINE = r"(?:ai|a\.i\.|assistant|bot|chatbot|llm|language\s+model)"
_ORDERS = re.compile(
    rf"""
      \b(?:ignore|disregard|forget|override|bypass|skip|drop)\b[^.!?\n]{{0,40}}
        \b(?:instructions?|rules?|prompts?|guidelines?|guardrails?|directions|restrictions?|above|you\s+were\s+told)\b
    | \b(?:system|developer|hidden|initial|secret)\s+(?:prompt|instruction)s?\b
    | \byou\s+are\s+now\s+(?:an?|dan|free|called|in\s+\w+\s+mode|un\w+)\b
    | \b(?:act\s+as|pretend\s+(?:to\s+be|you\s+are)|behave\s+as|role[\s-]?play)\b[^.!?\n]{{0,30}}
        \b(?:dan|unrestricted|jailbroken|another|different|admin\w*|root|manager|developer|pirate|no\s+rules)\b
    | \b(?:new|updated|real|true)\s+(?:instruction|rule|order|directive)s?\s*:
    | \b(?:notes?|instructions?|orders?|messages?|attention)\s+(?:to|for)\s+(?:the\s+|any\s+|all\s+)?{_MACHINE}s?\b
    | \b{_MACHINE}s?\s*[:,]\s*(?:please\s+)?(?:say|reply|answer|respond|write|output|print|tell|you\s+must)\b
    | \b(?:reply|answer|respond|output|print|say|write|repeat)\b[^.!?\n]{{0,25}}
        \b(?:only|exactly|verbatim|nothing\s+but|word\s+for\s+word)\b[^.!?\n]{{0,12}}
        (?:["':“”‘’]|\bthis\b|\bwith\b|\bthe\s+(?:word|phrase|code|text|string|following))
    | \b(?:begin|start|end|finish|sign)\b[^.!?\n]{{0,20}}\b(?:your|every|each|all)\b[^.!?\n]{{0,15}}
        \b(?:answer|reply|replies|response|message)
    | \b(?:reveal|show|print|repeat|recite|leak|give\s+me|tell\s+me|what\s+(?:are|is))\b[^.!?\n]{{0,30}}
        \b(?:your\s+(?:\w+\s+)?(?:instruction|prompt)s?|your\s+house\s+rules|text\s+above|words\s+above)
    | \bjailbr(?:eak|oken)|\bdo\s+anything\s+now\b
    | <\|?\s*(?:/\s*)?(?:im_start|im_end|system|user|assistant|endoftext|inst)[^>\n]{{0,20}}>
    | \[/?(?:inst|system|sys)\] | <<sys>> | ^[^\S\n]*\#{{2,}}\s*(?:system|instruction|assistant)\b
    | ^[^\S\n]*(?:system|assistant|developer)\s*:
    | (?:忽略|无视|忘记|忘掉|不要理会|不用管|绕过|跳过|推翻)[^。！？\n]{{0,15}}
        (?:指令|规则|提示词|限制|以上|上面的|之前的(?:话|要求|内容))
    | (?:系统|开发者|隐藏|初始|内部)(?:提示词|提示语|指令)
    | (?:你现在是|从现在起你|假装你?是|扮演)[^。！？\n]{{0,20}}(?:模式|管理员|限制|另一个|机器人|身份|经理|海盗)
    | (?:新的?|更新的?|真正的)(?:指令|规则|命令)\s*[:：]
    | (?:致|给)(?:人工智能|ai|助手|语言模型|机器人|客服机器人)[^。！？\n]{{0,6}}(?:说明|指示|注意|：|:)
    | (?:人工智能|ai|ai助手|智能助手|机器人)[:：,，]\s*(?:请|你)?(?:必须|务必|只|回答|回复|输出|说)
    | (?:只|仅|必须|务必)(?:能|需|要)?(?:回答|回复|输出|说|写)[^。！？\n]{{0,6}}
        (?:[“"「：:]|这句|这个词|一个词|以下|口令|暗号)
    | (?:每次|所有|任何)(?:回答|回复)[^。！？\n]{{0,12}}(?:加上|开头|结尾|末尾|包含|说)
    | (?:告诉我|显示|输出|重复|复述|说出|背出|公开)[^。！？\n]{{0,10}}
        (?:提示词|内部规则|你的规则|你的指令|上面的(?:文字|内容))
    | 越狱模式|开发者模式下
    """,
    re.VERBOSE | re.MULTILINE,
)


def is_injection(text: str) -> bool:
    """Whether a text gives orders to a model."""
    plain = nfkc(text).casefold()
    # Written to be overlooked by people and read by machines: invisible characters, letters with spaces between.
    bare = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    joined = re.sub(r"(?<=\b\w)[ .\-_*](?=\w\b)", "", bare)
    return bool(_ORDERS.search(bare) or _ORDERS.search(joined))


def leaks_system_prompt(answer: str, rules: str, sections: Sequence[Section]) -> bool:
    """Whether an answer holds a long piece of the house rules that no section holds."""
    said = _runs(answer)
    known = set().union(*(_runs(section.text) for section in sections)) if sections else set()
    return bool((said & _runs(rules)) - known)


def _runs(text: str) -> set[tuple[str, ...]]:
    cut = terms(text)
    return {tuple(cut[start : start + ECHO_TERMS]) for start in range(len(cut) - ECHO_TERMS + 1)}
