"""What the boxes of text say, made from the server's answers: headings with their lines. Pure.

Everything that came from strangers is made inert where it is shown (`tui.screens.page.render`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tui.base.i18n import Catalogue
from tui.state import InboxRow

Said = Mapping[str, Any]
Blocks = list[tuple[str, list[str]]]


def why_page(said: Said, words: Catalogue) -> Blocks:
    """How a draft came about: `GET …/turns/{n}/why`."""
    cited = [
        line
        for one in said.get("cited") or ()
        for line in [str(one.get("ref")), *(f"  “{sentence}”" for sentence in one.get("sentences") or ())]
    ]
    return _full(
        [
            (words("why.decided"), [_decided(str(said.get("decided") or ""), words)]),
            (words("why.understood"), _understood(said, words)),
            (words("why.query"), [str(said.get("query") or "")]),
            (words("why.sections"), [_section(one, words) for one in said.get("sections") or ()]),
            (words("why.cited"), cited),
            (words("why.unsupported"), [str(item) for item in said.get("unsupported") or ()]),
            (words("why.read"), _took(said, words)),
            (words("why.model"), [str(said.get("model") or "")]),
        ]
    )


def _decided(decided: str, words: Catalogue) -> str:
    """`rule:legal` in words."""
    kind, _, name = decided.partition(":")
    known = words.get(f"decided.{kind}")
    return f"{known} {words.get(f'handoff.{name}') or name}".strip() if known else decided


def _understood(said: Said, words: Catalogue) -> list[str]:
    out = []
    for kind in ("intent", "emotion"):
        one = said.get(kind)
        if isinstance(one, Mapping) and one.get("name"):
            sure = "said" if one.get("corrected") else one.get("confidence")
            out.append(f"{words('label.' + kind)} {one['name']} {words.get(f'confidence.{sure}')}".strip())
    told = ("hand_off.", "intent ", "emotion ")  # said above, and in words
    return out + [str(reason) for reason in said.get("reasons") or () if not str(reason).startswith(told)]


def _took(said: Said, words: Catalogue) -> list[str]:
    """How the prompt was read, and where the time went."""
    times = said.get("times") or {}
    counts = {name: int(said.get(f"{name}_tokens") or 0) for name in ("prompt", "reused", "computed", "answer")}
    spent = [name for name in ("queued_s", "ttft_s", "took_s") if times.get(name)]
    return [
        " · ".join(str(said[key]) for key in ("layout", "layout_reason") if said.get(key)),
        words("why.tokens", **counts) if counts["prompt"] else "",
        *(words(f"why.{name}", seconds=float(times[name])) for name in spent),
        words("figure.speed", speed=float(times["tokens_per_s"])) if times.get("tokens_per_s") else "",
    ]


def _section(one: Said, words: Catalogue) -> str:
    marks = [words("turn.internal")] if one.get("audience") == "internal" else []
    marks += [words("why.mark_cited")] if one.get("cited") else []
    name = " > ".join(dict.fromkeys(str(one[key]) for key in ("title", "heading") if one.get(key)))
    score = f"{float(one.get('score') or 0):.2f}"
    return f"{score}  {name or one.get('ref')}" + (f" ({', '.join(marks)})" if marks else "")


def card_page(said: Said, words: Catalogue) -> Blocks:
    """A hand-off's card: what the next person must know."""
    reason = str(said.get("reason") or "")
    tried = []
    for one in said.get("tried") or ():
        tried += [f"{one.get('question', '')}", f"  → {one.get('answer', '')}"]
    entities = said.get("entities") or {}
    lang = str(said.get("language") or "")
    about = [words("assist.language", lang=words.get(f"lang.{lang}") or lang)] if lang else []
    about += [f"{name}: {value}" for name, value in sorted(entities.items())]
    about += [f"{words('label.' + kind)} {said[kind]}" for kind in ("intent", "emotion") if said.get(kind)]
    state = words.get(f"handoff_state.{said.get('state')}")
    return _full(
        [
            (words("card.reason"), [words.get(f"handoff.{reason}") or reason, *([state] if state else [])]),
            (words("card.summary"), [str(said.get("summary") or "")]),
            (words("card.open"), [str(one) for one in said.get("open_questions") or ()]),
            (words("card.tried"), tried),
            (words("card.about"), about),
        ]
    )


def lens_page(said: Said, words: Catalogue) -> Blocks:
    """Exactly what would leave the branch: every field of every row, as it would be sent."""
    rows = said.get("rows") or ()
    blocks = [(words("lens.head", count=len(rows)), [words("lens.about")])]
    for row in rows:
        lines = [f"{name}: {_plain(value)}" for name, value in row.items() if value not in (None, "", [], ())]
        blocks.append((str(row.get("key") or ""), lines))
    return blocks


def gaps_page(rows: Sequence[Said], words: Catalogue) -> Blocks:
    """Questions no article answers: each is a ticket for head office, and leaves redacted with the outbox."""
    tickets = [row for row in rows if row.get("handoff") == "no_article"]
    blocks = [(words("gaps.head", count=len(tickets)), [words("gaps.about")])]
    for row in tickets:
        right = [words("gaps.right", text=str(row["reply"]))] if row.get("reply") else [words("gaps.no_right")]
        blocks.append((str(row.get("question") or ""), [f"{row.get('lang', '')} · {row.get('asked', '')}", *right]))
    return blocks


def shift_page(rows: Sequence[InboxRow], handoffs: Sequence[Said], words: Catalogue) -> Blocks:
    """What the next shift must know: who waits, who is snoozed, what was handed over."""
    waiting = [row for row in rows if row.status == "open" and row.waiting]
    snoozed = [row for row in rows if row.status == "snoozed"]
    closed = sum(row.status == "closed" for row in rows)
    return [
        (words("shift.waiting", count=len(waiting)), [_line(row) for row in waiting]),
        (words("shift.snoozed", count=len(snoozed)), [f"{row.snooze_until[:16]}  {_line(row)}" for row in snoozed]),
        (
            words("shift.handoffs", count=len(handoffs)),
            [f"{one.get('opened', '')[:16]}  {words.get('handoff.' + str(one.get('reason'))) or one.get('reason')}"
             f" · {one.get('conversation')}" for one in handoffs],
        ),
        (words("shift.closed", count=closed), []),
    ]  # fmt: skip


def supervisor_page(
    rows: Sequence[InboxRow], handoffs: Mapping[str, Sequence[Said]], turns: Sequence[Said], words: Catalogue
) -> Blocks:
    """The branch at a glance. `turns` are recent ones as `GET /v1/conversations/{id}` has them."""
    queue = Counter(row.waits for row in rows)
    said = [turn.get("feedback") or {} for turn in turns]
    verdicts = Counter(str(one.get("verdict")) for one in said if one.get("verdict"))
    seconds = [float(one["seconds"]) for one in said if one.get("seconds")]
    first = [float(turn["details"]["ttft_s"]) for turn in turns if (turn.get("details") or {}).get("ttft_s")]
    reasons = Counter(str(one.get("reason")) for kind in handoffs.values() for one in kind)
    shares = [
        f"{words('verdict.' + name)}: {count} ({100 * count / verdicts.total():.0f} %)"
        for name, count in verdicts.most_common()
    ]
    times = [words("supervisor.reply", seconds=median(seconds))] if seconds else []
    times += [words("supervisor.first", seconds=median(first))] if first else []
    handed = [f"{words('handoff_state.' + state)}: {len(kind)}" for state, kind in handoffs.items()]
    handed += [f"{words.get('handoff.' + name) or name}: {count}" for name, count in reasons.most_common()]
    return _full(
        [
            (words("supervisor.queue"), [f"{words('waits.' + name)}: {count}" for name, count in queue.most_common()]),
            (words("supervisor.drafts", count=len(turns)), shares),
            (words("supervisor.times"), times),
            (words("supervisor.handoffs"), handed),
        ]
    )


def _line(row: InboxRow) -> str:
    tags = "".join(f" #{tag}" for tag in row.tags)
    return f"{row.asked[11:16]}  {row.question}{tags}"


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _full(blocks: Blocks) -> Blocks:
    """Without headings that have nothing below them."""
    return [(heading, kept) for heading, lines in blocks if (kept := [line for line in lines if line.strip()])]
