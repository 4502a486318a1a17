"""Compiled articles: keys and values computed once, put together with any others when a question comes.

    build       read the article after the system text, remove the system text, keep the rest: in memory and on disk
    parallel    every article starts right after the system text, in cells that all requests share
    sequential  a copy of each article is shifted to the end of the one before
    exact       the whole prompt is read; always works

Promises: an article that cannot be loaded is built again; how it is stored is the packs' affair, what is loaded is a
state. Belongs to the engine's thread.

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
from runtime.engine.llama.article_packs import ArticlePacks
from runtime.engine.llama.kv_cache import KvCache, Reservation
from runtime.engine.llama.self_test import Verdict
from runtime.prompting.prompt_tokens import Prompt

SYSTEM = "system"
"""Key of the sequences that hold a system text alone."""


class ArticleCache:
    """Builds, keeps and composes articles. With the layout `exact` it composes nothing, and no prompt reaches it."""

    def __init__(self, cache: KvCache, verdict: Verdict, packs: ArticlePacks, identity: ModelIdentity) -> None:
        """`verdict`: what the self-test found."""
        self._cache = cache
        self.packs = packs
        self._identity = identity
        self._building: dict[Hashable, ArticleBuild] = {}
        self._ahead = 0
        """Articles that were to be compiled ahead so far, most asked first."""
        self._unsaved: dict[KvKey, NDArray[np.uint8]] = {}
        """States that may never come to disk, for the requests that wait for them."""
        self.layout = verdict.layout
        self.reason = verdict.reason
        """Why the layout is not the one that was asked for."""
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
            if self.layout == "parallel" or not self.packs.has(self._pack_key(prompt, article))
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
        self._ahead += only_build
        for article in composition.absent:
            pack = self._pack_key(prompt, article)
            # One that another request is building is not on disk yet, or only half.
            if pack not in self._building and (
                self.packs.has(pack) if only_build else self._load(composition, pack, article)
            ):
                composition.reused += len(article)
            elif only_build and self.packs.full and pack not in self._building:
                composition.refused = True
            else:
                to_read.append((pack, article))
        system: ArticleBuild | None = None
        if (to_read or not only_build) and prompt.system and self._find(SYSTEM, prompt.system) is None:
            key = (SYSTEM, prompt.system)
            system = self._join_build(composition, ArticleBuild(key, prompt.system, list(prompt.system)))
        for pack, article in to_read:
            rank = self._ahead if only_build else None
            build = self._join_build(composition, ArticleBuild(pack, article, list(article), pack, system, rank=rank))
            build.rank = build.rank if only_build else None

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
            state = self._cache.model.save(lease.id)
            if build.users:
                self._unsaved[build.pack] = state
            self.packs.write(build.pack, state, build.rank)

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
        state = self._unsaved.get(pack)
        if state is None:
            state = self.packs.read(pack)
        if state is None or not cache.ledger.free_sequences:
            return False
        copy = cache.ledger.open()
        loaded = cache.load(copy, state, article, at)
        if loaded:
            cache.model.shift(copy.id, lease.start - at)
            cache.share_cells(copy, lease)
            lease.start += len(article)
        cache.release(copy)
        return loaded

    def _load(self, composition: Composition, pack: KvKey, article: tuple[int, ...]) -> bool:
        """Whether an article comes from disk; `parallel` loads it, since requests share it in memory."""
        if self.layout == "sequential":
            return self.packs.check(pack)
        state = self.packs.read(pack)
        if state is None:
            return False
        lease = self._cache.ledger.open(pack)
        if self._cache.load(lease, state, article, len(composition.prompt.system)):
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
