"""The assist pane: intent and emotion, warnings, sources, and the time taken.

Promises: nothing is shown by colour alone; an internal source is marked in words. Knows nothing of sockets; it is given
the state.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.style import Style

from runtime.events import Citation
from tui.base.i18n import Catalogue
from tui.base.inert_text import inert, one_line
from tui.state import CALM, ConsoleTurn, Labels, Meta, State, acceptance_doubts
from tui.widgets.label import InertLabel
from tui.widgets.status import progress_words


class AssistPane(Vertical):
    """Blocks about the newest turn, and about the conversation."""

    BLOCKS = ("labels", "warnings", "sources", "time", "customer", "notes")

    def __init__(self) -> None:
        super().__init__(id="assist")

    def compose(self) -> ComposeResult:
        """A heading and a line for each block."""
        yield InertLabel(classes="pane-title", id="assist-title")
        yield InertLabel(id="assist-empty")
        with VerticalScroll(id="assist-blocks"):
            for name in self.BLOCKS:
                yield InertLabel(classes="label", id=f"assist-{name}-label")
                yield InertLabel(classes="block", id=f"assist-{name}")

    def show(self, state: State, words: Catalogue, now: float) -> None:
        """Show what is known."""
        turn = state.current
        self.query_one("#assist-title", InertLabel).put(words("assist.title"))
        self._put("labels", words, label_chips(turn.labels, words) if turn else Content(""))
        self._put("warnings", words, "\n".join(turn_warnings(turn, words)) if turn else "")
        self._put("time", words, "\n".join(progress_words(turn, words, now)) if turn else "")
        self._put("customer", words, _customer(state, words))
        self._put("notes", words, _notes(state.thread.meta, words))
        self._put("sources", words, source_lines(turn.citations, words) if turn else "")
        self.query_one("#assist-empty", InertLabel).put("" if turn else words("assist.empty"))

    def _put(self, name: str, words: Catalogue, text: str | Content) -> None:
        content = Content(text) if isinstance(text, str) else text
        self.query_one(f"#assist-{name}", InertLabel).put(content)
        self.query_one(f"#assist-{name}-label", InertLabel).put(words(f"assist.{name}") if content else "")


def label_chips(labels: Labels, words: Catalogue) -> Content:
    """`intent delivery inquiry (high) · emotion angry (low)`; empty where nothing is known."""
    parts = []
    for kind in ("intent", "emotion"):
        name, confidence = getattr(labels, kind), getattr(labels, f"{kind}_confidence")
        if kind == "emotion" and name == CALM and not labels.corrected:
            # Sober words are no proof of a calm customer: nothing is claimed.
            parts.append(Content(words("label.no_emotion")))
        elif name:
            sure = (
                words(f"confidence.{confidence}")
                if confidence
                else words("confidence.said" if labels.corrected else "confidence.none")
            )
            chip = Content.styled(f" {label_name(kind, name, words)} ", "reverse")
            parts.append(Content.assemble(f"{words('label.' + kind)} ", chip, f" {sure}"))
    return Content("\n").join(parts)


def label_name(kind: str, name: str, words: Catalogue) -> str:
    """A label in the interface's language where it knows it, else as head office called it."""
    return words.get(f"{kind}.{name}") or one_line(name).replace("_", " ")


def source_lines(citations: tuple[Citation, ...], words: Catalogue) -> Content:
    """One line a source of the newest draft; a click opens it, as its number's key does."""
    return Content("\n").join(
        citation_label(one, number, words).stylize(Style.from_meta({"@click": f"screen.cite({number})"}))
        for number, one in enumerate(citations, start=1)
    )


def citation_label(citation: Citation, number: int, words: Catalogue) -> Content:
    """`[2] Returns > How long (internal, do not quote)`."""
    title, heading = one_line(citation.title), one_line(citation.heading)
    name = title if heading in ("", title) else f"{title} > {heading}"
    mark = f" ({words('turn.internal')})" if citation.audience == "internal" else ""
    return Content.assemble(Content.styled(f"[{number}]", "bold"), f" {name}", Content.styled(mark, "bold"))


def turn_warnings(turn: ConsoleTurn, words: Catalogue) -> list[str]:
    """What the agent must know before using the draft."""
    out = []
    if turn.handoff:
        known = words.get(f"handoff.{turn.handoff}")
        state = words.get(f"handoff_state.{turn.handoff_state}")
        why = known or one_line(turn.handoff)
        out.append(words("turn.handoff", why=f"{why} ({state})" if state else why))
    if turn.handoff and turn.disputed:
        out.append(words("turn.disputed", items=", ".join(map(one_line, turn.disputed))))
    if turn.handoff and turn.offered and turn.citations:
        out.append(words("accept.may_help"))
    elif turn.offered and not turn.handoff:
        out.append(acceptance_line(turn, words))
    return out


def acceptance_line(turn: ConsoleTurn, words: Catalogue) -> str:
    """Whether an offered draft is safe to accept, and why not, in one line."""
    about = {"unsupported": turn.unsupported, "disputed": turn.disputed, "unasked": (turn.special_case,)}
    why = [
        words(f"accept.{doubt}", items=", ".join(map(one_line, about.get(doubt, ()))))
        for doubt in acceptance_doubts(turn)
    ]
    return words("accept.look", why=words("accept.join").join(why)) if why else words("accept.safe")


def doubt_lines(doubts: tuple[tuple[str, str], ...], words: Catalogue) -> list[str]:
    """What must be looked at before the reply is sent, one line a kind."""
    kinds: dict[str, list[str]] = {}
    for kind, what in doubts:
        kinds.setdefault(kind, []).append(one_line(what))
    return [words(f"doubt.{kind}", items=", ".join(items)) for kind, items in kinds.items()]


def _customer(state: State, words: Catalogue) -> str:
    turn = state.current
    if turn is None:
        return ""
    lines = [f"{one_line(str(name))}: {one_line(str(value))}" for name, value in sorted(turn.entities.items())]
    if turn.lang:
        lines.insert(0, words("assist.language", lang=words.get(f"lang.{turn.lang}") or one_line(turn.lang)))
    return "\n".join(lines)


def _notes(meta: Meta, words: Catalogue) -> str:
    lines = [inert(meta.notes)] if meta.notes else []
    if meta.tags:
        lines.append(" ".join(f"#{one_line(tag)}" for tag in meta.tags))
    if meta.satisfaction:
        lines.append(words("assist.satisfaction", stars=meta.satisfaction))
    if meta.status != "open":
        lines.append(words(f"inbox.{meta.status}", until=one_line(meta.snooze_until[:16])))
    return "\n".join(lines)
