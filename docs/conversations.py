"""Writes docs/tutorial/two-conversations.md: twelve turns in each language, as a desk with the demo's bundle has them.

    EDGEDESK_HOME=work/demo-home python docs/conversations.py

The customers' words stand here; everything else is what came out, good or bad. The home's own journal is left alone.
"""  # noqa: INP001 - a script beside its page, not a package

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

from runtime.base.home import find_home
from runtime.base.progress import bar
from runtime.base.settings import Settings
from runtime.bundle.generations import current_bundle
from runtime.desk.desk import Desk
from runtime.engine.core.options import EngineOptions
from runtime.engine.llama.engine import LlamaEngine
from runtime.events import AskRequest, Done, Failed, Understood
from runtime.journal.journal import Journal
from runtime.retrieval.retriever import Retriever

PAGE = Path(__file__).parent / "tutorial" / "two-conversations.md"
HEAD = """# Two conversations

`docs/conversations.py` ran twelve turns in each language with the demo's bundle. Below each answer are the intent and
emotion of the message, what made the answer (`decided`, see [the policy](../reference/policy.md#the-order)), and the
sections it cites. The model has 135 million parameters, so most answers are sentences of the articles. It writes
English only, so Chinese questions are answered with a section of an article. Mistakes are left in.
"""
CUSTOMERS = {
    "English": (
        "Hello, I bought a lamp from you two weeks ago. How long do I have to return it?",
        "And does the day it was delivered count?",
        "It was a present for my sister. Can she give it back herself?",
        "My order number is NL-482913. How much does standard delivery cost if I order a new one?",
        "And how much is express delivery?",
        "This is ridiculous, my last express parcel came a day late! Do I get the fee back?",
        "Sorry, I don't understand. Until when can things bought before Christmas go back?",
        "Can I pay in instalments?",
        "What does the Brio K17 kettle cost?",
        "How do I get the limescale out of it?",
        "Do you also sell garden furniture?",
        "Then I would like to speak to a person, please.",
    ),
    "中文": (
        "你好，我两周前买了一盏灯，多久之内可以退货？",
        "送到的那天也算吗？",
        "这是送给我姐姐的礼物，她可以自己来退吗？",
        "我的订单号是NL-482913。再买一个的话，标准配送要多少钱？",
        "那加急配送呢？",
        "太过分了，上次的加急包裹晚了一天！运费能退吗？",
        "不好意思，我没看懂。圣诞节前买的东西最晚什么时候可以退？",
        "可以分期付款吗？",
        "Brio K17电水壶多少钱？",
        "它的水垢怎么清除？",
        "你们卖花园家具吗？",
        "那请帮我转人工。",
    ),
}


def held(desk: Desk, questions: tuple[str, ...]) -> list[str]:
    """One conversation as Markdown, a turn a paragraph."""
    out: list[str] = []
    conversation: str | None = None
    with bar("asking", len(questions), unit="questions") as advance:
        for number, question in enumerate(questions, start=1):
            understood = Understood()
            for event in desk.ask(AskRequest(question=question, conversation=conversation), threading.Event()):
                if isinstance(event, Failed):
                    raise event.exception()
                if isinstance(event, Understood):
                    understood = event
                if isinstance(event, Done):
                    out += told(number, question, understood, event)
                conversation = getattr(event, "conversation", conversation)
            advance(1)
    return out


def told(number: int, question: str, understood: Understood, done: Done) -> list[str]:
    """A turn as Markdown lines."""
    labels = [
        f"{kind} {label} ({confidence})"
        for kind, label, confidence in (
            ("intent", understood.intent, understood.intent_confidence),
            ("emotion", understood.emotion, understood.emotion_confidence),
        )
        if label
    ]
    cited = ", ".join(f"`{one.article}#{one.section}`" for one in done.citations)
    notes = [*labels, f"decided `{done.decided}`", *([f"hand-off `{done.handoff}`"] if done.handoff else [])]
    notes += [f"marked: {'; '.join(done.unsupported)}"] if done.unsupported else []
    notes += [f"cites {cited}"] if cited else []
    answer = "\n".join(f"> {line}" for line in done.answer.splitlines())
    return [f"**{number}. {question}**", "", answer, "", f"_{' · '.join(notes)}_", ""]


def main() -> None:
    """Hold both conversations and write the page."""
    bundle = current_bundle(find_home())
    settings = Settings()
    with (
        tempfile.TemporaryDirectory() as folder,
        Journal(Path(folder) / "journal.sqlite") as journal,
        Retriever.open(bundle, Path(folder) / "index", threads=settings.threads) as retriever,
        LlamaEngine(
            EngineOptions(bundle.model_path, context_tokens=bundle.prompt.context_tokens, threads=settings.threads)
        ) as engine,
    ):
        desk = Desk(bundle, engine, retriever, journal, settings)
        lines = [HEAD]
        for title, questions in CUSTOMERS.items():
            lines += [f"## {title}", "", *held(desk, questions)]
    PAGE.write_text("\n".join(lines), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
