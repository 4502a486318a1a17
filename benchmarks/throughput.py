"""Claim: batching costs one writing agent nothing, and serves four at once at least as well as llama-server does.

One stream, in tokens a second after the first, against llama-bench's tg on the same file and threads; four streams at
once, in tokens over the time from the first question to the last end, against llama-server with four slots. Prompts are
short and differ; answers are greedy.

    python benchmarks/throughput.py [--model 135m|3b] [--threads 2] [--quick] [--json]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from _harness import (
    Ask,
    Bar,
    Peer,
    Reply,
    Run,
    ask_engine,
    begin,
    in_turns,
    llama_bench,
    main,
    median,
    model_file,
    peer_folder,
    project,
    shop_texts,
    spread,
    together,
    total_rate,
)

from runtime.base.progress import say
from runtime.engine.llama.engine import LlamaEngine

BARS = {"one_over_llama_bench": Bar(least=0.97), "four_over_llama_server": Bar(least=1.0)}
SLOTS = 4
PROMPT_TOKENS = 48
CONTEXT_TOKENS = 1024


def prompts(engine: LlamaEngine) -> list[list[int]]:
    """Beginnings of the shop's articles: plain text, which a model goes on with for long."""
    encoded = (engine.vocab.encode(text, control=False) for text in shop_texts())
    return [tokens[:PROMPT_TOKENS] for tokens in encoded if len(tokens) > PROMPT_TOKENS]


def four(ask: Ask, chosen: Sequence[Sequence[int]], count: int) -> float:
    """Tokens a second of four streams together."""

    def one(tokens: Sequence[int]) -> Callable[[], Reply]:
        return lambda: ask(tokens, count)

    return total_rate(together([one(tokens) for tokens in chosen]))


def work(run: Run) -> None:
    """Measure both."""
    folder = peer_folder(run)
    model, threads = model_file(run.options.model), run.options.threads
    rounds, count = (2, 48) if run.options.quick else (run.options.rounds or 5, 128)
    with project(model, threads=threads, context_tokens=CONTEXT_TOKENS) as engine:
        texts = prompts(engine)

        def own(tokens: Sequence[int], tokens_to_write: int) -> Reply:
            return ask_engine(engine, tokens, tokens_to_write)

        own(texts[-1], 8)
        one: dict[str, Callable[[int], float]] = {"engine": lambda number: own(texts[number], count).rate}
        many: dict[str, Callable[[int], float]] = {
            "engine": lambda n: four(own, texts[SLOTS * n : SLOTS * (n + 1)], count)
        }
        if folder is None:
            rates = {"one": in_turns(rounds, one, say), "four": in_turns(rounds, many, say)}
        else:
            bench = folder
            one["peer"] = lambda _: llama_bench(bench, model, threads=threads, tokens=count)[0]
            rates = {"one": in_turns(rounds, one, say)}
            with Peer(folder, model, threads=threads, context_tokens=CONTEXT_TOKENS, slots=SLOTS) as peer:
                peer.ask(texts[-1], 8)
                many["peer"] = lambda n: four(peer.ask, texts[SLOTS * n : SLOTS * (n + 1)], count)
                rates["four"] = in_turns(rounds, many, say)
    run.row("tokens a second", "peer", "engine")
    for name, figure in (("one", "one_over_llama_bench"), ("four", "four_over_llama_server")):
        by = rates[name]
        run.row(f"{name} at once", spread(by.get("peer", [])), spread(by["engine"]))
        run.figures[f"{name}_tokens_per_s"] = median(by["engine"])
        if "peer" in by:
            run.figures[f"{name}_peer_tokens_per_s"] = median(by["peer"])
            run.figures[figure] = median(by["engine"]) / median(by["peer"])
    run.details["rounds"] = rates


if __name__ == "__main__":
    raise SystemExit(main(begin("throughput", __doc__, BARS), work))
