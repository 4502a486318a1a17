"""Claim: answers that quote their article come 1.6 times as fast by prompt lookup, and others lose nothing by it.

The engine against itself, with the lookup and without, on the same prompts, greedily: so the texts must be the same,
letter by letter, up to a near tie (`_ties.py`). Quoting: the model is shown an article, and the beginning of that
article again, and goes on. Not quoting: it goes on with the beginning of an article it has not been shown.

    python benchmarks/lookup.py [--model 135m|3b] [--scripted] [--threads 2] [--quick] [--json]

Random weights quote nothing, so a model of the 3B shape is made to say given answers (`--scripted`): every step is
computed and sampled, and then the given token is taken. Quoting: two sentences out of the article it was shown, between
a beginning and an end that it was not shown. Repeating: what another conversation was told before, out of the pool of
earlier answers. Not quoting: another article.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from _harness import (
    Bar,
    Reply,
    Run,
    ask_engine,
    begin,
    in_turns,
    main,
    median,
    model_file,
    project,
    shop_texts,
    spread,
)
from _ties import write_alone

from runtime.base.progress import say
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.llama.sampler import LlamaSampler
from runtime.engine.tools.logits_recorder import LogitsRecorder

BARS = {"quoting_ratio": Bar(least=1.6), "other_ratio": Bar(least=0.98), "texts_that_differ": Bar(most=0.0)}
SCRIPTED_BARS = {"quoting_ratio": Bar(least=1.6), "repeating_ratio": Bar(least=1.6), "other_ratio": Bar(least=0.98)}
CONTEXT_TOKENS = 1536
BEGUN = 24
"""Tokens of the article that the answer begins with."""


def quoting(tokens: Sequence[int]) -> list[int]:
    """An article, then its beginning once more."""
    return [*tokens, *tokens[:BEGUN]]


def other(tokens: Sequence[int]) -> list[int]:
    """The beginning alone."""
    return list(tokens[: 2 * BEGUN])


def work(run: Run) -> None:
    """Measure with and without."""
    model, threads = model_file(run.options.model), run.options.threads
    rounds, count = (2, 64) if run.options.quick else (run.options.rounds or 12, 128)
    verdicts: list[str] = []
    recorder = LogitsRecorder()
    with project(model, threads=threads, context_tokens=CONTEXT_TOKENS, make_sampler=recorder) as engine:
        encoded = [engine.vocab.encode(text, control=False) for text in shop_texts()]
        articles = sorted(encoded, key=len, reverse=True)
        for name, lay_out in (("quoting", quoting), ("other", other)):
            prompts = [lay_out(tokens) for tokens in articles[:rounds]]
            found = in_turns(
                rounds,
                {
                    "with": lambda number, prompts=prompts: ask(engine, prompts[number], count, lookup=True),  # type: ignore[misc]
                    "without": lambda number, prompts=prompts: ask(engine, prompts[number], count, lookup=False),  # type: ignore[misc]
                },
                say,
            )
            alone = [write_alone(engine, recorder, tokens, count) for tokens in prompts]
            verdicts += [one.compare(reply.text) for one, reply in zip(alone, found["with"], strict=True)]
            plain = [one.compare(reply.text) for one, reply in zip(alone, found["without"], strict=True)]
            run.figures[f"{name}_ties_without"] = float(plain.count("tie"))
            rates = {key: [reply.rate for reply in replies] for key, replies in found.items()}
            ratios = [a / b for a, b in zip(rates["with"], rates["without"], strict=True)]
            run.row(f"{name}: tokens a second", f"with {spread(rates['with'])}", f"without {spread(rates['without'])}")
            run.figures[f"{name}_ratio"] = median(ratios)
    run.figures["texts_up_to_a_tie"] = float(verdicts.count("tie"))
    run.figures["texts_that_differ"] = float(verdicts.count("wrong"))


class Script:
    """The answer that every sampler of an engine gives next."""

    def __init__(self) -> None:
        self.tokens: Sequence[int] = ()

    def sampler(self, params: SamplingParams) -> LlamaSampler:
        """A sampler that works for its token and then says the script's."""
        script = iter(self.tokens)

        class Scripted(LlamaSampler):
            def next(self, context: Any, row: int) -> int:
                return next(script, super().next(context, row))

        return Scripted(params)


def work_scripted(run: Run) -> None:
    """Measure with given answers."""
    model, threads = model_file(run.options.model), run.options.threads
    rounds = 2 if run.options.quick else run.options.rounds or 6
    script = Script()
    with project(model, threads=threads, context_tokens=CONTEXT_TOKENS, make_sampler=script.sampler) as engine:
        articles = [engine.vocab.encode(text, control=False) for text in shop_texts()]
        articles = sorted((tokens for tokens in articles if len(tokens) >= 160), key=len)
        strange = articles.pop()

        def reply(number: int, quoted: Sequence[int]) -> list[int]:
            return [*strange[8 * number : 8 * number + 6], *quoted, *strange[-8 * number - 6 : -8 * number - 1]]

        kinds: dict[str, Callable[[int], Sequence[int]]] = {
            "quoting": lambda number: reply(number, articles[number][40:100]),
            "repeating": lambda number: reply(number, articles[-1 - number][40:100]),
            "other": lambda number: articles[-1 - number][100:160],
        }
        for name, answer in kinds.items():
            if name == "repeating":
                for number in range(rounds):
                    script.tokens = answer(number)
                    ask_engine(engine, strange[:32], len(script.tokens), conversation="earlier")

            steps = {True: 0, False: 0}

            def one(
                number: int,
                answer: Callable[[int], Sequence[int]] = answer,
                steps: dict[bool, int] = steps,
                *,
                lookup: bool,
            ) -> float:
                script.tokens, before = answer(number), engine.backend.costs.steps
                found = ask(engine, articles[number], len(script.tokens), lookup=lookup)
                steps[lookup] += engine.backend.costs.steps - before
                engine.forget("asked")
                return found.rate

            found = in_turns(rounds, {"with": partial(one, lookup=True), "without": partial(one, lookup=False)}, say)
            run.row(f"{name}: tokens a second", *(f"{key} {spread(rates)}" for key, rates in found.items()))
            ratios = [a / b for a, b in zip(found["with"], found["without"], strict=True)]
            run.figures[f"{name}_ratio"] = median(ratios)
            run.figures[f"{name}_fewer_steps"] = steps[False] / steps[True]


def ask(engine: LlamaEngine, tokens: Sequence[int], count: int, *, lookup: bool) -> Reply:
    """One answer, its prompt read before, so that only the writing differs."""
    ask_engine(engine, tokens, 1, lookup=lookup, conversation="asked")
    return ask_engine(engine, tokens, count, lookup=lookup, conversation="asked")


def add_options(parser: ArgumentParser) -> None:
    """Beside the common ones."""
    parser.add_argument("--scripted", action="store_true", help="given answers; always so for the 3b")


if __name__ == "__main__":
    begun = begin("lookup", __doc__, BARS, add_options)
    scripted = begun.options.scripted or begun.options.model == "3b"
    begun.bars = SCRIPTED_BARS if scripted else BARS
    raise SystemExit(main(begun, work_scripted if scripted else work))
