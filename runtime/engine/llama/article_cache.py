"""Compiled articles: keys and values computed once, put together with any others when a question comes (DESIGN §3).

    build     read the article behind the system text, take the system text away, keep the rest: in memory and on disk
    parallel  every article stands right behind the system text, in cells that all requests share
    sequential  a copy of each is shifted behind the one before
    exact     the whole prompt is read; always works

Promises: a layout that the model cannot have, or whose logits are not plain reading's in the self-test, is not used,
and `reason` says why; an article that cannot be loaded is built again. Belongs to the engine's thread.
Sources: Block-Attention (2409.15355), TurboRAG (2410.07590), KVLink (2502.16002).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.composition import ArticleBuild, Composition, KvKey
from runtime.engine.core.kv_ledger import SequenceLease
from runtime.engine.llama.kv_cache import KvCache
from runtime.engine.llama.kv_store import KvStore, tokens_hash
from runtime.engine.llama.model import LlamaModel, Row
from runtime.prompting.prompt_tokens import Layout, Prompt

MOST_DIVERGENCE = 0.01
"""KL divergence, in nats, of composed from plain logits up to which they are the same."""
MOST_NOISE = 1.5
"""So many times as far apart as plain readings at two places they may be too, in the median of the probes. Of
SmolLM2-135M and a 3B shape in 4 and 8 bits, articles that were moved are .6 to 1.0 times as far, one place off 1.5 to
2.5 times."""
UNREADABLE = 0.5
"""Nats at which plain readings of the same text have nothing in common."""
PROBES = 5

Identify = Callable[[str, str, str], KvKey]
"""(adapter, hash of the system text, hash of the article) to a key."""


class ArticleCache:
    """Builds, keeps and puts together."""

    def __init__(self, memory: KvCache, layout: Layout, store: KvStore, identify: Identify) -> None:
        self._memory = memory
        self._store = store
        self._identify = identify
        self._building: dict[Hashable, ArticleBuild] = {}
        self._loose: dict[KvKey, NDArray[np.uint8]] = {}
        """Payloads that could not be kept on disk, for the requests that wait for them."""
        self.layout: Layout = layout
        self.reason = memory.model.cannot_compose(layout) or differs(memory.model, layout)
        if self.reason:
            self.layout = "exact"

    @property
    def promised(self) -> int:
        """Cells that articles being read may yet take."""
        return sum(len(build.left) for build in self._building.values())

    def key(self, prompt: Prompt, adapter: str) -> Hashable:
        """What the keys and values of a prompt's tail depend on besides its tokens.

        Beside each other articles have no order: the same ones found in another order while a question was typed count.
        """
        articles = tuple(sorted(prompt.articles)) if self.layout == "parallel" else prompt.articles
        return ("composed", self.layout, adapter, prompt.system, articles)

    def pin(self, prompt: Prompt, adapter: str) -> Composition:
        """Hold on to what is in memory of a prompt; follow up with `begin` or `release`."""
        plan = Composition(prompt, adapter)
        for key, tokens in self._parts(prompt, adapter):
            if (held := self._find(key, tokens)) is not None:
                held.pins += 1
                plan.pinned.append(held)
                plan.reused += len(tokens)
            elif key[0] == "article":
                plan.absent.append(tokens)
        return plan

    def room(self, plan: Composition) -> tuple[int, int]:
        """(cells, sequences) that it takes besides what is in memory, before its tail."""
        to_read = [
            article
            for article in plan.absent
            if self.layout == "parallel" or not self._store.has(self._pack(plan.prompt, plan.adapter, article))
        ]
        copies = self.copies(plan.prompt)
        cells = len(plan.prompt.system) + sum(map(len, to_read)) + copies
        return cells, len(to_read) + 2 + (copies > 0)

    def copies(self, prompt: Prompt) -> int:
        """Cells that putting it together takes of its own."""
        return sum(map(len, prompt.articles)) if self.layout == "sequential" else 0

    def begin(self, plan: Composition, *, only_build: bool = False) -> None:
        """Load what is on disk; say what has to be read. Room for it was made."""
        prompt, adapter = plan.prompt, plan.adapter
        to_read = []
        for article in plan.absent:
            pack = self._pack(prompt, adapter, article)
            is_building = ("article", pack) in self._building
            if not is_building and (self._store.has(pack) if only_build else self._load(plan, pack, article)):
                plan.reused += len(article)
            else:
                to_read.append((pack, article))
        system: ArticleBuild | None = None
        if (to_read or not only_build) and prompt.system and not self._find(("system", adapter), prompt.system):
            key = ("system", adapter, prompt.system)
            system = self._want(plan, ArticleBuild(key, prompt.system, list(prompt.system)))
        for pack, article in to_read:
            self._want(plan, ArticleBuild(("article", pack), article, list(article), pack, system))

    def start(self, build: ArticleBuild, plan: Composition) -> SequenceLease:
        """The sequence a build reads into, opened when it is read for the first time."""
        if build.held is None:
            key = ("article", build.pack) if build.pack else ("system", plan.adapter)
            build.held = self._memory.ledger.open(key)
            if build.pack and plan.prompt.system:
                system = self._find(("system", plan.adapter), plan.prompt.system)
                assert system is not None
                self._memory.share(system, build.held)
                build.held.start, build.held.tokens = len(plan.prompt.system), []
        return build.held

    def finish(self, build: ArticleBuild) -> None:
        """A build was read to its end: keep it. To be called before any `compose` of the same step."""
        del self._building[build.key]
        build.done = True
        assert build.held is not None
        build.held.pins = build.users
        if build.pack is not None:
            self._memory.drop_base(build.held)
            payload = self._memory.model.save(build.held.id)
            if not self._store.write(build.pack, payload):
                self._loose[build.pack] = payload

    def compose(self, plan: Composition, held: SequenceLease) -> bool:
        """Fill the request's empty sequence with system text and articles; False when it cannot be done."""
        prompt = plan.prompt
        if prompt.system:
            system = self._find(("system", plan.adapter), prompt.system)
            if system is None:
                return False
            self._memory.share(system, held)
        held.start, held.tokens = len(prompt.system), []
        put = self._put_beside if self.layout == "parallel" else self._put_behind
        return all(
            put(held, self._pack(prompt, plan.adapter, article), article, len(prompt.system))
            for article in prompt.articles
        )

    def release(self, plan: Composition) -> None:
        """The request needs its articles no longer: they are in its own sequence, or it has ended."""
        for held in plan.pinned:
            held.pins -= 1
        for build in plan.builds:
            build.users -= 1
            if build.done:
                assert build.held is not None
                build.held.pins -= 1
                if build.pack is not None and not build.users:
                    self._loose.pop(build.pack, None)
            elif not build.users:
                del self._building[build.key]
                if build.held is not None:
                    self._memory.forget(build.held)
        plan.pinned, plan.builds = [], []

    def clear(self) -> None:
        """The memory was cleared."""
        self._building.clear()
        self._loose.clear()

    def _put_beside(self, held: SequenceLease, pack: KvKey, article: tuple[int, ...], at: int) -> bool:
        resident = self._find(("article", pack), article)
        if resident is None:
            return False
        self._memory.add(resident, held)
        held.start = max(held.start, at + len(article))
        return True

    def _put_behind(self, held: SequenceLease, pack: KvKey, article: tuple[int, ...], at: int) -> bool:
        memory = self._memory
        payload = self._loose.get(pack)
        if payload is None:
            payload = self._store.read(pack)
        if payload is None or not memory.ledger.free:
            return False
        copy = memory.ledger.open()
        fits = memory.load(copy, payload, article, at)
        if fits:
            memory.model.shift(copy.id, held.start - at)
            memory.add(copy, held)
            held.start += len(article)
        memory.forget(copy)
        return fits

    def _load(self, plan: Composition, pack: KvKey, article: tuple[int, ...]) -> bool:
        """Whether an article comes from disk; into memory where requests share it there."""
        payload = self._store.read(pack)
        if payload is None or self.layout == "sequential":
            return payload is not None
        held = self._memory.ledger.open(("article", pack))
        if self._memory.load(held, payload, article, len(plan.prompt.system)):
            plan.pinned.append(held)
            return True
        self._memory.forget(held)
        return False

    def _want(self, plan: Composition, build: ArticleBuild) -> ArticleBuild:
        build = self._building.setdefault(build.key, build)
        build.users += 1
        plan.builds.append(build)
        return build

    def _parts(self, prompt: Prompt, adapter: str) -> list[tuple[tuple[Hashable, ...], tuple[int, ...]]]:
        articles = [(("article", self._pack(prompt, adapter, one)), one) for one in dict.fromkeys(prompt.articles)]
        return [(("system", adapter), prompt.system), *articles] if prompt.system else [*articles]

    def _find(self, key: Hashable, tokens: Sequence[int]) -> SequenceLease | None:
        """The sequence that holds just these tokens."""
        wanted = list(tokens)
        return next(
            (held for held in self._memory.ledger.held.values() if held.key == key and held.tokens == wanted), None
        )

    def _pack(self, prompt: Prompt, adapter: str, article: tuple[int, ...]) -> KvKey:
        return self._identify(adapter, tokens_hash(prompt.system), tokens_hash(article))


def differs(model: LlamaModel, layout: Layout) -> str:
    """The self-test: what a compiled article, stored and put back, does to the logits. Empty when it does nothing.

    One article behind a system text attends to just what it attends to in plain reading, so the logits must be the
    same; and so must they when everything is shifted by some positions, since positions are relative. A quantized
    model rounds what stands elsewhere otherwise, though, read plainly too: where a shifted probe differs, several are
    held against that. Leaves the memory empty. Needs three sequences.
    """
    moved = 7 if layout == "sequential" else 0
    differences, noise = [], []
    for probe in range(PROBES):
        plain = _read_plain(model, probe, 0)
        composed = _read_composed(model, probe, moved)
        model.clear()
        if composed is None:
            return "its memory cannot be stored"
        differences.append(_divergence(plain, composed))
        if probe == 0 and differences[0] <= MOST_DIVERGENCE:
            return ""
        noise.append(_divergence(plain, _read_plain(model, probe, moved)))
        model.clear()
    divergence, usual = float(np.median(differences)), float(np.median(noise))
    # Written so that what is no number does not pass.
    if divergence <= max(MOST_DIVERGENCE, MOST_NOISE * usual) and usual < UNREADABLE:
        return ""
    return f"logits differ from plain reading by {divergence:.3g} nats in the self-test, plain ones by {usual:.3g}"


def _probe(model: LlamaModel, number: int) -> tuple[list[int], list[int], list[int]]:
    """System text, article and tail, of tokens without a meaning."""
    size = model.vocab.size
    starts = ((11 + number, 4), (23 + 5 * number, 12), (5 + 11 * number, 4))
    system, article, tail = ([(start + (97 + number) * place) % size for place in range(n)] for start, n in starts)
    return system, article, tail


def _read(model: LlamaModel, tokens: Sequence[int], start: int, sequence: int) -> NDArray[np.float32]:
    last = len(tokens) - 1
    model.decode([Row(token, start + n, sequence, n == last) for n, token in enumerate(tokens)])
    return model.logits(last)


def _read_plain(model: LlamaModel, number: int, start: int) -> NDArray[np.float32]:
    """Logits behind the whole probe from position `start` on, read in the batches of compiled articles."""
    model.clear()
    for part in _probe(model, number):
        logits = _read(model, part, start, 0)
        start += len(part)
    return logits


def _read_composed(model: LlamaModel, number: int, moved: int) -> NDArray[np.float32] | None:
    """The same with the article stored and put back, all of it `moved` by some positions; None where that fails."""
    system, article, tail = _probe(model, number)
    model.clear()
    _read(model, system, 0, 0)
    model.copy(0, 1, len(system))
    _read(model, article, len(system), 1)
    model.remove(1, 0, len(system))
    payload = model.save(1)
    model.clear()
    _read(model, system, 0, 0)
    if not model.load(1, payload):
        return None
    model.copy(0, 2)
    model.copy(1, 2)
    if moved:
        model.remove(0)
        model.remove(1)
        model.shift(2, moved)
    return _read(model, tail, len(system) + len(article) + moved, 2)


def _divergence(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """KL(a ‖ b) of two rows of logits, nats; infinite when either is not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    log_a, log_b = (
        row - row.max() - np.log(np.exp(row - row.max()).sum()) for row in (a.astype(np.float64), b.astype(np.float64))
    )
    return float((np.exp(log_a) * (log_a - log_b)).sum())
