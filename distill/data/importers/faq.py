"""Brings an FAQ, kept as YAML texts and an HTML page that orders them, into articles, conversations and questions.

Promises: ids and anchors are equal in all languages; an entry that is held out is never trained on. Knows nothing of
transcripts' forms and of training.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from distill.data.conversation import RawConversation, RawTurn
from distill.data.importers.articles import write_article
from runtime.base.files import read_text
from runtime.errors import InputError, MissingError
from runtime.text.articles import Article, Section
from runtime.text.records import Question

FAQ_PREFIX = "faq-"
"""What the id of an article out of an FAQ begins with."""
HELD_OUT_EVERY = 5
"""Every so many FAQ entries are kept out of training, so that their questions can be asked later."""
MAX_ANSWER_CHARS = {"en": 320, "zh": 130}
"""First sentences of an entry that make an answer, at most so long."""

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_TRANSLATE = re.compile(r"\{%\s*translate\s+([\w-]+)(?:\s+[\w.-]+)?\s*%\}")
_BLOCK = re.compile(r"<h2[^>]*>(.*?)</h2>|<h3[^>]*>(.*?)</h3>|<(p|li)>(.*?)</\3>", re.DOTALL)
_SENTENCE = re.compile(r"[^。！？]*[。！？]+[”」）]*|.+?(?:[.!?]+[\"”)]*(?=\s+[A-Z\"“(]|\s*$)|$)", re.DOTALL)


@dataclass(frozen=True)
class FaqEntry:
    """One question of an FAQ: the keys of its texts, the same in every language."""

    block: str
    key: str
    texts: tuple[tuple[str, bool], ...]
    """(key, whether it is a list item), in reading order."""


def faq_entries(page: str) -> list[FaqEntry]:
    """The questions of an FAQ's HTML page with the keys of their texts: h2 opens a block, h3 a question."""
    entries: list[FaqEntry] = []
    block = ""
    for match in _BLOCK.finditer(_COMMENT.sub("", page)):
        heading, question, tag, body = match.groups()
        keys = _TRANSLATE.findall(heading or question or body or "")
        if not keys:
            continue
        if heading is not None:
            block = keys[0]
        elif question is not None:
            entries.append(FaqEntry(block, keys[-1], ()))
        elif entries:
            last = entries[-1]
            entries[-1] = FaqEntry(last.block, last.key, (*last.texts, *((key, tag == "li") for key in keys)))
    return [entry for entry in entries if entry.texts]


def import_faq(folder: Path, out: Path) -> dict[str, list[Article]]:
    """Write the FAQ in `folder` (faq.html; en.yml, zh_CN.yml …) as `out/<lang>/faq-<block>.md`.

    Returns the articles by language: one a block, in it one section a question. An entry that a language lacks is an
    `InputError` naming file and key.
    """
    entries = faq_entries(read_text(folder / "faq.html"))
    if not entries:
        raise InputError("no question found", where=str(folder / "faq.html"), hint="<h3> and {% translate key %}")
    files = sorted(folder.glob("*.yml"))
    if not files:
        raise MissingError("no translation (*.yml)", where=str(folder), hint="put en.yml and so on next to faq.html")
    articles: dict[str, list[Article]] = {}
    for file in files:
        lang = file.stem.split("_")[0].lower()
        articles[lang] = _faq_articles(entries, _faq_texts(file), lang, file)
        for article in articles[lang]:
            write_article(out / lang, article)
    return articles


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="an alias (*name) is not allowed", problem_mark=mark)
        return super().compose_node(parent, index)


def _faq_texts(file: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(read_text(file), _PlainLoader)  # noqa: S506 - a SafeLoader with less
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError("not YAML", where=f"{file}:{mark.line + 1 if mark else 1}", hint=str(error)) from None
    root = next(iter(tree.values()), None) if isinstance(tree, dict) else None
    texts = root.get("faq") if isinstance(root, dict) else None
    if not isinstance(texts, dict):
        raise InputError("no 'faq:' below the language", where=str(file), hint="en: / faq: / key: text")
    return texts


def _faq_articles(entries: Sequence[FaqEntry], texts: dict[str, Any], lang: str, file: Path) -> list[Article]:
    def text(key: str) -> str:
        if not isinstance(texts.get(key), str):
            raise InputError(f"'{key}' is missing", where=str(file), hint="every language needs every key of faq.html")
        return plain_text(texts[key])

    articles = []
    for block in dict.fromkeys(entry.block for entry in entries):
        identity, title = f"{FAQ_PREFIX}{block}", text(block)
        sections = tuple(
            Section(
                identity,
                entry.key,
                title,
                text(entry.key),
                "\n".join(f"- {text(key)}" if item else text(key) for key, item in entry.texts),
                lang,
            )
            for entry in entries
            if entry.block == block
        )
        articles.append(Article(identity, title, lang, sections, topic="faq"))
    return articles


def plain_text(fragment: str) -> str:
    """HTML without its comments and tags, entities resolved, blanks as one.

    A tag between Chinese letters leaves no gap.
    """
    shown = re.sub(r"</?[A-Za-z][^<>]{0,1000}>", "", _COMMENT.sub("", fragment))
    return re.sub(r"\s+", " ", html.unescape(shown)).strip()


def first_sentences(text: str, lang: str) -> str:
    """Whole sentences from the beginning, as many as fit `MAX_ANSWER_CHARS`; one at least."""
    limit = MAX_ANSWER_CHARS.get(lang, MAX_ANSWER_CHARS["en"])
    answer = ""
    for sentence in _SENTENCE.findall(re.sub(r"\s*\n-?\s*", " ", text.removeprefix("- "))):
        if answer and len(answer) + len(sentence) > limit:
            break
        answer += sentence
    return answer.strip()


def faq_records(articles: Iterable[Article]) -> tuple[list[RawConversation], list[Question]]:
    """Training conversations, and held-out questions, of an FAQ whose headings are questions.

    Every fifth entry is never trained on; its heading is the held-out question, its evidence the section, its facts
    the figures in the first sentences of its answer. Those without a figure measure retrieval only.
    """
    conversations: list[RawConversation] = []
    questions: list[Question] = []
    sections = [section for article in articles for section in article.sections]
    for number, section in enumerate(sections):
        answer = first_sentences(section.text, section.lang)
        name = f"{section.article}-{section.anchor}-{section.lang}"
        if number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1:
            figures = tuple((figure,) for figure in dict.fromkeys(re.findall(r"\d+(?:[.,]\d+)*", answer)))
            questions.append(
                Question(
                    id=name,
                    lang=section.lang,
                    question=section.heading,
                    article=section.article,
                    evidence=(section.ref,),
                    facts=figures,
                )
            )
            continue
        turns = (
            RawTurn(role="user", content=section.heading, evidence=(section.ref,)),
            RawTurn(role="assistant", content=answer),
        )
        conversations.append(RawConversation(conversation=name, lang=section.lang, turns=turns, source="article"))
    return conversations, questions
