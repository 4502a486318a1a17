"""Compiled articles: keys and values computed once, put together with any others when a question comes.

    build       read the article after the system text, remove the system text, keep the rest: in memory and on disk
    parallel    every article starts right after the system text, in cells that all requests share
    sequential  a copy of each article is shifted to the end of the one before
    exact       the whole prompt is read; always works

Promises: a layout that the model cannot have, or whose logits are not those of plain reading in the self-test, is not
used, and `reason` says why; an article that cannot be loaded is built again. Belongs to the engine's thread.

Why composing is right: for the last two layouts the student was trained with articles that attend to the system text
and to themselves only. An article's keys and values then depend on the system text, the article and its positions, not
on its neighbours; rotary positions are relative, so shifting an article's keys moves it without reading it again.
Sources: Block-Attention (2409.15355), TurboRAG (2410.07590), KVLink (2502.16002).

The life of an article in a request, all in the engine's thread:

    pin      what is in memory is pinned, before room is made, so that making room cannot evict it
    begin    what is on disk is loaded; the rest becomes builds, shared by all requests that need them
    start    a build's sequence is opened with the system text's cells when its first token is read
    finish   the batch with its last token was computed: the base is removed, the rest saved
    compose  all parts are ready: their cells are added to the request's own sequence
    release  pins and builds are given up, whether the request was composed or cancelled
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.engine.core.composition import (
    ArticleBuild,
    ComposedPrefix,
    Composition,
    KvKey,
    ModelIdentity,
    hash_tokens,
)
from runtime.engine.core.kv_ledger import SequenceLease
from runtime.engine.llama.kv_cache import KvCache, Reservation
from runtime.engine.llama.kv_store import PackStore
from runtime.engine.llama.model import LlamaModel, Row
from runtime.prompting.prompt_tokens import Layout, Prompt

MAX_DIVERGENCE = 0.01
"""KL divergence, in nats, of composed from plain logits up to which they count as equal."""
MAX_NOISE_RATIO = 1.5
"""Composed logits may differ by this many times what plain readings at two places differ by, in the median of the
probes. For SmolLM2-135M and a 3B shape in 4 and 8 bits, correctly shifted articles differ 0.6 to 1.0 times as much,
articles one position off 1.5 to 2.5 times.
"""
UNREADABLE_NATS = 0.5
"""Divergence at which plain readings of the same text have nothing in common, so that nothing can be compared."""
PROBES = 5

SYSTEM = "system"
"""Key of the sequences that hold a system text alone."""


class ArticleCache:
    """Builds, keeps and composes articles. With the layout `exact` it composes nothing, and no prompt reaches it."""

    def __init__(self, cache: KvCache, layout: Layout, store: PackStore, identity: ModelIdentity) -> None:
        """Run the self-test for the layout, and fall back to `exact` if it fails. The cache must be empty."""
        self._cache = cache
        self._store = store
        self._identity = identity
        self._building: dict[Hashable, ArticleBuild] = {}
        self._unsaved: dict[KvKey, NDArray[np.uint8]] = {}
        """Payloads that could not be kept on disk, for the requests that wait for them."""
        self.reason = "" if layout == "exact" else why_not_composable(cache.model, layout)
        """Why the layout is not the one that was asked for."""
        self.layout: Layout = "exact" if self.reason else layout
        cache.reserve(self._reserved)

    def composes(self, prompt: Prompt) -> bool:
        """Whether a prompt is composed; it is read plainly otherwise."""
        return self.layout != "exact" and bool(prompt.articles)

    def prefix_key(self, prompt: Prompt) -> ComposedPrefix:
        """What the keys and values of a prompt's tail depend on besides its tokens.

        Parallel articles have no order, so a prefetched prompt counts when search finds the same ones in another order.
        """
        articles = tuple(sorted(prompt.articles)) if self.layout == "parallel" else prompt.articles
        return ComposedPrefix(self.layout, prompt.system, articles)

    def pin(self, prompt: Prompt) -> Composition:
        """Pin what is in memory of a prompt's parts; to be followed by `begin`, and by `release` in any case."""
        composition = Composition(prompt)
        if prompt.system and (lease := self._find(SYSTEM, prompt.system)) is not None:
            self._add_pin(composition, lease)
        for article in dict.fromkeys(prompt.articles):
            if (lease := self._find(self._pack_key(prompt, article), article)) is not None:
                self._add_pin(composition, lease)
            else:
                composition.absent.append(article)
        return composition

    def room_needed(self, composition: Composition) -> tuple[int, int]:
        """(cells, sequences) that it takes besides what is in memory, before its tail."""
        prompt = composition.prompt
        # In `sequential` an article on disk is loaded straight into its copy, so it needs no cells of its own.
        resident = [
            article
            for article in composition.absent
            if self.layout == "parallel" or not self._store.has(self._pack_key(prompt, article))
        ]
        copies = self.copy_cells(prompt)
        cells = len(prompt.system) + sum(map(len, resident)) + copies
        # One sequence for the request, one for the system text, one through which copies are loaded and shifted.
        return cells, len(resident) + 2 + (copies > 0)

    def copy_cells(self, prompt: Prompt) -> int:
        """Cells that composing takes of its own: `sequential` copies every article, `parallel` shares the cells."""
        return sum(map(len, prompt.articles)) if self.layout == "sequential" else 0

    def begin(self, composition: Composition, *, only_build: bool = False) -> None:
        """Load what is on disk, and make builds of what has to be read. Room for it was made.

        `only_build`: nothing is going to be composed, so a pack on disk need not be loaded.
        """
        prompt = composition.prompt
        to_read: list[tuple[KvKey, tuple[int, ...]]] = []
        for article in composition.absent:
            pack = self._pack_key(prompt, article)
            # One that another request is building is not on disk yet, or only half.
            if pack not in self._building and (
                self._store.has(pack) if only_build else self._load(composition, pack, article)
            ):
                composition.reused += len(article)
            else:
                to_read.append((pack, article))
        system: ArticleBuild | None = None
        if (to_read or not only_build) and prompt.system and self._find(SYSTEM, prompt.system) is None:
            key = (SYSTEM, prompt.system)
            system = self._join_build(composition, ArticleBuild(key, prompt.system, list(prompt.system)))
        for pack, article in to_read:
            self._join_build(composition, ArticleBuild(pack, article, list(article), pack, system))

    def start(self, build: ArticleBuild, composition: Composition) -> SequenceLease:
        """The sequence that a build reads into; opened, with the system text before it, at the first call."""
        if build.lease is None:
            build.lease = self._cache.ledger.open(build.pack or SYSTEM)
            if build.pack and (system_text := composition.prompt.system):
                system = self._find(SYSTEM, system_text)
                if system is None:
                    # `build.ready` and the composition's pin hold it in memory; without it the article would be wrong.
                    raise RuntimeError("an article is read before its system text")
                self._cache.share(system, build.lease)
                build.lease.start, build.lease.tokens = len(system_text), []
        return build.lease

    def finish(self, build: ArticleBuild, lease: SequenceLease) -> None:
        """Keep a build whose last token was computed. To be called before any `compose` of the same step."""
        del self._building[build.key]
        build.done = True
        lease.pins = build.users
        if build.pack is not None:
            self._cache.drop_base(lease)
            payload = self._cache.model.save(lease.id)
            if not self._store.write(build.pack, (payload,)):
                self._unsaved[build.pack] = payload

    def compose(self, composition: Composition, lease: SequenceLease) -> bool:
        """Fill the request's empty sequence with system text and articles; False when that cannot be done."""
        prompt = composition.prompt
        if prompt.system:
            system = self._find(SYSTEM, prompt.system)
            if system is None:
                return False
            self._cache.share(system, lease)
        lease.start, lease.tokens = len(prompt.system), []
        add = self._add_parallel if self.layout == "parallel" else self._add_sequential
        return all(
            add(lease, self._pack_key(prompt, article), article, len(prompt.system)) for article in prompt.articles
        )

    def release(self, composition: Composition) -> None:
        """Give up a composition: its parts are in the request's own sequence, or the request has ended."""
        for lease in composition.pinned:
            lease.pins -= 1
        for build in composition.builds:
            build.users -= 1
            if build.done:
                if build.lease is not None:
                    build.lease.pins -= 1
                if build.pack is not None and not build.users:
                    self._unsaved.pop(build.pack, None)
            elif not build.users:
                # The last request that waited for it was cancelled: half an article is of no use.
                del self._building[build.key]
                if build.lease is not None:
                    self._cache.release(build.lease)
        composition.pinned, composition.builds = [], []

    def clear(self) -> None:
        """The cache was cleared: nothing is being built any more."""
        self._building.clear()
        self._unsaved.clear()

    def _reserved(self) -> Reservation:
        """What the builds may yet take: a cell a token, and a sequence each that is not begun."""
        builds = self._building.values()
        return Reservation(sum(len(build.unread) for build in builds), sum(build.lease is None for build in builds))

    def _add_pin(self, composition: Composition, lease: SequenceLease) -> None:
        lease.pins += 1
        composition.pinned.append(lease)
        composition.reused += len(lease.tokens)

    def _add_parallel(self, lease: SequenceLease, pack: KvKey, article: tuple[int, ...], at: int) -> bool:
        """Add an article's shared cells, which are at the positions right after the system text."""
        resident = self._find(pack, article)
        if resident is None:
            return False
        self._cache.share_cells(resident, lease)
        # The tail follows the longest article, so that no two tokens it attends to have its own position.
        lease.start = max(lease.start, at + len(article))
        return True

    def _add_sequential(self, lease: SequenceLease, pack: KvKey, article: tuple[int, ...], at: int) -> bool:
        """Add a copy of an article, shifted from position `at`, where it was read, to the end of what is there."""
        cache = self._cache
        payload = self._unsaved.get(pack)
        if payload is None:
            payload = self._store.read(pack)
        if payload is None or not cache.ledger.free_sequences:
            return False
        copy = cache.ledger.open()
        loaded = cache.load(copy, payload, article, at)
        if loaded:
            cache.model.shift(copy.id, lease.start - at)
            cache.share_cells(copy, lease)
            lease.start += len(article)
        cache.release(copy)
        return loaded

    def _load(self, composition: Composition, pack: KvKey, article: tuple[int, ...]) -> bool:
        """Whether an article comes from disk; `parallel` loads it, since requests share it in memory."""
        payload = self._store.read(pack)
        if payload is None or self.layout == "sequential":
            return payload is not None
        lease = self._cache.ledger.open(pack)
        if self._cache.load(lease, payload, article, len(composition.prompt.system)):
            composition.pinned.append(lease)
            return True
        self._cache.release(lease)
        return False

    def _join_build(self, composition: Composition, build: ArticleBuild) -> ArticleBuild:
        """Share the build of this key if there is one."""
        build = self._building.setdefault(build.key, build)
        build.users += 1
        composition.builds.append(build)
        return build

    def _find(self, key: Hashable, tokens: Sequence[int]) -> SequenceLease | None:
        """The sequence that holds just these tokens: one that is still being read holds fewer."""
        wanted = list(tokens)
        leases = self._cache.ledger.leases.values()
        return next((lease for lease in leases if lease.key == key and lease.tokens == wanted), None)

    def _pack_key(self, prompt: Prompt, article: tuple[int, ...]) -> KvKey:
        return self._identity.key(hash_tokens(prompt.system), hash_tokens(article))


def why_not_composable(model: LlamaModel, layout: Layout) -> str:
    """Why prompts cannot be composed with this model; empty when they can. Leaves the model's memory empty."""
    return model.cannot_compose(layout) or self_test(model, layout)


def self_test(model: LlamaModel, layout: Layout) -> str:
    """What is wrong with the logits after an article that was stored and loaded again; empty when nothing is.

    One article after a system text attends to just what it attends to in plain reading, so the logits must be equal;
    and so must they when everything is shifted by some positions, since positions are relative. A quantized model
    rounds otherwise at other positions, though, in plain reading too: where a shifted probe differs, several probes
    are compared with what plain readings at two places differ by. Leaves the memory empty. Needs three sequences.
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
        if probe == 0 and differences[0] <= MAX_DIVERGENCE:
            return ""
        noise.append(_divergence(plain, _read_plain(model, probe, moved)))
        model.clear()
    divergence, usual = float(np.median(differences)), float(np.median(noise))
    # Written so that NaN does not pass.
    if divergence <= max(MAX_DIVERGENCE, MAX_NOISE_RATIO * usual) and usual < UNREADABLE_NATS:
        return ""
    return f"logits differ from plain reading by {divergence:.3g} nats in the self-test, plain ones by {usual:.3g}"


def _probe(model: LlamaModel, number: int) -> tuple[list[int], list[int], list[int]]:
    """System text, article and tail of meaningless tokens; other ones for every number."""
    size = model.vocab.size
    starts = ((11 + number, 4), (23 + 5 * number, 12), (5 + 11 * number, 4))
    system, article, tail = ([(start + (97 + number) * place) % size for place in range(n)] for start, n in starts)
    return system, article, tail


def _read(model: LlamaModel, tokens: Sequence[int], start: int, sequence: int) -> NDArray[np.float32]:
    last = len(tokens) - 1
    model.decode([Row(token, start + n, sequence, n == last) for n, token in enumerate(tokens)])
    return model.logits(last)


def _read_plain(model: LlamaModel, number: int, start: int) -> NDArray[np.float32]:
    """Logits after the whole probe from position `start` on, read in the batches in which compiled articles are."""
    model.clear()
    for part in _probe(model, number):
        logits = _read(model, part, start, 0)
        start += len(part)
    return logits


def _read_composed(model: LlamaModel, number: int, moved: int) -> NDArray[np.float32] | None:
    """The same with the article stored and loaded again, all of it shifted by `moved`; None where that fails."""
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
