"""Claim: answers that quote their article come 1.4 times as fast by prompt lookup, and others lose nothing by it.

The engine against itself, with the lookup and without, on the same prompts, greedily: so the texts must be the same,
letter by letter, up to a near tie (`_ties.py`). Quoting: the model is shown an article, and the beginning of that
article again, and goes on. Not quoting: it goes on with the beginning of an article it has not been shown.

    python benchmarks/lookup.py [--model 135m] [--threads 2] [--quick] [--json]

Random weights quote nothing, so the 3B shape says nothing here but what the lookup costs.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.tools.logits_recorder import LogitsRecorder

BARS = {
    "quoting_ratio": Bar(least=1.4),
    "other_ratio": Bar(least=0.98),
    "texts_that_differ": Bar(most=0.0),
}
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


def ask(engine: LlamaEngine, tokens: Sequence[int], count: int, *, lookup: bool) -> Reply:
    """One answer, its prompt read before, so that only the writing differs."""
    ask_engine(engine, tokens, 1, lookup=lookup)
    return ask_engine(engine, tokens, count, lookup=lookup)


if __name__ == "__main__":
    raise SystemExit(main(begin("lookup", __doc__, BARS), work))
