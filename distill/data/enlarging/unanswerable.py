"""Questions that no article answers, and those that need a person: what a model must learn to hand over.

    near misses     what the shop is asked about, for a thing that no article names ("How much does the trampoline cost?")
    out of scope    weather, politics, other companies
    needs a person  complaints, threats, somebody's own order

Promises: a thing of a near miss stands in no article; evidence is empty, and the reply is the company's own refusal; the
same articles and seed give the same questions. Knows nothing of models.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from distill.data.conversation import RawConversation, RawTurn
from runtime.text.articles import Article
from runtime.text.tokens import terms

SHARE = 0.12
"""Of all records: enough to learn refusing, too few to learn it as a habit."""
_THINGS = {
    "en": (
        "trampoline", "aquarium", "lawn mower", "violin", "surfboard", "telescope", "sewing machine", "hot tub", "chainsaw",
        "saxophone", "wetsuit", "greenhouse", "hamster cage", "wedding dress", "motorbike", "paddling pool", "pool table",
    ),
    "zh": (
        "蹦床", "鱼缸", "割草机", "小提琴", "冲浪板", "望远镜", "缝纫机", "按摩浴缸", "电锯", "萨克斯", "潜水服", "温室大棚", "仓鼠笼",
        "婚纱", "摩托车", "充气泳池", "台球桌",
    ),
}  # fmt: skip
_NEAR_MISSES = {
    "en": (
        "How much does the {} cost?", "Do you sell a {}?", "How long is the warranty on a {}?", "Can I return a {}?",
        "When will the {} be delivered?", "Do you repair a {}?", "Which {} do you recommend?", "How do I clean my {}?",
    ),
    "zh": (
        "{}多少钱？", "你们卖{}吗？", "{}保修多久？", "{}可以退吗？", "{}什么时候能送到？", "你们修{}吗？", "推荐哪款{}？", "{}怎么清洗？",
    ),
}  # fmt: skip
_OUT_OF_SCOPE = {
    "en": (
        "What will the weather be like tomorrow?", "Who will win the election?", "Can you write my homework for me?",
        "What do you think of your competitor?", "Tell me a joke.", "Which shares should I buy?", "What is the capital of Peru?",
        "How do I bake bread?", "Are you a real person?", "What is the meaning of life?", "Translate this into Latin for me.",
    ),
    "zh": (
        "明天天气怎么样？", "你觉得谁会赢得选举？", "帮我写作业吧。", "你觉得你们的竞争对手怎么样？", "讲个笑话。", "该买哪只股票？", "秘鲁的首都是哪里？",
        "面包怎么烤？", "你是真人吗？", "人生的意义是什么？", "帮我翻译成拉丁文。",
    ),
}  # fmt: skip
_NEEDS_A_PERSON = {
    "en": (
        "I want to speak to a real person.", "My lawyer will contact you.", "Where is my own order right now?",
        "You charged my card twice, give the money back.", "I was hurt by one of your products.", "Delete everything you know about me.",
        "Your driver damaged my door, who pays for that?", "I have been waiting for weeks and nobody answers me!",
        "Change the name on my account for me.", "I want to complain about a member of staff.",
    ),
    "zh": (
        "我要找真人客服。", "我的律师会联系你们。", "我自己的订单现在到哪了？", "你们扣了我两次钱，退给我。", "我被你们的产品弄伤了。",
        "把你们关于我的资料都删掉。", "你们的司机把我家门弄坏了，谁来赔？", "等了几个星期都没人理我！", "帮我改一下账户上的名字。", "我要投诉一名员工。",
    ),
}  # fmt: skip


def unanswerable_questions(
    articles: Sequence[Article], lang: str, count: int, *, seed: int = 7
) -> list[tuple[str, str]]:
    """`count` different questions with their sort: `near miss`, `out of scope`, `needs a person`, in turns.

    Fewer where the articles name most of the things, and the words allow no more.
    """
    if lang not in _THINGS:
        return []
    rng = random.Random(seed)  # noqa: S311 - variety, no secrets
    known = {
        term
        for article in articles
        if article.lang == lang
        for section in article.sections
        for term in terms(f"{section.title} {section.heading} {section.text}")
    }
    things = [thing for thing in _THINGS[lang] if not set(terms(thing)) & known]
    near = [form.format(thing) for thing in things for form in _NEAR_MISSES[lang]]
    sorts = {
        "near miss": near,
        "out of scope": list(_OUT_OF_SCOPE[lang]),
        "needs a person": list(_NEEDS_A_PERSON[lang]),
    }
    for questions in sorts.values():
        rng.shuffle(questions)
    out: list[tuple[str, str]] = []
    while len(out) < count and any(sorts.values()):
        out += [(questions.pop(), sort) for sort, questions in sorts.items() if questions]
    return out[:count]


def unanswerable_conversations(
    articles: Sequence[Article], lang: str, answerable: int, refusal: str, *, seed: int = 7, share: float = SHARE
) -> Iterator[RawConversation]:
    """Conversations of one such question each, `share` of all when there are `answerable` others; replies refuse."""
    wanted = round(answerable * share / (1 - share))
    for number, (question, _) in enumerate(unanswerable_questions(articles, lang, wanted, seed=seed), start=1):
        yield RawConversation(
            conversation=f"unanswerable-{lang}-{number}",
            lang=lang,
            turns=(
                RawTurn(role="user", content=question, evidence=()),
                RawTurn(role="assistant", content=refusal),
            ),
            source="simulated",
        )
