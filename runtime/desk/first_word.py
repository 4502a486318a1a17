"""Predicts how long an agent waits for the first word on this machine, from what its engine and encoder do in a moment.

The wait is the search and then the reading of whatever is not in memory: the question alone where its articles are
compiled, the articles as well where they are not. Both lengths are taken from the bundle's own questions and articles,
and read once each on this machine. Knows nothing of how busy the branch will be.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.bundle.bundle import Bundle
from runtime.desk.compile_articles import hot_sections_first
from runtime.engine.core.interface import TextEngine
from runtime.engine.core.sampling_params import SamplingParams
from runtime.errors import MissingError
from runtime.prompting.encode import encode_parts
from runtime.prompting.prompt_spec import layout
from runtime.prompting.prompt_tokens import Prompt
from runtime.retrieval.past_questions import read_past_questions
from runtime.text.articles import Section

SPARE_TOKENS = 16
"""Kept of the context for what is written."""


@dataclass(frozen=True)
class FirstWordPrediction:
    """Seconds and what they rest on."""

    question_tokens: int
    """Read for every question."""
    article_tokens: int
    """Read as well where the articles are not compiled."""
    search_s: float
    question_s: float
    """Reading the question alone, up to the first token."""
    whole_s: float
    """Reading articles and question, up to the first token."""

    @property
    def compiled_s(self) -> float:
        """To the first word when the articles are compiled."""
        return self.search_s + self.question_s

    @property
    def uncompiled_s(self) -> float:
        """To the first word when they are not."""
        return self.search_s + self.whole_s

    @property
    def tokens_read_per_s(self) -> float:
        """How fast a long prompt is read."""
        return (self.question_tokens + self.article_tokens) / self.whole_s


def predict_first_word(bundle: Bundle, engine: TextEngine, search: Callable[[str], object]) -> FirstWordPrediction:
    """Measure and predict; `search` does what finding sections for a question takes.

    `MissingError` for a bundle without a section in a language that its model writes.
    """
    question, sections = _typical(bundle)
    parts = layout(bundle.prompt, sections[0].lang, sections, (), question)
    prompt = encode_parts(parts, engine.vocab)
    most = engine.context_tokens - SPARE_TOKENS
    articles = [token for article in prompt.articles for token in article]
    tail = list(prompt.tail)[-most:]
    whole = [*articles, *tail][-most:]
    search(question)  # loads what the first search loads
    began = time.monotonic()
    search(question)
    search_s = time.monotonic() - began
    _read(engine, whole)  # brings the weights into memory
    # Other tokens each time: what is in memory already would be read in no time.
    question_s = _read(engine, tail[1:] + tail[:1])
    whole_s = _read(engine, whole[1:] + whole[:1])
    return FirstWordPrediction(len(tail), len(whole) - len(tail), search_s, question_s, whole_s)


def _typical(bundle: Bundle) -> tuple[str, Sequence[Section]]:
    """A question and as many sections as a prompt holds, of those asked for most."""
    for lang in bundle.prompt.languages:
        sections = [section for section in hot_sections_first(bundle) if section.lang == lang]
        if sections:
            asked = (one.text for one in read_past_questions(bundle.root) if one.lang == lang)
            return next(asked, sections[0].heading), sections[: bundle.prompt.articles]
    raise MissingError(
        f"no section in {', '.join(bundle.prompt.languages)}",
        where=str(bundle.articles_path),
        hint="build the bundle with articles in a language that its model writes",
    )


def _read(engine: TextEngine, tokens: Sequence[int]) -> float:
    """Seconds until the engine has read these tokens and chosen the next one."""
    generation = engine.generate(Prompt((), (), tuple(tokens)), SamplingParams(max_tokens=1), threading.Event())
    list(generation)
    return generation.stats.ttft_s
