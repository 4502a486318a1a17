"""The company's input, gathered: articles, prompt, policy and records in one place, each in the project's own form.

Knows the recipe's `[data]` and nothing of models.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from distill.data.cleaning.contradictions import reply_step
from distill.data.cleaning.conversations import conversation_steps
from distill.data.conversation import RawConversation
from distill.data.enlarging.article_questions import MAX_PER_SECTION, article_conversations
from distill.data.enlarging.unanswerable import unanswerable_conversations
from distill.data.importers.account import FileAccount
from distill.data.importers.articles import write_article
from distill.data.importers.documents import read_documents
from distill.data.importers.faq import FAQ_PREFIX, faq_records, import_faq
from distill.data.importers.transcripts import read_transcripts
from distill.data.prepare import Preparation, prepare
from distill.data.simulate import simulate
from distill.data.splits import split_name, time_cutoffs
from distill.data.steps import Dropped, Step
from distill.data.training_split import TrainingShape
from distill.recipe.recipe import Data, Recipe
from runtime.base.files import read_text, sha256_file
from runtime.base.jsonl import read_rows, write_rows
from runtime.desk.policy import read_policy
from runtime.errors import InputError
from runtime.prompting.prompt_spec import ChatPieces, PromptSpec
from runtime.retrieval.past_questions import ASKED_FILE, select_past_questions
from runtime.text.articles import Article, Section, load_articles
from runtime.text.personal_data import NO_RULES, PersonalRules
from runtime.text.records import Question, Record, Turn
from runtime.text.shown_lines import shown_text
from runtime.text.tokens import BM25


class GeneralConversation(BaseModel):
    """A general conversation."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    messages: tuple[Turn, ...]
    lang: str = "en"


HELD_OUT = "questions"
"""The folder of held-out questions in the stage `records`."""


def hash_data(data: Data, part: Literal["articles", "prompt", "records"]) -> dict[str, Any]:
    """Hashes of the files, and the settings, that a stage rests on; articles reach the records by their own stage."""
    paths = {
        "articles": [*data.articles.values(), *([data.faq.folder] if data.faq else [])],
        "prompt": [*data.house_rules.values(), *data.policy.values()],
        "records": [
            *data.policy.values(),
            *(transcripts.path for transcripts in data.transcripts),
            *(data.simulate.folders if data.simulate else ()),
            *([data.faq.folder] if data.faq else []),
            *([data.feedback] if data.feedback else []),
        ],
    }[part]
    files = sorted(
        {file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()}
    )
    keys = {
        "articles": {"articles", "faq"},
        "prompt": {"house_rules", "policy"},
        "records": {"policy", "transcripts", "simulate", "faq", "article_questions", "seed", "split", "leaks"}
        | {"near_duplicates", "balance"}
        | {"feedback"},
    }[part]
    settings = data.model_dump(mode="json", include=keys)
    return {"settings": settings, "files": {str(file): sha256_file(file) for file in files}}


def gather_articles(data: Data, out: Path) -> dict[str, Any]:
    """Write every article as `out/<lang>/*.md`, the form of `runtime.text.articles`."""
    shared = Counter(data.articles.values())
    for lang, source in data.articles.items():
        for article in read_documents(source, lang="" if shared[source] > 1 else lang):
            # One folder named for several languages: each takes what is written in it.
            if shared[source] == 1 or article.lang == lang:
                write_article(out / lang, article)
    if data.faq:
        import_faq(data.faq.folder, out)
    articles = load_articles(out)
    return {
        "articles": {lang: sum(a.lang == lang for a in articles) for lang in sorted({a.lang for a in articles})},
        "sections": sum(len(a.sections) for a in articles),
    }


def make_prompt(recipe: Recipe, pieces: ChatPieces) -> PromptSpec:
    """The prompt of the bundle: the model's chat pieces, the company's house rules and refusals."""
    rules = {lang: shown_text(read_text(path), str(path)).strip() for lang, path in recipe.data.house_rules.items()}
    refusal = {lang: read_policy(path).refusal.text for lang, path in recipe.data.policy.items()}
    if missing := [lang for lang in recipe.languages if lang not in rules or lang not in refusal]:
        raise InputError(
            f"no house rules or no policy for language '{missing[0]}'",
            where="[data]",
            hint="give house_rules and policy for every language the model is to write",
        )
    order = [*recipe.languages, *(lang for lang in rules if lang not in recipe.languages)]
    return PromptSpec(
        pieces=pieces,
        system={lang: rules[lang] for lang in order},
        refusal=refusal,
        languages=recipe.languages,
        articles=recipe.prompt.articles,
        context_tokens=recipe.prompt.context_tokens,
        answer_tokens=recipe.prompt.answer_tokens,
        layout=recipe.layout,
        min_agreement=recipe.prompt.min_agreement,
    )


def make_records(recipe: Recipe, articles: Path, out: Path) -> dict[str, Any]:
    """Read, simulate, redact, link and split everything into records; returns the report.

    An FAQ's held-out questions go into `out/questions/<lang>.jsonl`: next to the records, because one and the same
    choice decides what is asked later and what is never trained on, and out of reach of a bundle, which takes articles.
    """
    loaded = load_articles(articles)
    public = "\n".join(section.text for article in loaded for section in article.sections)
    policies = [read_policy(path).personal for path in recipe.data.policy.values()]
    accounts = [FileAccount() for _ in recipe.data.transcripts]
    cutoffs = None
    if recipe.data.split == "time":
        read = _conversations(recipe, loaded, [FileAccount() for _ in accounts])
        cutoffs = time_cutoffs(each.time for each in read if isinstance(each, RawConversation))
    report = prepare(
        _conversations(recipe, loaded, accounts),
        out,
        how=Preparation(
            seed=recipe.data.seed,
            link=evidence_linker(loaded),
            public=public,
            rules=functools.reduce(PersonalRules.__or__, policies, NO_RULES),
            cutoffs=cutoffs,
            conversation_steps=tuple(map(_of_transcripts, conversation_steps())),
            record_steps=(_of_transcripts(reply_step(loaded, date.today())),),  # noqa: DTZ011 - the local day
            engine=recipe.data.engine,
            training=TrainingShape(recipe.data.near_duplicates == "drop", **recipe.data.balance.model_dump()),
            keep_leaks=recipe.data.leaks == "fail",
        ),
        accounts=accounts,
        title=f"{recipe.name} {recipe.version}",
    )
    if report["by_split"]["train"]:
        write_rows(out / ASKED_FILE, select_past_questions(read_rows(Record, out / "train.jsonl")))
    held_out = {lang: questions for lang, (_, questions) in _faq(recipe.data, loaded).items()}
    test = read_rows(Record, out / "test.jsonl") if report["by_split"]["test"] else ()
    for lang, questions in _article_questions(test).items():
        held_out.setdefault(lang, []).extend(questions)
    for lang, questions in held_out.items():
        if questions:
            write_rows(out / HELD_OUT / f"{lang}.jsonl", questions)
    return {
        name: report[name]
        for name in ("conversations", "read", "made", "kept", "duplicates", "by_split", "not_answerable")
    } | {
        "refused": report["refused_count"],
        "redactions": report["redactions"],
    }


def _conversations(
    recipe: Recipe, articles: Sequence[Article], accounts: Sequence[FileAccount]
) -> Iterator[RawConversation | InputError]:
    data = recipe.data
    for transcripts, account in zip(data.transcripts, accounts, strict=True):
        account.sha256 = sha256_file(transcripts.path)
        yield from read_transcripts(transcripts, account)
    for lang, (conversations, _) in _faq(data, articles).items():
        if lang in recipe.languages:
            yield from conversations
    yield from _article_conversations(recipe, articles)
    if data.simulate:
        count, folders = data.simulate.conversations, data.simulate.folders
        for index, folder in enumerate(folders):
            share = count // len(folders) + (index < count % len(folders))
            yield from simulate(folder, conversations=share, seed=data.simulate.seed)


_Item = TypeVar("_Item", RawConversation, Record)


def _of_transcripts(step: Step[_Item]) -> Step[_Item]:
    """The step for what people wrote; articles and simulations need no cleaning."""

    def run(item: _Item) -> _Item | Dropped:
        return step.run(item) if item.source in ("transcript", "journal") else item

    return Step(step.name, run)


def _article_conversations(recipe: Recipe, articles: Sequence[Article]) -> list[RawConversation]:
    """Questions that rules make of the articles, with the articles' own sentences as replies."""
    data = recipe.data
    most = data.article_questions
    if most is None:
        most = 0 if data.transcripts or data.faq or data.simulate else MAX_PER_SECTION
    if not most:
        return []
    made = list(article_conversations(articles, languages=recipe.languages, most=most))
    for lang in recipe.languages:
        answerable = sum(each.lang == lang for each in made)
        refusal = read_policy(data.policy[lang]).refusal.text if lang in data.policy else ""
        if refusal:  # a model that is only ever asked what it can answer learns to answer everything
            made += unanswerable_conversations(articles, lang, answerable, refusal, seed=data.seed)
    return made


def _article_questions(test: Iterable[Record]) -> dict[str, list[Question]]:
    """The first question of every section that is held out, with the figures of its answer as facts, by language."""
    asked: dict[str, dict[str, Question]] = {}
    for record in test:
        name = split_name(record.conversation)
        if record.source != "article" or name == record.conversation or name in asked.setdefault(record.lang, {}):
            continue
        figures = dict.fromkeys(re.findall(r"\d+(?:[.,]\d+)*", record.response))
        asked[record.lang][name] = Question(
            id=record.conversation,
            lang=record.lang,
            question=record.query,
            article=record.evidence[0].split("#")[0] if record.evidence else None,
            evidence=record.evidence,
            facts=tuple((figure,) for figure in figures),
        )
    return {lang: list(questions.values()) for lang, questions in asked.items()}


def _faq(data: Data, articles: Sequence[Article]) -> dict[str, tuple[list[RawConversation], list[Question]]]:
    """Training conversations and held-out questions of the FAQ's articles, by language."""
    entries = [article for article in articles if data.faq and article.id.startswith(FAQ_PREFIX)]
    return {
        lang: faq_records([article for article in entries if article.lang == lang])
        for lang in sorted({article.lang for article in entries})
    }


@dataclass(frozen=True)
class EvidenceLinker:
    """Best section for a text by shared words: what a transcript without evidence is taken to rest on.

    Workers get the sections and make the index themselves.
    """

    sections: tuple[Section, ...]

    @functools.cached_property
    def _index(self) -> BM25:
        return BM25([f"{s.title} {s.heading} {s.text}" for s in self.sections])

    def __getstate__(self) -> dict[str, Any]:
        return {"sections": self.sections}

    def __call__(self, text: str) -> str | None:
        """The reference of the section, or None where no word is shared."""
        if not self.sections:
            return None
        scores = self._index.scores(text)
        best = int(scores.argmax())
        return self.sections[best].ref if scores[best] > 0 else None


def evidence_linker(articles: Sequence[Article]) -> EvidenceLinker:
    """The linker of these articles' sections."""
    return EvidenceLinker(tuple(section for article in articles for section in article.sections))


def neighbour_finder(sections: Mapping[str, Section], count: int = 8) -> Callable[[str], list[str]]:
    """For a section, those that share most words with it: what retrieval shows with it."""
    refs = list(sections)
    index = BM25([f"{s.title} {s.heading} {s.text}" for s in sections.values()])
    near: dict[str, list[str]] = {}

    def find(ref: str) -> list[str]:
        if ref not in near:
            section = sections[ref]
            scores = index.scores(f"{section.title} {section.heading} {section.text}")
            near[ref] = [refs[i] for i in (-scores).argsort()[: count + 1] if refs[i] != ref][:count]
        return near[ref]

    return find


def sections_by_ref(articles: Path, lang: str) -> dict[str, Section]:
    """Sections of one language by reference."""
    return {s.ref: s for article in load_articles(articles) if article.lang == lang for s in article.sections}


def read_split(records: Path, split: str, lang: str) -> list[Record]:
    """Records of one split in one language; none when the split is empty."""
    path = records / f"{split}.jsonl"
    return [record for record in read_rows(Record, path) if record.lang == lang] if path.stat().st_size else []


def read_replay(path: Path, languages: Sequence[str]) -> list[Record]:
    """General conversations as records without evidence, one for every reply; `InputError` with file and line."""
    out = []
    for number, row in enumerate(read_rows(GeneralConversation, path), start=1):
        if row.lang not in languages:
            continue
        for place, turn in enumerate(row.messages):
            if turn.role != "assistant" or not place or row.messages[place - 1].role != "user":
                continue
            out.append(
                Record(
                    id=f"replay/{number}/{place}",
                    conversation=f"replay/{number}",
                    turn=place,
                    lang=row.lang,
                    context=row.messages[: place - 1],
                    query=row.messages[place - 1].content,
                    response=turn.content,
                    source="transcript",
                    split="train",
                )
            )
    if not out:
        raise InputError("no general conversation in it", where=str(path), hint='rows of {"messages": …, "lang": "en"}')
    return out


def copy_policies(recipe: Recipe, out: Path) -> None:
    """`policy.<lang>.toml` of every language and `policy.toml` of the first, checked before they travel."""
    for lang, path in recipe.data.policy.items():
        read_policy(path)
        shutil.copyfile(path, out / f"policy.{lang}.toml")
        if lang == recipe.languages[0]:
            shutil.copyfile(path, out / "policy.toml")
