"""What the engine's benchmarks share: the two contestants behind one face, turns, figures, bars.

The peer is llama-server out of the same llama.cpp (`benchmarks/peer.sh`), the project is `runtime.engine`; both get the
same file, threads and token ids, and answer greedily. They run in turns in one run, so that what else the machine does
falls on both. A missing peer is said, and counts as not holding. Knows nothing of what is claimed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from distill.models.catalogue import fetch_model
from runtime.base.progress import say
from runtime.base.user_cache import cache_folder
from runtime.engine.core.options import EngineOptions
from runtime.engine.core.sampling_params import SamplingParams
from runtime.engine.llama.engine import LlamaEngine
from runtime.engine.llama.sampler import LlamaSampler
from runtime.errors import EdgedeskError, MissingError, UnavailableError
from runtime.prompting.prompt_tokens import Prompt
from runtime.text.articles import load_articles

Result = TypeVar("Result")
SHOP = Path(__file__).parents[1] / "examples" / "shop"
START_S = 120.0
"""A server that is not ready by then will not be."""
NEVER = threading.Event()


# Figures and bars: pure.


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie, between its neighbours in proportion; nan for none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values: Sequence[float]) -> float:
    """The middle value; nan for none."""
    return quantile(values, 0.5)


def spread(values: Sequence[float], unit: str = "") -> str:
    """`median (least to most)` for a table."""
    return f"{median(values):.3g}{unit} ({min(values):.3g} to {max(values):.3g})" if values else "nothing"


@dataclass(frozen=True)
class Bar:
    """What a figure has to reach."""

    least: float | None = None
    most: float | None = None

    def holds(self, value: float | None) -> bool:
        """Whether a figure is there and within; nan never is."""
        if value is None or value != value:
            return False
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def as_dict(self) -> dict[str, float]:
        """For `--json`."""
        return {key: value for key, value in (("least", self.least), ("most", self.most)) if value is not None}


def missed(figures: Mapping[str, float], bars: Mapping[str, Bar]) -> list[str]:
    """Names of the bars that are not reached, or whose figure is not there."""
    return [name for name, bar in bars.items() if not bar.holds(figures.get(name))]


def in_turns(
    rounds: int, contestants: Mapping[str, Callable[[int], Result]], progress: Callable[[str], None] = lambda _: None
) -> dict[str, list[Result]]:
    """Run each once a round, in the other order every second round; results by name."""
    results: dict[str, list[Result]] = {name: [] for name in contestants}
    for number in range(rounds):
        order = list(contestants)
        for name in order if number % 2 == 0 else reversed(order):
            progress(f"round {number + 1} of {rounds}: {name}")
            results[name].append(contestants[name](number))
    return results


def gaps(arrivals: Sequence[float], start: float = float("-inf"), end: float = float("inf")) -> list[float]:
    """Seconds between neighbouring arrivals, of those gaps that touch the time from `start` to `end`."""
    return [then - before for before, then in pairwise(arrivals) if then > start and before < end]


def zipf(size: int, exponent: float = 1.0) -> list[float]:
    """Shares of `size` articles when the n-th is asked for 1/n^exponent as often as the first."""
    weights = [1 / (rank + 1) ** exponent for rank in range(size)]
    return [weight / sum(weights) for weight in weights]


# A benchmark's run: options, what it prints, how it ends.


@dataclass
class Run:
    """One benchmark: its options, and the figures it finds."""

    name: str
    bars: Mapping[str, Bar]
    options: argparse.Namespace
    figures: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def row(self, what: str, *cells: str) -> None:
        """A row of the table on stdout."""
        print(f"{what:<34}" + "".join(f"{cell:>28}" for cell in cells), flush=True)

    def end(self) -> int:
        """Print the verdict and, if asked, the object; 0 when the claim holds."""
        failed = missed(self.figures, self.bars)
        for name, value in self.figures.items():
            bar = self.bars.get(name)
            wanted = " ".join(f"{key} {limit:g}" for key, limit in bar.as_dict().items()) if bar else ""
            self.row(name, f"{value:.3g}", wanted, "" if not bar else "missed" if name in failed else "holds")
        for name in self.absent:
            say(f"not there: {name}")
        holds = not failed and not self.absent
        print(f"{self.name}: {'holds' if holds else 'does not hold'}")
        if self.options.json:
            whole = {**self.figures, **self.details}
            bars = {name: bar.as_dict() for name, bar in self.bars.items()}
            print(json.dumps({"name": self.name, "figures": whole, "bar": bars, "holds": holds}))
        return 0 if holds else 1


def begin(
    name: str,
    about: str | None,
    bars: Mapping[str, Bar],
    more: Callable[[argparse.ArgumentParser], None] = lambda _: None,
) -> Run:
    """Read the command line; `more` adds options of the benchmark's own."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="135m", help="135m, 3b (random weights, see shape3b.py), or a GGUF file")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="for peer and project")
    parser.add_argument("--peer", type=Path, help="folder of llama.cpp's programs (default: what peer.sh built)")
    parser.add_argument("--quick", action="store_true", help="a rough answer in under a minute (135m)")
    parser.add_argument("--rounds", type=int, help="how often each is measured (default: enough for the 135m)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    more(parser)
    return Run(name, bars, parser.parse_args())


def model_file(name: str) -> Path:
    """The GGUF file of `--model`; `MissingError` for one that is not there."""
    if name == "135m":
        return fetch_model("smollm2-135m-instruct", say)
    if name == "3b":
        from shape3b import shape3b

        return shape3b()
    path = Path(name)
    if not path.is_file():
        raise MissingError("no such model", where=name, hint="135m, 3b, or a GGUF file")
    return path


def peer_folder(run: Run, program: str = "llama-server") -> Path | None:
    """Where that program of llama.cpp lies; none, and a remark, when it has not been built."""
    built = sorted((cache_folder() / "peer").glob("*/bin"))
    folder = run.options.peer or (built[-1] if built else None)
    if folder is None or not (folder / program).is_file():
        run.absent.append(
            f"the peer (build it with benchmarks/peer.sh{'' if program == 'llama-server' else ' ' + program})"
        )
        return None
    return Path(folder)


def shop_texts(lang: str = "en") -> list[str]:
    """The example shop's articles as plain text, one each."""
    return [
        "\n".join([article.title, *(f"{section.heading}\n{section.text}" for section in article.sections)])
        for article in load_articles(SHOP / lang / "articles")
    ]


# The two contestants.


@dataclass(frozen=True)
class Reply:
    """An answer as its reader saw it: times on one clock (`time.monotonic`)."""

    asked: float
    arrivals: tuple[float, ...]
    """When each piece of text came."""
    ended: float
    text: str
    tokens: int

    @property
    def first_s(self) -> float:
        """From asking to the first text; nan when there was none."""
        return self.arrivals[0] - self.asked if self.arrivals else float("nan")

    @property
    def rate(self) -> float:
        """Tokens a second after the first."""
        seconds = self.arrivals[-1] - self.arrivals[0] if len(self.arrivals) > 1 else 0.0
        return (self.tokens - 1) / seconds if seconds else float("nan")


Ask = Callable[[Sequence[int], int], Reply]
"""(prompt tokens, tokens to write at most) to the reply."""


class Peer(AbstractContextManager["Peer"]):
    """llama-server on a port of its own."""

    def __init__(
        self, folder: Path, model: Path, *, threads: int, context_tokens: int, slots: int = 1, extra: Sequence[str] = ()
    ) -> None:
        """`context_tokens` a slot."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        command = [folder / "llama-server", "--model", model, "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--threads", str(threads), "--threads-batch", str(threads), "--parallel", str(slots)]
        command += ["--ctx-size", str(context_tokens * slots), "--no-webui", *extra]
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(word) for word in command], stdout=self._log, stderr=self._log)

    def __enter__(self) -> Peer:
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                last = self._log.read()[-500:].decode(errors="replace")
                self.__exit__()
                raise UnavailableError("llama-server does not start", hint=last)
            time.sleep(0.01)  # it tells nobody when it is ready
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def _is_ready(self) -> bool:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            line.request("GET", "/health")
            return line.getresponse().status == 200
        except OSError:
            return False
        finally:
            line.close()

    def ask(self, tokens: Sequence[int], count: int, *, cached: bool = True) -> Reply:
        """Stream an answer."""
        body = {"prompt": list(tokens), "n_predict": count, "stream": True, "temperature": 0.0, "cache_prompt": cached}
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        asked = time.monotonic()
        arrivals, text, written = [], [], 0
        try:
            line.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
            answer = line.getresponse()
            if answer.status != 200:
                raise UnavailableError(f"llama-server answers {answer.status}", hint=answer.read(300).decode())
            for event in read_events(answer):
                if event.get("content"):
                    arrivals.append(time.monotonic())
                    text.append(event["content"])
                if event.get("stop"):
                    written = int(event.get("tokens_predicted", len(arrivals)))
                    break
        finally:
            line.close()
        return Reply(asked, tuple(arrivals), time.monotonic(), "".join(text), written)


def read_events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream of server-sent events; an error sent in it is raised."""
    for raw in lines:
        name, _, data = raw.partition(b":")
        if name == b"error":
            raise UnavailableError("llama-server failed", hint=data.decode(errors="replace").strip())
        if name == b"data" and data.strip() != b"[DONE]":
            yield json.loads(data)


def llama_bench(folder: Path, model: Path, *, threads: int, tokens: int, rounds: int = 1) -> list[float]:
    """llama-bench's tokens a second when it writes `tokens` from nothing; one figure a round."""
    command = [folder / "llama-bench", "-m", model, "-t", str(threads), "-p", "0", "-n", str(tokens)]
    done = subprocess.run(
        [str(word) for word in [*command, "-r", str(rounds), "-o", "json"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return [float(rate) for rate in json.loads(done.stdout)[0]["samples_ts"]]


@contextmanager
def project(
    model: Path,
    *,
    threads: int,
    context_tokens: int,
    make_sampler: Callable[[SamplingParams], LlamaSampler] = LlamaSampler,
    **more: Any,
) -> Iterator[LlamaEngine]:
    """The engine, closed at the end; `more` as in `EngineOptions`."""
    options = EngineOptions(model, context_tokens=context_tokens, threads=threads, **more)
    with LlamaEngine(options, make_sampler=make_sampler) as engine:
        yield engine


def parts(system: Sequence[int], articles: Sequence[Sequence[int]], tail: Sequence[int]) -> Prompt:
    """A prompt in the three parts that can be composed."""
    return Prompt(tuple(system), tuple(map(tuple, articles)), tuple(tail))


def ask_engine(engine: LlamaEngine, prompt: Any, count: int, *, conversation: str | None = None, **more: Any) -> Reply:
    """Stream an answer of the engine; `prompt` is token ids or a `Prompt`; `more` are sampling parameters."""
    named: dict[str, Any] = {} if conversation is None else {"conversation": conversation}
    asked = time.monotonic()
    generation = engine.generate(prompt, SamplingParams(max_tokens=count, **more), NEVER, **named)
    arrivals, text = [], []
    for piece in generation:
        arrivals.append(time.monotonic())
        text.append(piece.text)
    return Reply(asked, tuple(arrivals), time.monotonic(), "".join(text), generation.stats.answer_tokens)


def together(asks: Sequence[Callable[[], Reply]]) -> list[Reply]:
    """Ask at the same moment, each in a thread of its own; replies in the same order. The first error is raised."""
    replies: list[Reply | BaseException] = [UnavailableError("no reply")] * len(asks)
    start = threading.Barrier(len(asks))

    def work(number: int) -> None:
        try:
            start.wait()
            replies[number] = asks[number]()
        except BaseException as error:  # told to whoever waits for the replies
            replies[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(asks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out = []
    for reply in replies:
        if isinstance(reply, BaseException):
            raise reply
        out.append(reply)
    return out


def total_rate(replies: Sequence[Reply]) -> float:
    """All tokens over the time from the first question to the last end."""
    seconds = max(reply.ended for reply in replies) - min(reply.asked for reply in replies)
    return sum(reply.tokens for reply in replies) / seconds


def main(run: Run, work: Callable[[Run], None]) -> int:
    """Run a benchmark; what goes wrong is said, and counts as not holding."""
    try:
        work(run)
    except EdgedeskError as error:
        run.absent.append(f"{error} ({error.hint})")
    return run.end()
