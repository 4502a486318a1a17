"""Drafts that were written before their questions came, each until its question comes or is another.

Promises: a draft is given out once, for a question whose prompt has just its tokens and whose answer is chosen as it
was, and only while all of its keys and values are still in memory; at most `MOST_DRAFTS` are kept, one a conversation.
Their room is pinned by nobody, so any other request may have it. Their text is nowhere else. Belongs to the engine's
thread.
"""

from __future__ import annotations

from runtime.engine.core.request import Request
from runtime.engine.llama.active_sequence import ActiveSequence
from runtime.engine.llama.kv_cache import KvCache

MOST_DRAFTS = 8
"""The newest: more people hardly ever type at one branch, and the room is evicted from the oldest anyway."""


class DraftShelf:
    """Drafts by conversation, the oldest first."""

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self._drafts: dict[str, tuple[ActiveSequence, int]] = {}
        """Each with the tokens that its sequence held when it was put here."""

    def __len__(self) -> int:
        return len(self._drafts)

    def put(self, draft: ActiveSequence) -> None:
        """Keep a draft that no longer computes; an older one of its conversation goes."""
        conversation = draft.request.conversation
        if conversation is None:
            return
        self.drop(conversation)
        self._drafts[conversation] = draft, len(draft.lease.tokens)
        for name in [name for name, (one, count) in self._drafts.items() if not self._is_whole(one, count)]:
            self.drop(name)
        while len(self._drafts) > MOST_DRAFTS:
            self.drop(next(iter(self._drafts)))

    def take(self, request: Request) -> ActiveSequence | None:
        """The draft of a question, its sequence in use again; None where there is none, or no longer all of it."""
        if request.conversation is None or request.conversation not in self._drafts:
            return None
        draft, count = self._drafts[request.conversation]
        if not draft.request.fits(request) or not self._is_whole(draft, count):
            return None
        del self._drafts[request.conversation]
        draft.lease.pins += 1
        return draft

    def drop(self, conversation: str) -> None:
        """Forget a conversation's draft."""
        if conversation in self._drafts:
            draft, _ = self._drafts.pop(conversation)
            if draft.sampler is not None:
                draft.sampler.close()

    def clear(self) -> None:
        """Forget all."""
        for conversation in list(self._drafts):
            self.drop(conversation)

    def _is_whole(self, draft: ActiveSequence, count: int) -> bool:
        """Whether nothing of its sequence was evicted or cut off since."""
        lease = draft.lease
        return self._cache.ledger.leases.get(lease.id) is lease and len(lease.tokens) == count
