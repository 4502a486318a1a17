"""Claim: compiled articles take a quarter of f16 on disk, load in 0.12 s, and the model finds the same facts in them.

Size and time: three articles of 270 tokens with keys and values of Llama 3.2 3B's shape (28 layers, 8 heads of 128), as
packs on disk, each round from a newly opened store, so that checksums count; the file cache is warm. Loss: questions
about the shop's sections, each behind three sections, read once with their keys and values in f16 and once through
each coding; the reply, a sentence of the section, is read word by word. A fact is found where each of its tokens is the
likeliest, given the reply so far. "noise" is f16 once more with the sections in other places of the memory, which
changes nothing but the order of additions.

    python benchmarks/packs.py [--model 135m|FILE.gguf] [--lang en|zh] [--layout sequential|parallel] [--questions 320]
                               [--threads 2] [--quick] [--json]

The bars are those of q4, the default. `--only size` or `--only loss` measures one of both.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _harness import SHOP, Bar, Run, begin, in_turns, main, median, model_file, spread
from numpy.typing import NDArray
from shape3b import LLAMA_3B, small_model

from distill.teacher.teacher_forcing import FIGURE
from runtime.base.progress import bar
from runtime.engine.core.composition import KvKey
from runtime.engine.core.options import ArticleCoding
from runtime.engine.llama.article_packs import ArticlePacks
from runtime.engine.llama.kv_store import KvStore, usage
from runtime.engine.llama.model import LlamaModel, Row
from runtime.engine.llama.pack_coding import CODINGS, encode, expand
from runtime.evaluation.answers import load_questions
from runtime.prompting.prompt_spec import section_text
from runtime.prompting.prompt_tokens import Layout
from runtime.text.articles import Section, load_articles
from runtime.text.sentences import sentences

BARS = {
    "q4: share of f16": Bar(most=0.25),
    "q5: share of f16": Bar(most=0.5),
    "q4: three articles load in s": Bar(most=0.12),
    "q4: facts lost, points": Bar(most=1.0),
}
ARTICLES, ARTICLE_TOKENS, SHOWN, READ = 3, 270, 3, 128
F16: ArticleCoding = "f16"
State = NDArray[np.uint8]


def read(model: LlamaModel, tokens: Sequence[int], start: int, sequence: int) -> None:
    """Read tokens into a sequence, in the engine's batches."""
    for at in range(0, len(tokens), READ):
        part = tokens[at : at + READ]
        model.decode([Row(token, start + at + n, sequence, n == len(part) - 1) for n, token in enumerate(part)])


def compiled(model: LlamaModel, system: State, size: int, article: Sequence[int]) -> State:
    """An article's state, read after the system text of `size` tokens."""
    model.clear()
    if not model.load(0, system):
        raise RuntimeError("the system text was not loaded")
    read(model, article, size, 0)
    model.remove(0, 0, size)
    return model.save(0)


# Size and time.


def size_and_time(run: Run) -> None:
    """Packs of a 3B model's shape: bytes, and how long three take to be read, expanded and loaded."""
    options = run.options
    rounds = 3 if options.quick else options.rounds or 9
    with tempfile.TemporaryDirectory() as scratch, _opened(small_model(), options.threads) as model:
        vocabulary = model.vocab.size
        draw = random.Random(5)  # noqa: S311 - tokens of no meaning
        system = [draw.randrange(vocabulary) for _ in range(64)]
        read(model, system, 0, 0)
        prefix = model.save(0)
        states = [
            compiled(model, prefix, len(system), [draw.randrange(vocabulary) for _ in range(ARTICLE_TOKENS)])
            for _ in range(ARTICLES)
        ]
        keys = [KvKey("w", "b", F16, "parallel", "s", str(number)) for number in range(ARTICLES)]
        folders = {coding: Path(scratch) / coding for coding in CODINGS}
        coded_in: dict[str, float] = {}
        for coding, folder in folders.items():
            packs = ArticlePacks(KvStore(folder, 1 << 30), coding, model.rotation(), options.threads)
            began = time.monotonic()
            for key, state in zip(keys, states, strict=True):
                packs.write(key, state)
            packs.close()
            coded_in[coding] = (time.monotonic() - began) / ARTICLES

        def load(coding: ArticleCoding) -> tuple[float, float]:
            """Seconds, and seconds of all processors: these depend less on what else the machine does."""
            model.clear()
            began, computed = time.monotonic(), time.process_time()
            packs = ArticlePacks(KvStore(folders[coding], 1 << 30), coding, None, options.threads)
            for number, key in enumerate(keys):
                state = packs.read(key)
                if state is None or not model.load(number, state):
                    raise RuntimeError(f"a pack in {coding} was not loaded")
            seconds, computed = time.monotonic() - began, time.process_time() - computed
            packs.close()
            return seconds, computed

        times = in_turns(rounds, {coding: lambda _, coding=coding: load(coding) for coding in CODINGS})  # type: ignore[misc]
        run.row("3B shape, 270 tokens", "bytes a token", "three load in", "processor time of it", "one is coded in")
        for coding, folder in folders.items():
            used = usage(folder)
            run.figures[f"{coding}: share of f16"] = used.share
            waited, computed = ([one[place] for one in times[coding]] for place in (0, 1))
            run.figures[f"{coding}: three articles load in s"] = median(waited)
            run.details[f"{coding}: processor s to load three"] = median(computed)
            run.details[f"{coding}: bytes a token"] = used.bytes / (ARTICLES * ARTICLE_TOKENS)
            run.details[f"{coding}: coding an article, s"] = coded_in[coding]
            cells = (f"{used.bytes / (ARTICLES * ARTICLE_TOKENS):,.0f}", spread(waited, " s"), spread(computed, " s"))
            run.row(coding, *cells, f"{coded_in[coding]:.2f} s")


@contextmanager
def _opened(path: Path, threads: int, context_tokens: int = 2048) -> Iterator[LlamaModel]:
    model = LlamaModel(
        path, context_tokens=context_tokens, slots=1, sequences=2 + SHOWN, threads=threads, batch_tokens=512
    )
    with closing(model):
        yield model


# Loss.


@dataclass(frozen=True)
class Asked:
    """A question with its reply, behind three sections."""

    tail: tuple[int, ...]
    """Question and reply."""
    reply: int
    """Where the reply begins in `tail`."""
    facts: tuple[tuple[int, int], ...]
    """From and to before which places of `tail` a fact's tokens stand."""
    shown: tuple[str, ...]
    """References of the sections."""


@dataclass(frozen=True)
class Heard:
    """What a model thought of a reply."""

    logprobs: NDArray[np.float32]
    """[place of the reply, token]"""
    found: int
    """Facts of it that were the likeliest."""


def questions(model: LlamaModel, sections: Mapping[str, Section], lang: str, skip: int, count: int) -> list[Asked]:
    """A question for every sentence with a figure; hand-written where there is one for the section.

    The sections beside the one that answers are its neighbours, which are most like it.
    """
    written: dict[str, list[str]] = {}
    for question in load_questions([str(SHOP / lang / "questions-*.jsonl")], [lang]):
        for ref in question.evidence[:1]:
            written.setdefault(ref, []).append(question.question)
    out, refs = [], list(sections)
    for place, (ref, section) in enumerate(sections.items()):
        wanted = written.get(ref, [])
        for number, sentence in enumerate(one for one in sentences(section.text) if FIGURE.search(one)):
            about = f"{section.title}: {section.heading}?"
            text = wanted[number] if number < len(wanted) else about
            draw = random.Random(f"{ref} {number}")  # noqa: S311 - a draw, no secret
            shown = [refs[(place + step) % len(refs)] for step in range(SHOWN)]
            draw.shuffle(shown)
            out.append(_asked(model, text, sentence, shown))
    return [one for one in out if one.facts][skip : skip + count]


def _asked(model: LlamaModel, question: str, reply: str, shown: Sequence[str]) -> Asked:
    opening = f"<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    head, body = model.vocab.encode(opening, control=True), model.vocab.encode(reply, control=False)
    # Where each token of the reply begins and ends in its text, in bytes: tokens may hold parts of a character.
    ends = np.cumsum([len(model.vocab.piece(token)) for token in body])
    facts = []
    for match in FIGURE.finditer(reply):
        first, last = (len(reply[:at].encode()) for at in match.span())
        begin_at, end_at = int(np.searchsorted(ends, first, "right")), int(np.searchsorted(ends, last, "left")) + 1
        facts.append((len(head) + begin_at, len(head) + min(end_at, len(body))))
    return Asked((*head, *body), len(head), tuple(facts), tuple(shown))


def hear(
    model: LlamaModel,
    system: State,
    size: int,
    states: Sequence[State],
    asked: Asked,
    layout: Layout,
    *,
    elsewhere: bool = False,
) -> Heard:
    """Read question and reply behind sections whose states are loaded; `elsewhere`: in later cells of the memory."""
    model.clear()
    if elsewhere and not model.load(2, states[0]):
        raise RuntimeError("the memory was not filled")
    if not model.load(0, system):
        raise RuntimeError("the system text was not loaded")
    start = size
    for state in states:
        cells = int(state[12:16].view("<u4")[0])
        if not model.load(1, state):
            raise RuntimeError("an article was not loaded")
        if layout == "sequential":
            model.shift(1, start - size)
            start += cells
        else:
            start = max(start, size + cells)
        model.copy(1, 0)
        model.remove(1)
    tail = asked.tail
    model.decode([Row(token, start + n, 0, n >= asked.reply - 1) for n, token in enumerate(tail)])
    rows = np.stack([model.logits(n) for n in range(asked.reply - 1, len(tail) - 1)])
    rows -= rows.max(axis=1, keepdims=True)
    logprobs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    right = logprobs.argmax(axis=1) == np.array(tail[asked.reply :])
    found = sum(bool(right[first - asked.reply : end - asked.reply].all()) for first, end in asked.facts)
    return Heard(logprobs, found)


def loss(run: Run) -> None:
    """KL and facts of every coding against f16."""
    options = run.options
    layout: Layout = options.layout
    codings = tuple(coding for coding in CODINGS if coding in (F16, *options.codings))
    count = 24 if options.quick else options.questions
    articles = load_articles(SHOP / options.lang / "articles")
    sections = {section.ref: section for article in articles for section in article.sections}
    with _opened(model_file(options.model), options.threads) as model:
        rules = (SHOP / options.lang / "house-rules.md").read_text(encoding="utf-8")
        system = model.vocab.encode(f"<|im_start|>system\n{rules}\n\n", control=True)
        asked = questions(model, sections, options.lang, options.skip, count)
        model.clear()
        read(model, system, 0, 0)
        prefix = model.save(0)
        rotation = model.rotation()
        shown = sorted({ref for one in asked for ref in one.shown})
        states: dict[str, dict[ArticleCoding, State]] = {}
        with bar("compiling sections", len(shown)) as advance:
            for ref in shown:
                text = section_text(sections[ref])
                state = compiled(model, prefix, len(system), model.vocab.encode(text, control=False))
                states[ref] = {coding: expand(encode(state, coding, rotation)) for coding in codings}
                advance(1)
        found = dict.fromkeys((*codings, "noise"), 0)
        divergence: dict[str, list[float]] = {name: [] for name in found}
        same: dict[str, list[float]] = {name: [] for name in found}
        with bar("asking", len(asked)) as advance:
            for one in asked:
                ours = {coding: [states[ref][coding] for ref in one.shown] for coding in codings}
                plain = hear(model, prefix, len(system), ours[F16], one, layout)
                heard: dict[str, Heard] = {F16: plain}
                for coding in codings[1:]:
                    heard[coding] = hear(model, prefix, len(system), ours[coding], one, layout)
                heard["noise"] = hear(model, prefix, len(system), ours[F16], one, layout, elsewhere=True)
                for name, other in heard.items():
                    found[name] += other.found
                    rows = np.exp(plain.logprobs) * (plain.logprobs - other.logprobs)
                    divergence[name] += rows.sum(axis=1).tolist()
                    agree = plain.logprobs.argmax(axis=1) == other.logprobs.argmax(axis=1)
                    same[name] += agree.astype(float).tolist()
                advance(1)
    total = sum(len(one.facts) for one in asked)
    run.details |= {"questions": len(asked), "facts": total, "layout": layout, "lang": options.lang}
    run.row(f"{len(asked)} questions, {total} facts", "facts found", "KL to f16, mean (p99)", "same likeliest token")
    for name in found:
        rows = divergence[name]
        run.details[f"{name}: facts found"] = found[name] / total
        run.details[f"{name}: same likeliest token"] = float(np.mean(same[name]))
        if name != F16:
            run.figures[f"{name}: KL, nats"] = float(np.mean(rows))
            run.figures[f"{name}: facts lost, points"] = 100 * (found[F16] - found[name]) / total
        kl = f"{np.mean(rows):.5f} ({np.quantile(rows, 0.99):.3f})"
        run.row(name, f"{found[name] / total:.4f}", kl, f"{np.mean(same[name]):.4f}")


def work(run: Run) -> None:
    """Both parts, or the one asked for."""
    if run.options.only in (None, "size"):
        size_and_time(run)
    if run.options.only in (None, "loss"):
        loss(run)
    run.details["shape"] = LLAMA_3B._asdict()


def more_options(parser: argparse.ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--lang", default="en", choices=["en", "zh"], help="the shop's language; SmolLM2 knows English")
    parser.add_argument("--layout", default="sequential", choices=["sequential", "parallel"], help="to read in")
    parser.add_argument("--questions", type=int, default=320)
    parser.add_argument("--codings", nargs="+", default=CODINGS, choices=CODINGS, help="beside f16")
    parser.add_argument("--skip", type=int, default=0, help="questions to leave out: for several sittings")
    parser.add_argument("--only", choices=["size", "loss"], help="one of the two parts")


if __name__ == "__main__":
    raise SystemExit(main(begin("packs", __doc__, BARS, more_options), work))
