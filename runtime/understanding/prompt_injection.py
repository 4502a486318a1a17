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
# What an order to a model speaks of is the model's own: "your rules", "the instructions above". Washing instructions,
# return rules and age limits are the shop's subject, whatever verb stands before them.
_OWN = (
    r"(?:your|you|its|all|any|every|each|these|those|previous|prior|earlier|preceding|above|other|original|house|"
    r"system|safety|said|given|the)"
)
_TOLD = r"(?:instructions?|rules?|prompts?|guidelines?|guardrails?|directions|restrictions?|orders)"
# Where the sentence may end, or say how: "your instructions for returns" are no secret.
_ENDS = (
    r"(?=\s*(?:$|[.!?,;:\"'”’)。]|and\b|now\b|please\b|word\b|verbatim\b|exactly\b|in\s+full\b|first\b|here\b|above\b))"
)
_ORDERS = re.compile(
    rf"""
      \b(?:ignore|disregard|forget|override|bypass|skip|drop)\b[^.!?\n]{{0,40}}?
        \b(?:{_OWN}\s+{_TOLD}\b|{_TOLD}\s+(?:above|before|so\s+far|given|you\b)|above\b(?!\s+(?!rules|instr|text)\w)|
           (?:what|everything|all)\s+you\s+(?:were|have\s+been)\s+told|you\s+were\s+told)
    | \b(?:system|developer|hidden|initial|secret)\s+prompts?\b
    | \byour\s+(?:system|developer|hidden|initial|secret)\s+instructions?\b
    | \byou\s+are\s+now\s+(?:
          (?:an?\s+)?(?:\w+\s+){{0,2}}?(?:{_MACHINE}|pirate|hacker|robot|persona|character|simulator)\b
        | an?\s[^.!?\n]{{0,40}}\b(?:who|that|which|and)\b[^.!?\n]{{0,20}}
            \b(?:say|answer|repl|respond|speak|talk|writ|obey|ignore|reveal|do(?:es)?\s+not\s+refuse)
        | dan\b | called\b | free\s+(?:of|from)\b | free\s*[.!,;:] | un(?:restricted|filtered|censored|bound|limited)
        | in\s+(?:an?\s+|the\s+)?(?:dan|developer|debug|god|admin\w*|root|jailbreak\w*|unrestricted|unsafe)\s+mode )
    | \b(?:act\s+as|pretend\s+(?:to\s+be|you\s+are)|behave\s+as|role[\s-]?play)\b[^.!?\n]{{0,30}}
        \b(?:dan|unrestricted|jailbroken|admin\w*|root|manager|developer|pirate|no\s+rules
           |(?:another|different)\s+(?:{_MACHINE}|person|persona|character|model))\b
    | \b(?:new|updated|real|true)\s+(?:instruction|directive)s?\s*:
    | \b(?:new|updated|real|true)\s+(?:rule|order)s?\s*:\s*(?:you\b|from\s+now|always|never|ignore|say|answer|reply|
        respond|output|print|write|tell|everything)
    | \b(?:notes?|instructions?|orders?|messages?|attention)\s+(?:to|for)\s+(?:the\s+|any\s+|all\s+)?{_MACHINE}s?\b
    | \b{_MACHINE}s?\s*[:,]\s*(?:please\s+)?(?:say|reply|answer|respond|write|output|print|tell|you\s+must)\b
        (?!\s+(?:me|us|my|our)\b)
    | \b(?:reply|answer|respond|output|say|repeat|print|write)\b[^.!?\n]{{0,25}}
        \b(?:only|exactly|verbatim|nothing\s+but|word\s+for\s+word)\b\s*(?:
          ["'“‘:] | (?:with\s+)?the\s+(?:words?|phrase|string|text|sentence|following)\b
            (?!\s+(?:on|printed|written|in|of|with))
        | with\s*["'“‘] | this\s*["'“‘:] )(?![^.!?\n]{{0,40}}\bto\s+(?:stop|end|unsubscribe|cancel|confirm|opt)\b)
    | \b(?:begin|start|end|finish|sign)\b[^.!?\n]{{0,20}}\b(?:your|every|each|all)\b[^.!?\n]{{0,15}}
        \b(?:answer|reply|replies|response|message)s?\b\s*(?:with|by|saying|:)(?!\s+my\b)
    | \b(?:reveal|show|print|repeat|recite|leak|give\s+me|tell\s+me|what\s+(?:are|is|were))\b[^.!?\n]{{0,30}}
        (?:\byour\s+(?:\w+\s+)?(?:instruction|prompt)s?{_ENDS}|\byour\s+house\s+rules|\btext\s+above|\bwords\s+above)
    | \bjailbr(?:eak|oken)|\bdo\s+anything\s+now\b
    | <\|?\s*(?:/\s*)?(?:im_start|im_end|system|user|assistant|endoftext|inst)[^>\n]{{0,20}}>
    | \[/?(?:inst|system|sys)\] | <<sys>> | ^[^\S\n]*\#{{2,}}\s*(?:system|instruction|assistant)\b
    | ^[^\S\n]*(?:system|assistant|developer)\s*:(?!\s*(?:windows|mac|ios|ipad|android|linux|version|v?\d))
        (?![^\n]{{0,200}}\?\s*$)
    | (?:忽略|无视|忘记|忘掉|不要理会|不用管|绕过|跳过|推翻)[^。！？\n]{{0,10}}?
        (?:(?:你|以上|上面|上述|之前|先前|前面|所有|一切|全部|任何|这些|系统)的?
           (?:[^。！？，\n]{{0,4}})(?:指令|规则|提示词|限制|要求)|以上(?:内容)?|上面的(?:话|内容|文字)|之前的(?:话|内容))
    | (?:^|[。！？，：；\s]|请|必须|立即|务必)(?:忽略|无视|推翻)(?:指令|规则|提示词|限制)
    | (?:系统|开发者|隐藏|初始|内部)提示词
    | (?:输出|显示|告诉我|说出|公开|打印|复述|重复|背出)[^。！？\n]{{0,6}}(?:系统|开发者|隐藏|初始|内部)(?:提示语|指令)
    | (?:你现在是|从现在起你|假装你?是|扮演)[^。！？\n]{{0,20}}(?:模式|管理员|限制|另一个|机器人|身份|经理|海盗)
        (?![^。！？\n]{{0,8}}(?:吗|么|还是|[?？]))
    | (?:新的?|更新的?|真正的)指令\s*[:：]
    | (?:新的?|更新的?|真正的)(?:规则|命令)\s*[:：]\s*(?:你|请|从现在|必须|只|忽略|回答|回复|说|一切)
    | 致(?:人工智能|ai|助手|语言模型|机器人|客服机器人)[^。！？\n]{{0,6}}(?:说明|指示|注意|：|:)
    | 给(?:人工智能|ai|助手|语言模型|机器人|客服机器人)[^。！？\n]{{0,6}}(?:说明|指示|注意)
    | (?:人工智能|ai|ai助手|智能助手|机器人)[:：,，]\s*(?:请|你)?(?:必须|务必|只|回答|回复|输出|说)(?!一?下?我)
    | (?:只|仅|必须|务必)(?:能|需|要)?(?:回答|回复|输出|说|写)[^。！？\n]{{0,6}}
        (?:[“"「：:]|这句|这个词|一个词|以下|口令|暗号)(?![^。！？\n]{{0,20}}(?:退订|取消|即可|确认))
    | (?:每次|所有|任何)(?:回答|回复)(?![^。！？\n]{{0,8}}[会我])[^。！？\n]{{0,12}}(?:加上|开头|结尾|末尾|包含|说)
    | (?:告诉我|显示|输出|重复|复述|说出|背出|公开)[^。！？\n]{{0,10}}
        (?:提示词|你的(?:内部)?规则|你的指令|上面的(?:文字|内容))
    | 越狱模式|开发者模式下
    """,
    re.VERBOSE | re.MULTILINE,
)
_VERB = re.compile(
    r"ignore|disregard|forget|override|bypass|skip|drop|act|pretend|behave|begin|start|end|finish|sign|忽|无|忘|不|绕|跳|推"
)
_LOOK_BACK = 40
# Who asks whether *he* may skip something, or says that one must not, gives no order: the verb's subject is a person,
# or the verb is denied. Looked for right before the verb, in its line, so that "I want you to ignore" stays an order.
_NO_ORDER = re.compile(
    r"""
      (?:\b(?:i|we|he|she|they|one|who|people|customers?|anyone|somebody|someone|nobody)(?:['’](?:d|ve|ll|m|re))?
         |\b(?:not|never|cannot|without)|n['’]t)
      (?:[^\S\n]+(?:can|could|may|might|should|must|do|did|have|had|to|just|simply|also|not|ever|even|safely|accidentally|
              already|please|then|going|want|need|will|would|we|always)){0,3}[^\S\n]*\Z
    | (?:我们?|他们?|她|顾客|客户|用户|大家|有人|不要|切勿|请勿|别|不能|不得|怎么|如何
         |(?<!你)(?:可以|可否|能否|能不能|能|可不可以|是否))
      (?:想|要|就|直接|自己|先|也|都|可以|能|是否|不小心|已经){0,2}\Z
    """,
    re.VERBOSE,
)


def is_injection(text: str) -> bool:
    """Whether a text gives orders to a model."""
    plain = nfkc(text).casefold()
    # Written to be overlooked by people and read by machines: invisible characters, letters with spaces between.
    bare = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    joined = re.sub(r"(?<=\b\w)[ .\-_*](?=\w\b)", "", bare)
    return _holds_order(bare) or (joined != bare and _holds_order(joined))


def _holds_order(text: str) -> bool:
    found = _ORDERS.search(text)
    while found:
        before = text[max(0, found.start() - _LOOK_BACK) : found.start()]
        if not (_VERB.match(found[0]) and _NO_ORDER.search(before)):
            return True
        # From its second character on: what was passed over may hold an order of its own.
        found = _ORDERS.search(text, found.start() + 1)
    return False


def leaks_system_prompt(answer: str, rules: str, sections: Sequence[Section]) -> bool:
    """Whether an answer holds a long piece of the house rules that no section holds."""
    said = _runs(answer)
    known = set().union(*(_runs(section.text) for section in sections)) if sections else set()
    return bool((said & _runs(rules)) - known)


def _runs(text: str) -> set[tuple[str, ...]]:
    cut = terms(text)
    return {tuple(cut[start : start + ECHO_TERMS]) for start in range(len(cut) - ECHO_TERMS + 1)}
