"""Packs: several records about the same articles in one training sequence, each blind to the others.

    [system][article A][article B][article C] | [question 1][reply 1] | [question 2][reply 2] | …

Every question sees the shared prefix and itself, at the positions it would have alone, so the logits are those of
separate prompts while the articles, most of any prompt, are read once (4-D mask and position ids; the idea of
Block-Attention, arXiv:2409.15355, turned to training). How the articles stand to each other is the pack's layout, the
same as `runtime.engine.llama.article_cache` puts compiled ones together in:

    exact       each sees those before it
    parallel    each sees the system text and itself, directly after the system text; questions follow the longest
    sequential  each sees the system text and itself, and is then moved after the previous one

An article that is moved was read directly after the system text, which position ids over one sequence cannot express.
So in `sequential` each article but the first is read after its own copy of the system text. Knows nothing of models.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, cycle
from typing import TYPE_CHECKING, Literal

from runtime.errors import ModelError
from runtime.prompting.prompt_spec import ChatPieces, PromptSpec, Tokenizer, encode, layout
from runtime.prompting.prompt_tokens import LAYOUTS, Layout
from runtime.text.articles import Section
from runtime.text.records import Record

if TYPE_CHECKING:
    import torch

Layouts = Layout | Literal["mixed"]
"""What a recipe may ask for: one of them, or all in turn."""
ANCHOR_TURNS = 4
"""Of an anchored pack: records of its own section for one of another's. The first section found answers three of four
questions, so a model may learn to look there first; in packs of five records there alone (decision 033)."""
MAX_CONTEXT_TURNS = 4
"""Earlier messages a training prompt keeps: the desk trims to about as many."""


@dataclass(frozen=True)
class Pack:
    """Token ids of a shared prefix and of the branches that follow it."""

    tokens: tuple[int, ...]
    prefix: int
    """Length of the shared prefix."""
    branches: tuple[tuple[int, int, int], ...]
    """(start, start of the reply, end) of each record's tokens, in order, without gaps."""
    records: tuple[str, ...] = field(default=())
    """Ids of the records, one a branch."""
    articles: tuple[int, ...] = ()
    """Tokens of each article at the end of the prefix; the tokens before them are the system text."""
    layout: Layout = "exact"

    @property
    def system(self) -> int:
        """Tokens of the system text."""
        return self.prefix - sum(self.articles)

    @property
    def copies(self) -> int:
        """Copies of the system text that are read besides: one for each article that is moved away from it."""
        return max(0, len(self.articles) - 1) if self.layout == "sequential" else 0

    def read(self) -> list[int]:
        """What a model reads: the tokens, then the copies of the system text."""
        return [*self.tokens, *(self.tokens[: self.system] * self.copies)]

    def positions(self) -> list[int]:
        """Position id of everything read: each branch goes on where the prefix, as it is laid out, ends."""
        system, side_by_side = self.system, self.layout == "parallel"
        places = [system] * len(self.articles) if side_by_side else list(accumulate(self.articles, initial=system))
        out = list(range(system))
        for place, length in zip(places, self.articles, strict=False):
            out += range(place, place + length)
        # Every branch starts at the same position: it never sees the others.
        first = system + max(self.articles, default=0) if side_by_side else self.prefix
        for start, _, end in self.branches:
            out += range(first, first + end - start)
        for place in places[1 : 1 + self.copies]:
            out += range(place - system, place)
        return out

    def reply_targets(self) -> list[int]:
        """Indices i whose next token i+1 is part of a reply: where the reply's logits stand."""
        return [i for _, reply, end in self.branches for i in range(reply - 1, end - 1)]

    def attention(self) -> torch.Tensor:
        """Bool mask [1, 1, query, key], True = may attend; for `attn_implementation="sdpa"`."""
        import torch

        # The mask is decided between blocks of tokens (system text, articles, branches, copies) and then spread to the
        # tokens, where a token also never sees a later position.
        lengths = [self.system, *self.articles, *(end - start for start, _, end in self.branches)]
        lengths += [self.system] * self.copies
        articles = range(1, 1 + len(self.articles))
        branches = range(articles.stop, articles.stop + len(self.branches))
        sees = torch.eye(len(lengths), dtype=torch.bool)
        for article in articles:
            if self.layout == "exact":
                sees[article, :article] = True
            else:
                # The first article sees the system text itself, each later one the copy that was made for it.
                sees[article, branches.stop + article - 2 if self.copies and article > 1 else 0] = True
        sees[branches.start : branches.stop, : branches.start] = True
        owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        places = torch.tensor(self.positions())
        return (sees[owner][:, owner] & (places[None, :] <= places[:, None]))[None, None]


@dataclass(frozen=True)
class PackLimits:
    """How large packs grow."""

    records: int = 10
    """Branches a pack holds at most."""
    tokens: int = 1400
    """Tokens a pack holds at most; a record that would pass it goes to the next."""
    refusals: int = 2
    """Branches a pack keeps for questions its articles do not answer."""


def pack_records(
    records: Sequence[Record],
    sections: Mapping[str, Section],
    spec: PromptSpec,
    tokenizer: Tokenizer,
    *,
    neighbours: Callable[[str], Sequence[str]],
    limits: PackLimits | None = None,
    seed: int = 0,
    anchored: bool = False,
) -> list[Pack]:
    """Group records whose evidence is in neighbouring sections and encode each group as a pack.

    `sections` by reference; `neighbours(ref)` gives other references, nearest first, that a retriever would show
    with it. A record without known evidence keeps its response under whatever articles its pack has. Each record is
    used at most once; the order is a function of `seed`. `anchored` lays a pack out as a branch does what it finds: the
    section that most of its questions rest on stands where the first one found stands, others answer now and then.
    """
    limits = limits or PackLimits()
    rng = random.Random(seed)  # noqa: S311 - a shuffle, no secret
    queues: dict[str, list[Record]] = defaultdict(list)
    unanswerable: list[Record] = []

    def queue_of(record: Record) -> list[Record]:
        return queues[next(ref for ref in record.evidence if ref in sections)] if record.evidence else unanswerable

    for record in records:
        if not record.evidence or any(ref in sections for ref in record.evidence):
            queue_of(record).append(record)
    for queue in queues.values():
        rng.shuffle(queue)
    rng.shuffle(unanswerable)
    packs = []
    while any(queues.values()):
        live = [ref for ref, queue in queues.items() if queue]
        # The fullest sections lead, so that no section is left with packs of one record at the end.
        anchor = max(live, key=lambda ref: (len(queues[ref]), rng.random()))
        near = [ref for ref in neighbours(anchor) if ref != anchor and ref in sections][: 2 * spec.articles]
        others = rng.sample(near, min(spec.articles - 1, len(near)))
        refs, turns = [anchor, *others], [anchor, *others]
        if anchored:
            turns = [ref for other in others for ref in (*[anchor] * ANCHOR_TURNS, other)] or [anchor]
        else:
            rng.shuffle(refs)
        chosen = _draw(queues, turns, max(1, limits.records - limits.refusals))
        refusals = min(limits.refusals, limits.records - len(chosen), len(unanswerable))
        chosen += [unanswerable.pop() for _ in range(refusals)]
        rng.shuffle(chosen)
        pack, left = encode_pack(chosen, [sections[ref] for ref in refs], spec, tokenizer, limits.tokens)
        if pack:
            packs.append(pack)
        for record in left:
            # Where not one record fits with its articles, they are too long to learn from and would be drawn forever.
            if pack or not record.evidence:
                queue_of(record).insert(0, record)
    rng.shuffle(packs)
    return packs


def pack_replay(records: Sequence[Record], spec: PromptSpec, tokenizer: Tokenizer, limits: PackLimits) -> list[Pack]:
    """General conversations in packs without articles, the languages apart; what does not fit a pack is left out."""
    packs = []
    for lang in sorted({record.lang for record in records}):
        left = [record for record in records if record.lang == lang]
        while left:
            pack, beyond = encode_pack(left[: limits.records], (), spec, tokenizer, limits.tokens)
            packs += [pack] if pack else []
            left = [*(beyond if pack else ()), *left[limits.records :]]
    return packs


def mix_replay(packs: Sequence[Pack], replay: Sequence[Pack], share: float) -> list[Pack]:
    """As many packs, a share of them replay, evenly spread; replay that is used up begins again (pure)."""
    count = round(share * len(packs)) if replay else 0
    out = list(packs)
    for number in range(count):
        out[int((number + 0.5) * len(packs) / count)] = replay[number % len(replay)]
    return out


def apply_layout(packs: Iterable[Pack], layout: Layouts) -> list[Pack]:
    """The same packs, their articles laid out for a student; `mixed` takes the layouts in turn."""
    turns: Iterable[Layout] = cycle(LAYOUTS if layout == "mixed" else (layout,))
    return [replace(pack, layout=one) for pack, one in zip(packs, turns, strict=False)]


def cover_first(packs: Iterable[Pack], evidence: Mapping[str, Sequence[str]]) -> list[Pack]:
    """Order packs so that the first of them rest on as many different sections as they can; otherwise as they come.

    `evidence` by record id. A stage takes the first packs of many, and what a student never read about it is worst at.
    Once every section has come up the next round begins.
    """
    left = [(pack, {ref for name in pack.records for ref in evidence[name]}) for pack in packs]
    out = []
    while left:
        seen: set[str] = set()
        # All new first, then partly new: packs whose sections have all come up wait for the next round.
        for all_new in (True, False):
            later = []
            for pack, refs in left:
                if not refs & seen if all_new else refs - seen:
                    out.append(pack)
                    seen |= refs
                else:
                    later.append((pack, refs))
            left = later
    return out


def _draw(queues: Mapping[str, list[Record]], refs: Sequence[str], count: int) -> list[Record]:
    """Up to `count` records about these sections, taken in turns so that none crowds the others out."""
    out: list[Record] = []
    while len(out) < count and any(queues.get(ref) for ref in refs):
        for ref in refs:
            if queues.get(ref) and len(out) < count:
                out.append(queues[ref].pop())
    return out


def closing_tokens(pieces: ChatPieces, tokenizer: Tokenizer) -> list[int]:
    """What a student learns to write at the end of a reply: the assistant's closing up to the token that stops it.

    The engine ends an answer at a token of `pieces.stop`, so the last token learned is one of them, also where the
    closing begins with a blank or a line end of its own. `ModelError` where the closing has no such token: a student
    could never learn to stop.
    """
    stops = {tokens[0] for stop in pieces.stop if len(tokens := tokenizer.encode(stop, control=True)) == 1}
    close = tokenizer.encode(pieces.assistant_close, control=True)
    for place, token in enumerate(close):
        if token in stops:
            return close[: place + 1]
    raise ModelError(
        f"the chat template ends a reply with {pieces.assistant_close!r}, in which no single token stops an answer",
        where="prompt.template",
        hint=f"end replies with the tokenizer's end token; expected one of {', '.join(map(repr, pieces.stop))}",
    )


def encode_pack(
    records: Iterable[Record],
    sections: Sequence[Section],
    spec: PromptSpec,
    tokenizer: Tokenizer,
    max_tokens: int,
) -> tuple[Pack | None, list[Record]]:
    """Tokens of one pack, and the records that did not fit."""
    tokens: list[int] = []
    branches: list[tuple[int, int, int]] = []
    used: list[str] = []
    left: list[Record] = []
    articles: list[list[int]] = []
    prefix = 0
    closing = closing_tokens(spec.pieces, tokenizer)
    for record in records:
        parts = layout(spec, record.lang, sections, record.context[-MAX_CONTEXT_TURNS:], record.query)
        if not tokens:
            articles = [encode(article, tokenizer) for article in parts.articles]
            tokens = encode(parts.system, tokenizer) + [token for article in articles for token in article]
            prefix = len(tokens)
        question = encode(parts.tail, tokenizer)
        reply = tokenizer.encode(record.response, control=False) + closing
        if len(tokens) + len(question) + len(reply) > max_tokens:
            left.append(record)
            continue
        start = len(tokens)
        tokens += question + reply
        branches.append((start, start + len(question), len(tokens)))
        used.append(record.id)
    if not branches:
        return None, left
    return Pack(tuple(tokens), prefix, tuple(branches), tuple(used), tuple(map(len, articles))), left
