"""What the boxes of text say, made from the server's answers: headings with their lines. Pure.

Everything that came from strangers is made inert where it is shown (`tui.screens.page.render`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tui.state import Row
from tui.words import Words

Said = Mapping[str, Any]
Blocks = list[tuple[str, list[str]]]


def why_page(said: Said, words: Words) -> Blocks:
    """How a draft came about: `GET …/turns/{n}/why`."""
    decided = str(said.get("decided") or "")
    labels = []
    for kind in ("intent", "emotion"):
        one = said.get(kind) or {}
        if isinstance(one, Mapping) and one.get("name"):
            sure = words.get(f"confidence.{one.get('confidence')}") or (
                words("confidence.said") if one.get("corrected") else ""
            )
            labels.append(f"{words('label.' + kind)} {one['name']} {sure}".strip())
    labels += [str(reason) for reason in said.get("reasons") or ()]
    sections = [_section(one, words) for one in said.get("sections") or ()]
    cited = [
        line
        for one in said.get("cited") or ()
        for line in [str(one.get("ref")), *(f"  “{sentence}”" for sentence in one.get("sentences") or ())]
    ]
    times = said.get("times") or {}
    figures = [
        words("why.tokens", prompt=said.get("prompt_tokens") or 0, reused=said.get("reused_tokens") or 0,
              computed=said.get("computed_tokens") or 0, written=said.get("answer_tokens") or 0),
        *(words(f"why.{name}", seconds=float(times[name])) for name in ("queued_s", "ttft_s", "took_s") if times.get(name)),
    ]  # fmt: skip
    if times.get("tokens_per_s"):
        figures.append(words("figure.speed", speed=float(times["tokens_per_s"])))
    layout = " · ".join(str(said[key]) for key in ("layout", "layout_reason") if said.get(key))
    blocks = [
        (
            words("why.decided"),
            [
                words.get(f"decided.{decided.split(':')[0]}")
                + (f" {decided.partition(':')[2]}" if ":" in decided else "")
                or decided
            ],
        ),
        (words("why.understood"), labels),
        (words("why.query"), [str(said.get("query") or "")]),
        (words("why.sections"), sections),
        (words("why.cited"), cited),
        (words("why.unsupported"), [str(item) for item in said.get("unsupported") or ()]),
        (words("why.read"), [layout, *figures]),
        (words("why.model"), [str(said.get("model") or "")]),
    ]
    return _full(blocks)


def _section(one: Said, words: Words) -> str:
    marks = [words("turn.internal")] if one.get("audience") == "internal" else []
    marks += [words("why.mark_cited")] if one.get("cited") else []
    name = " > ".join(dict.fromkeys(str(one[key]) for key in ("title", "heading") if one.get(key)))
    score = f"{float(one.get('score') or 0):.2f}"
    return f"{score}  {name or one.get('ref')}" + (f" ({', '.join(marks)})" if marks else "")


def card_page(said: Said, words: Words) -> Blocks:
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


def lens_page(said: Said, words: Words) -> Blocks:
    """Exactly what would leave the branch: every field of every row, as it would be sent."""
    rows = said.get("rows") or ()
    blocks = [(words("lens.head", count=len(rows)), [words("lens.about")])]
    for row in rows:
        lines = [f"{name}: {_plain(value)}" for name, value in row.items() if value not in (None, "", [], ())]
        blocks.append((str(row.get("key") or ""), lines))
    return blocks


def gaps_page(rows: Sequence[Said], words: Words) -> Blocks:
    """Questions no article answers: each is a ticket for head office, and leaves redacted with the outbox."""
    tickets = [row for row in rows if row.get("handoff") == "no_article"]
    blocks = [(words("gaps.head", count=len(tickets)), [words("gaps.about")])]
    for row in tickets:
        right = [words("gaps.right", text=str(row["reply"]))] if row.get("reply") else [words("gaps.no_right")]
        blocks.append((str(row.get("question") or ""), [f"{row.get('lang', '')} · {row.get('asked', '')}", *right]))
    return blocks


def shift_page(rows: Sequence[Row], handoffs: Sequence[Said], words: Words) -> Blocks:
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
    rows: Sequence[Row], handoffs: Mapping[str, Sequence[Said]], turns: Sequence[Said], words: Words
) -> Blocks:
    """The branch at a glance. `turns` are recent ones as `GET /v1/conversations/{id}` has them."""
    states = Counter(row.waits for row in rows)
    verdicts = Counter(str((turn.get("feedback") or {}).get("verdict") or "none") for turn in turns)
    seconds = sorted(float(said["seconds"]) for turn in turns if (said := turn.get("feedback") or {}).get("seconds"))
    first = sorted(float(said["ttft_s"]) for turn in turns if (said := turn.get("details") or {}).get("ttft_s"))
    reasons = Counter(str(one.get("reason")) for kind in handoffs.values() for one in kind)
    decided = sum(verdicts[name] for name in ("accepted", "edited", "rejected"))
    shares = [
        f"{words('verdict.' + name)}: {verdicts[name]}"
        + (f" ({100 * verdicts[name] / decided:.0f} %)" if decided else "")
        for name in ("accepted", "edited", "rejected")
    ]
    times = [words("supervisor.reply", seconds=seconds[len(seconds) // 2])] if seconds else []
    times += [words("supervisor.first", seconds=first[len(first) // 2])] if first else []
    return _full(
        [
            (words("supervisor.queue"), [f"{words('inbox.' + name, until='')}: {count}" for name, count in states.most_common()]),
            (words("supervisor.drafts", count=len(turns)), shares),
            (words("supervisor.times"), times),
            (
                words("supervisor.handoffs"),
                [f"{words('handoff_state.' + state)}: {len(kind)}" for state, kind in handoffs.items()]
                + [f"{words.get('handoff.' + name) or name}: {count}" for name, count in reasons.most_common()],
            ),
        ]
    )  # fmt: skip


def _line(row: Row) -> str:
    tags = "".join(f" #{tag}" for tag in row.tags)
    return f"{row.asked[11:16]}  {row.question}{tags}"


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _full(blocks: Blocks) -> Blocks:
    """Without headings that have nothing below them."""
    return [(heading, kept) for heading, lines in blocks if (kept := [line for line in lines if line.strip()])]
