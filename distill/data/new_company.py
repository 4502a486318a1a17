"""Recipe, house rules, policy and proposed questions for a company that brings articles alone.

Promises: nothing that is there already is overwritten; the recipe it writes builds as it is. Of models it knows only
that the catalogue's writes English.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from distill.data.enlarging.article_questions import questions_of_articles
from distill.data.importers.documents import read_documents
from runtime.base.files import write_atomic
from runtime.base.jsonl import write_rows
from runtime.errors import InputError, UsageError
from runtime.text.languages import TOLD_LANGUAGES
from runtime.text.records import Question

_REFUSAL = {
    "en": "I can't find that in our articles. Shall I hand you over to a colleague?",
    "zh": "我在资料里没有找到。需要我为您转接同事吗？",
}
_RULES = {
    "en": "You answer customers' questions. Answer only from the articles below, in one to three short sentences, with "
    "their exact figures. If they hold no answer, say: {refusal}",
    "zh": "你回答顾客的问题。只根据下面的资料回答，用一到三句话，数字要准确。资料里没有答案时，请说：{refusal}",
}
_ASKS = {
    "en": '"human agent", "real person", "speak to someone", "talk to a person"',
    "zh": '"人工", "转人工", "找真人", "人工客服"',
}
_RECIPE = """# Written by `edgedesk init`: a model of articles alone. Every key: docs/reference/recipe.md
#   edgedesk build {file}

name = "{name}"
version = "0.1.0"
languages = [{languages}]{note}

[data]
articles = {{ {articles} }}
house_rules = {{ {house_rules} }}
policy = {{ {policy} }}
# Records are questions that rules make of the articles. Add [[data.transcripts]] when there are some.
article_questions = {questions}

[prompt]
articles = 2
min_agreement = 0.8         # a small model often picks the wrong sentence: what the articles say is shown instead

[packing]
records = 6
tokens = 1600

# No [student]: the base is tuned as it is. A company with a larger base adds [student] and [capture].

[lora]
rank = 16
learning_rate = 5e-4
packs = 24

[quantize]
formats = ["q4_k_m"]
default = "q4_k_m"
onnx = false

[evaluate]
packs = 2
questions = 12
"""
PROPOSED = 12
"""Questions a section that the recipe asks for."""


class NewCompany(BaseModel):
    """What was written, and what the articles hold, by language."""

    model_config = ConfigDict(frozen=True)

    files: tuple[Path, ...]
    """The recipe first, the proposed questions last."""
    articles: dict[str, int]
    sections: dict[str, int]
    questions: dict[str, int]


def write_company(folder: Path, out: Path, *, name: str = "") -> NewCompany:
    """Write recipe.toml and what it names into `out`; `InputError` or `UsageError` before anything is written."""
    found = read_documents(folder)
    articles = Counter(article.lang for article in found)
    if strange := sorted(set(articles) - set(TOLD_LANGUAGES)):
        raise InputError(
            f"articles in '{strange[0]}', which no model here answers in",
            where=str(folder),
            hint="articles are answered in English and Chinese; move the others out of the folder",
        )
    languages = [lang for lang, _ in articles.most_common()]
    # The catalogue's model writes English alone; Chinese questions are answered with the section itself.
    written = [lang for lang in languages if lang == "en"] or languages[:1]
    name = name or re.sub(r"[^a-z0-9.-]+", "-", folder.resolve().name.lower()).strip("-.") or "our-articles"
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,99}", name):
        raise UsageError(f"name '{name}'", where="--name", hint="small letters, digits, '.' and '-'")
    texts = {out / "recipe.toml": _recipe(folder, out, name, languages, written)}
    for lang in languages:
        texts[out / f"house-rules.{lang}.md"] = _RULES[lang].format(refusal=_REFUSAL[lang]) + "\n"
        texts[out / f"policy.{lang}.toml"] = (
            f'[refusal]\ntext = "{_REFUSAL[lang]}"\n\n[hand_off]\nasks_for_person = [{_ASKS[lang]}]\n'
        )
    proposed = out / "questions-proposed.jsonl"
    if there := [path for path in (*texts, proposed) if path.exists()]:
        raise UsageError("it is there already", where=str(there[0]), hint="give another folder: --out")
    pairs = questions_of_articles(found, most=PROPOSED)
    for path, text in texts.items():
        write_atomic(path, text)
    write_rows(
        proposed,
        (
            Question(
                lang=pair.section.lang,
                question=pair.question,
                article=pair.section.article,
                evidence=pair.evidence,
                reference=pair.reply,
            )
            for pair in pairs
        ),
    )
    return NewCompany(
        files=(*texts, proposed),
        articles=dict(articles),
        sections={lang: sum(len(each.sections) for each in found if each.lang == lang) for lang in languages},
        questions=dict(Counter(pair.section.lang for pair in pairs)),
    )


def _recipe(folder: Path, out: Path, name: str, languages: list[str], written: list[str]) -> str:
    source = os.path.relpath(folder.resolve(), out.resolve())
    quoted = '"' + source.replace("\\", "\\\\").replace('"', '\\"') + '"'
    note = "" if languages == written else "          # in the others the section itself is the answer"
    return _RECIPE.format(
        file=out / "recipe.toml",
        name=name,
        languages=", ".join(f'"{lang}"' for lang in written),
        note=note,
        articles=", ".join(f"{lang} = {quoted}" for lang in languages),
        house_rules=", ".join(f'{lang} = "house-rules.{lang}.md"' for lang in languages),
        policy=", ".join(f'{lang} = "policy.{lang}.toml"' for lang in languages),
        questions=PROPOSED,
    )
