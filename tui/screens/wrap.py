"""Wrapping up a conversation: what the customer thought, tags, a note for colleagues, and whether it is closed.

Promises: what is left as it was is not sent. Knows nothing of where the words go.
"""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from tui.base.i18n import Catalogue
from tui.base.inert_text import inert
from tui.base.keys import bindings
from tui.base.limits import MAX_TAG_CHARS, MAX_TAGS, MAX_TEXT_CHARS
from tui.screens.base import BoxScreen
from tui.state import Meta
from tui.widgets.field import Area, Field
from tui.widgets.keybar import KeyBar
from tui.widgets.label import InertLabel


class WrapScreen(BoxScreen[dict[str, Any] | None]):
    """A short form. Its result is the body of `PATCH /v1/conversations/{id}`."""

    WHERE = "form"
    BINDINGS = bindings("form")

    def __init__(self, words: Catalogue, meta: Meta, summary: str) -> None:
        super().__init__(words, "wrap.title")
        self.meta = meta
        self.summary = summary

    def compose(self) -> ComposeResult:
        """Summary, satisfaction, tags, note, keys."""
        with Vertical(id="box"):
            yield InertLabel(id="form-draft")
            yield InertLabel(classes="label", id="wrap-satisfaction-label")
            known = "" if self.meta.satisfaction is None else str(self.meta.satisfaction)
            yield Field(known, restrict="[1-5]?", id="wrap-satisfaction")
            yield InertLabel(classes="label", id="wrap-tags-label")
            yield Field(", ".join(self.meta.tags), id="wrap-tags")
            yield InertLabel(classes="label", id="wrap-notes-label")
            yield Area(self.meta.notes, id="wrap-notes")
            yield InertLabel(classes="label", id="wrap-close-label")
            yield Field("1", restrict="[01]?", id="wrap-close")
            yield KeyBar()

    def on_mount(self) -> None:
        """Begin with the satisfaction."""
        self.relabel(self.words)
        self.query_one("#wrap-satisfaction").focus()

    def relabel(self, words: Catalogue) -> None:
        """Paint in this language."""
        super().relabel(words)
        self.query_one("#form-draft", InertLabel).put(Content.styled(inert(self.summary), "dim"))
        for name in ("satisfaction", "tags", "notes", "close"):
            self.query_one(f"#wrap-{name}-label", InertLabel).put(words(f"wrap.{name}"))

    def action_submit(self) -> None:
        """Send what changed; what the server would refuse is refused here, where it can be mended."""
        if self.query_one(Area).is_too_long:
            self.refuse_length(MAX_TEXT_CHARS)
            return
        out: dict[str, Any] = {}
        stars = self.query_one("#wrap-satisfaction", Input).value
        if stars and int(stars) != self.meta.satisfaction:
            out["satisfaction"] = int(stars)
        tags = [tag.strip() for tag in self.query_one("#wrap-tags", Input).value.replace("，", ",").split(",")]
        if (kept := list(dict.fromkeys(tag for tag in tags if tag))) != list(self.meta.tags):
            if len(kept) > MAX_TAGS or any(len(tag) > MAX_TAG_CHARS for tag in kept):
                self.refuse_length(MAX_TAG_CHARS)
                return
            out["tags"] = kept
        if (notes := self.query_one(Area).text.strip()) != self.meta.notes:
            out["notes"] = notes
        status = "closed" if self.query_one("#wrap-close", Input).value == "1" else "open"
        if status != self.meta.status:
            out["status"] = status
        if status == "closed" and self.summary:
            out["summary"] = self.summary
        self.dismiss(out)

    def action_drop(self) -> None:
        """Change nothing."""
        self.dismiss(None)
