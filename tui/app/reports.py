"""What the boxes of text say, made from the server's answers: headings with their lines. Pure.

Everything that came from strangers is made inert where it is shown (`tui.screens.page.render`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from runtime.client.answers import (
    AheadFigures,
    CardPage,
    ConversationTurn,
    ExplainedSection,
    Explanation,
    HandoffRow,
    OutgoingRow,
    ReceiptAnswer,
)
from tui.base.i18n import Catalogue
from tui.state import CALM, InboxRow

Blocks = list[tuple[str, list[str]]]


def why_page(said: Explanation, words: Catalogue) -> Blocks:
    """How a draft came about."""
    cited = [line for one in said.cited for line in [one.ref, *(f"  “{sentence}”" for sentence in one.sentences)]]
    return _without_empty(
        [
            (words("why.decided"), [_decision(said.decided, words)]),
            (words("why.understood"), _understanding(said, words)),
            (words("why.query"), [said.query]),
            (words("why.sections"), [_section(one, words) for one in said.sections]),
            (words("why.cited"), cited),
            (words("why.unsupported"), list(said.unsupported)),
            (words("why.read"), _effort(said, words)),
            (words("why.model"), [said.model]),
        ]
    )


def _decision(decided: str, words: Catalogue) -> str:
    """`rule:legal` in words."""
    kind, _, name = decided.partition(":")
    known = words.get(f"decided.{kind}")
    return f"{known} {words.get(f'handoff.{name}') or name}".strip() if known else decided


def _understanding(said: Explanation, words: Catalogue) -> list[str]:
    out = []
    for kind, one in (("intent", said.intent), ("emotion", said.emotion)):
        if kind == "emotion" and one.name == CALM and not one.corrected:
            out.append(words("label.no_emotion"))
        elif one.name:
            confidence = words.get(f"confidence.{'said' if one.corrected else one.confidence}")
            out.append(f"{words('label.' + kind)} {one.name} {confidence}".strip())
    # The rule and the labels are in the lines above already, in words.
    known = ("hand_off.", "intent ", "emotion ", "unfamiliar ")
    if said.unfamiliar:
        out.append(words("why.unfamiliar"))
    if said.answerable is not None:
        out.append(words("why.answerable", percent=f"{100 * said.answerable:.0f}"))
    return out + [reason for reason in said.reasons if not reason.startswith(known)]


def _effort(said: Explanation, words: Catalogue) -> list[str]:
    """How the prompt was read, and where the time went."""
    tokens = words(
        "why.tokens",
        prompt=said.prompt_tokens,
        reused=said.reused_tokens,
        computed=said.computed_tokens,
        answer=said.answer_tokens,
    )
    times = {"queued_s": said.times.queued_s, "ttft_s": said.times.ttft_s, "took_s": said.times.took_s}
    return [
        " · ".join(part for part in (said.layout, said.layout_reason) if part),
        tokens if said.prompt_tokens else "",
        *(words(f"why.{name}", seconds=seconds) for name, seconds in times.items() if seconds),
        words("figure.speed", speed=said.times.tokens_per_s) if said.times.tokens_per_s else "",
    ]


def _section(one: ExplainedSection, words: Catalogue) -> str:
    marks = [words("turn.internal")] if one.audience == "internal" else []
    marks += [words("why.mark_cited")] if one.cited else []
    name = " > ".join(dict.fromkeys(part for part in (one.title, one.heading) if part))
    return f"{one.score:.2f}  {name or one.ref}" + (f" ({', '.join(marks)})" if marks else "")


def card_page(card: CardPage, words: Catalogue) -> Blocks:
    """A hand-off's card: what the next agent must know."""
    tried = [line for one in card.tried for line in (one.question, f"  → {one.answer}")]
    lang = card.language
    about = [words("assist.language", lang=words.get(f"lang.{lang}") or lang)] if lang else []
    about += [f"{name}: {value}" for name, value in sorted(card.entities.items())]
    # A card goes to a colleague: "calm" would be a promise that nobody made.
    labels = {"intent": card.intent, "emotion": None if card.emotion == CALM else card.emotion}
    about += [f"{words('label.' + kind)} {name}" for kind, name in labels.items() if name]
    state = words.get(f"handoff_state.{card.state}")
    return _without_empty(
        [
            (words("card.reason"), [words.get(f"handoff.{card.reason}") or card.reason, *([state] if state else [])]),
            (words("card.summary"), [card.summary]),
            (words("card.open"), list(card.open_questions)),
            (words("card.tried"), tried),
            (words("card.about"), about),
        ]
    )


def lens_page(rows: Sequence[OutgoingRow], words: Catalogue) -> Blocks:
    """Exactly what would leave the branch: every field of every row, as it would be sent."""
    blocks = [(words("lens.head", count=len(rows)), [words("lens.about")])]
    for row in rows:
        lines = [f"{name}: {_plain(value)}" for name, value in row.items() if value not in (None, "", [], ())]
        blocks.append((str(row.get("key") or ""), lines))
    return blocks


def gaps_page(rows: Sequence[OutgoingRow], words: Catalogue) -> Blocks:
    """Questions no article answers: each is a ticket for head office, and leaves redacted with the outbox."""
    tickets = [row for row in rows if row.get("handoff") == "no_article"]
    blocks = [(words("gaps.head", count=len(tickets)), [words("gaps.about")])]
    for row in tickets:
        right = [words("gaps.right", text=str(row["reply"]))] if row.get("reply") else [words("gaps.no_right")]
        blocks.append((str(row.get("question") or ""), [f"{row.get('lang', '')} · {row.get('asked', '')}", *right]))
    return blocks


def receipt_page(receipt: ReceiptAnswer, words: Catalogue) -> Blocks:
    """One line and a list: this branch's corrections, those that are still wrong last."""
    if not receipt.release:
        return [(words("receipt.none"), [words("receipt.about")])]
    passed = sum(one.passes for one in receipt.own)
    head = words("receipt.head", release=receipt.release, passed=passed, count=len(receipt.own))
    fleet = words("receipt.all", passed=receipt.passed, count=receipt.corrections)
    rows = [
        (one.question, [words("receipt.right" if one.passes else "receipt.wrong"), words("gaps.right", text=one.reply)])
        for one in sorted(receipt.own, key=lambda one: not one.passes)
    ]
    return [(head, [fleet]), *rows]


def shift_page(rows: Sequence[InboxRow], handoffs: Sequence[HandoffRow], words: Catalogue) -> Blocks:
    """What the next shift must know: who waits, who is snoozed, what was handed over."""
    waiting = [row for row in rows if row.status == "open" and row.waiting]
    snoozed = [row for row in rows if row.status == "snoozed"]
    closed = sum(row.status == "closed" for row in rows)
    handed = [
        f"{one.opened[:16]}  {words.get('handoff.' + one.reason) or one.reason} · {one.conversation}"
        for one in handoffs
    ]
    return [
        (words("shift.waiting", count=len(waiting)), [_line(row) for row in waiting]),
        (words("shift.snoozed", count=len(snoozed)), [f"{row.snooze_until[:16]}  {_line(row)}" for row in snoozed]),
        (words("shift.handoffs", count=len(handoffs)), handed),
        (words("shift.closed", count=closed), []),
    ]


def supervisor_page(
    rows: Sequence[InboxRow],
    handoffs: Mapping[str, Sequence[HandoffRow]],
    turns: Sequence[ConversationTurn],
    ahead: AheadFigures,
    words: Catalogue,
) -> Blocks:
    """The branch at a glance, from the inbox, the hand-offs by state, recent turns, and what was written ahead."""
    queue = Counter(row.waits for row in rows)
    feedback = [turn.feedback for turn in turns if turn.feedback is not None]
    verdicts = Counter(one.verdict for one in feedback if one.verdict)
    seconds = [one.seconds for one in feedback if one.seconds]
    first = [turn.details.ttft_s for turn in turns if turn.details.ttft_s]
    reasons = Counter(one.reason for kind in handoffs.values() for one in kind)
    shares = [
        f"{words('verdict.' + name)}: {count} ({100 * count / verdicts.total():.0f} %)"
        for name, count in verdicts.most_common()
    ]
    times = [words("supervisor.reply", seconds=median(seconds))] if seconds else []
    times += [words("supervisor.first", seconds=median(first))] if first else []
    handed = [f"{words('handoff_state.' + state)}: {len(kind)}" for state, kind in handoffs.items()]
    handed += [f"{words.get('handoff.' + name) or name}: {count}" for name, count in reasons.most_common()]
    return _without_empty(
        [
            (words("supervisor.queue"), [f"{words('waits.' + name)}: {count}" for name, count in queue.most_common()]),
            (words("supervisor.drafts", count=len(turns)), shares),
            (words("supervisor.times"), times),
            (words("supervisor.handoffs"), handed),
            (words("supervisor.ahead"), _written_ahead(ahead, words) if ahead.drafts else []),
        ]
    )


def _written_ahead(ahead: AheadFigures, words: Catalogue) -> list[str]:
    """What drafts before their questions brought, and what they cost."""
    return [
        words("supervisor.ahead_used", used=ahead.used, drafts=ahead.drafts),
        words("supervisor.ahead_wasted", wasted=ahead.tokens_wasted, written=ahead.tokens_written),
        words("supervisor.ahead_spent", seconds=ahead.processor_s),
    ]


def _line(row: InboxRow) -> str:
    tags = "".join(f" #{tag}" for tag in row.tags)
    return f"{row.asked[11:16]}  {row.question}{tags}"


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _without_empty(blocks: Blocks) -> Blocks:
    """Without headings that have nothing below them."""
    return [(heading, kept) for heading, lines in blocks if (kept := [line for line in lines if line.strip()])]
