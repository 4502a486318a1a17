"""The fake desk's journal: conversations in memory, read and written under the server's own paths and shapes.

Promises: what is written is what is read; time stands still at `NOW`. Knows nothing of sockets and models.
"""

from __future__ import annotations

from typing import Any

from runtime import events
from runtime.errors import BusyError, MissingError

NOW = "2026-11-26T09:30:00.000+00:00"


class FakeJournal:
    """Conversations by name, each a list of turns as `GET /v1/conversations/{id}` has them."""

    def __init__(self) -> None:
        self.turns: dict[str, list[dict[str, Any]]] = {}
        self.about: dict[str, dict[str, Any]] = {}
        self.composers: dict[str, dict[str, Any]] = {}
        self.handoffs: dict[tuple[str, int], dict[str, Any]] = {}
        self.pages: dict[str, dict[str, Any]] = {
            "labels": {"intents": [], "emotions": []},
            "canned": {"canned": []},
            "outbox": {"rows": []},
        }
        """Answers of every other path."""
        self.wrote: list[tuple[str, str, dict[str, Any]]] = []
        """(method, path, body) of everything that was written."""

    def ask(self, conversation: str, question: str, lang: str) -> dict[str, Any]:
        """A customer's message."""
        turns = self.turns.setdefault(conversation, [])
        turn = {
            "conversation": conversation, "turn": len(turns) + 1, "asked": NOW, "lang": lang, "question": question,
            "draft": "", "state": "open", "handoff": None, "model": "", "details": {}, "feedback": None,
        }  # fmt: skip
        turns.append(turn)
        return turn

    def hear(self, turn: dict[str, Any], event: events.Event) -> None:
        """Keep what is said of a turn."""
        if isinstance(event, events.Token):
            turn["draft"] += event.text
        if isinstance(event, events.Done):
            cited = [f"{one.article}#{one.section}" for one in event.citations]
            details = {"citations": cited, "ttft_s": event.ttft_s, "tokens_per_s": event.tokens_per_s}
            turn |= {"draft": event.answer, "state": "complete", "handoff": event.handoff, "details": details}
            if event.handoff:
                self._hand_off(turn, event.handoff, "open")
        if isinstance(event, events.Failed):
            turn["state"] = "failed"

    def get(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        """What the server would say."""
        match path.split("/"):
            case ["conversations"]:
                return {"conversations": [self._row(name) for name in self.turns]}
            case ["conversations", "search"]:
                hits = [turn | {"reply": None} for turns in self.turns.values() for turn in turns]
                return {"turns": [turn for turn in hits if params["q"] in turn["question"] + turn["draft"]]}
            case ["conversations", name, "composer"]:
                return self.composers.get(name, {"text": "", "revision": 0})
            case ["conversations", name] if name in self.turns:
                return {"conversation": name, **self.about.get(name, {}), "turns": self.turns[name]}
            case ["handoffs"]:
                wanted = params.get("state", "open")
                return {"handoffs": [one for one in self.handoffs.values() if one["state"] == wanted]}
        if path in self.pages:
            return self.pages[path]
        raise MissingError("no such page")

    def put(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Take something down."""
        self.wrote.append((method, path, body))
        match path.split("/"):
            case ["conversations", name, "turns", number, "feedback"]:
                self._turn(name, number)["feedback"] = body
            case ["conversations", name, "turns", number, "labels"]:
                turn = self._turn(name, number)
                turn["label"] = (turn.get("label") or {}) | body
                turn |= {key: value for key, value in body.items() if value}
            case ["conversations", name, "composer"]:
                known = self.composers.get(name, {"text": "", "revision": 0})
                if body["revision"] != known["revision"]:
                    raise BusyError("the text has changed")
                self.composers[name] = {"text": body["text"], "revision": known["revision"] + 1}
                return self.composers[name]
            case ["conversations", name]:
                self.about[name] = self.about.get(name, {}) | body
                return {"conversation": name, **self.about[name]}
            case ["handoffs", name, number]:
                turn = self._turn(name, number)
                self._hand_off(turn, body.get("reason") or turn["handoff"] or "", body["state"])
        return {"ok": True}

    def _hand_off(self, turn: dict[str, Any], reason: str, state: str) -> None:
        turn["handoff"] = reason
        key = (turn["conversation"], turn["turn"])
        self.handoffs[key] = {
            "conversation": key[0], "turn": key[1], "reason": reason, "opened": NOW, "state": state, "agent": None,
        }  # fmt: skip
        self.pages[f"handoffs/{key[0]}/{key[1]}/card"] = {
            "reason": reason, "summary": turn["question"], "open_questions": [turn["question"]], "tried": [],
            "entities": {}, "language": turn["lang"],
        }  # fmt: skip

    def _turn(self, name: str, number: str) -> dict[str, Any]:
        found = next((turn for turn in self.turns.get(name, []) if turn["turn"] == int(number)), None)
        if found is None:
            raise MissingError(f"no turn {number} in conversation {name}")
        return found

    def _row(self, name: str) -> dict[str, Any]:
        last = self.turns[name][-1]
        kept = {key: last[key] for key in ("asked", "lang", "question", "state", "handoff")}
        return {
            "conversation": name, **kept, "turns": len(self.turns[name]), "waiting": not last["feedback"],
            **self.about.get(name, {}),
        }  # fmt: skip
