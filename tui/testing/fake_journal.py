"""The fake server's journal: conversations in memory, read and written under the real server's paths and shapes.

Promises: what is written is what is read; time stands still at `NOW`; a call that the real API refuses is refused here
with the same error class. `tests/tui/testing/test_fake_contract.py` makes the same calls on both and compares.
Knows nothing of sockets and models.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from runtime import events
from runtime.errors import BusyError, InputError, MissingError
from runtime.journal.turn_details import TurnDetails
from tui.base.limits import MAX_SEARCH_CHARS, MAX_TEXT_CHARS

NOW = "2026-11-26T09:30:00.000+00:00"
Json = dict[str, Any]
"""A JSON object as the API sends it."""
_STATE: Json = {
    "status": "open", "snooze_until": None, "assignee": None, "tags": [], "notes": "", "summary": "",
    "satisfaction": None,
}  # fmt: skip
_FOUND = ("turn", "asked", "lang", "question", "draft", "reply", "handoff")
_OUTCOME: Json = {
    "verdict": None,
    "reply": None,
    "reason": None,
    "rating": None,
    "seconds": None,
    "at": NOW,
    "agent": "tester",
}


class FakeJournal:
    """Conversations by name, each a list of turns as `GET /v1/conversations/{id}` has them."""

    def __init__(self) -> None:
        self.turns: dict[str, list[Json]] = {}
        self.states: dict[str, Json] = {}
        """What was changed of a conversation's state."""
        self.unsent: dict[str, Json] = {}
        self.handoffs: dict[tuple[str, int], Json] = {}
        self.pages: dict[str, Json] = {
            "labels": {"intents": [], "emotions": []},
            "canned": {"canned": []},
            "outbox": {"rows": [], "unreadable": []},
            "receipt": {"release": "", "corrections": 0, "passed": 0, "own": []},
        }
        """Answers of every other path."""
        self.written: list[tuple[str, str, Json]] = []
        """(method, path, body) of every write that was tried."""
        self.refusal: Exception | None = None
        """Raised by every write while it is set, as by a server whose disk is full."""

    def ask(self, conversation: str, question: str, lang: str) -> Json:
        """A customer's message."""
        turns = self.turns.setdefault(conversation, [])
        turn = {
            "turn": len(turns) + 1, "asked": NOW, "ended": None, "lang": lang, "question": question, "draft": "",
            "reply": None, "retired": False, "state": "open", "handoff": None, "model": "", "intent": None,
            "emotion": None, "label": None, "details": {}, "feedback": None,
        }  # fmt: skip
        turns.append(turn)
        return turn

    def hear(self, conversation: str, turn: Json, event: events.Event) -> None:
        """Keep what an event says of a turn."""
        if isinstance(event, events.Token):
            turn["draft"] += event.text
        if isinstance(event, events.Done):
            cited = tuple(f"{one.article}#{one.section}" for one in event.citations)
            details = TurnDetails(citations=cited, ttft_s=event.ttft_s, tokens_per_s=event.tokens_per_s)
            turn |= {"draft": event.answer, "state": "complete", "details": details.model_dump(mode="json")}
            if event.handoff:
                self.hand_off(conversation, turn, event.handoff)
        if isinstance(event, events.Failed):
            turn["state"] = "failed"

    def call(self, method: str, path: str, body: Json | None, params: Json) -> Json:
        """What the server answers; the errors of `runtime.errors` that it raises."""
        if method == "GET":
            return self._get(path, params)
        body = body or {}
        self.written.append((method, path, body))
        if self.refusal is not None:
            raise self.refusal
        return self._write(path, body)

    def _get(self, path: str, params: Json) -> Json:
        if path in self.pages:
            return self.pages[path]
        match path.split("/"):
            case ["conversations"]:
                # The one last touched first, as the server lists them.
                rows = [self._row(name) for name in reversed(self.turns)]
                return {"conversations": sorted(rows, key=lambda row: str(row["asked"]), reverse=True)}
            case ["conversations", "search"]:
                _need_short(params["q"], MAX_SEARCH_CHARS)
                return {
                    "turns": [
                        {"conversation": name, **{key: turn[key] for key in _FOUND}}
                        for name, turns in self.turns.items()
                        for turn in turns
                        if params["q"] in turn["question"] + turn["draft"]
                    ]
                }
            case ["conversations", name, "composer"]:
                return self.unsent.get(name, {"text": "", "revision": 0})
            case ["conversations", name]:
                turns = self._turns(name)
                for turn in turns:
                    turn["reply"] = _sent(turn)
                    turn["retired"] = turn["reply"] is not None or turn is not turns[-1]
                # A copy, as over a socket: what is answered once does not change with a later write.
                return {"conversation": name, **self._state(name), "turns": deepcopy(turns)}
            case ["handoffs"]:
                wanted = params.get("state", "open")
                return {"handoffs": [one for one in self.handoffs.values() if one["state"] == wanted]}
            case ["handoffs", name, number, "card"]:
                return self._card(name, number)
        raise MissingError("no such page")

    def _write(self, path: str, body: Json) -> Json:
        match path.split("/"):
            case ["conversations", name, "turns", number, "feedback"]:
                turn = self._turn(name, number)
                _need_short(body.get("reply") or "", MAX_TEXT_CHARS)
                given = {key: value for key, value in body.items() if value is not None}
                turn["feedback"] = (turn["feedback"] or _OUTCOME) | given
            case ["conversations", name, "turns", number, "labels"]:
                turn = self._turn(name, number)
                turn["label"] = (turn["label"] or {"intent": None, "emotion": None, "agent": "tester"}) | body
                turn |= {key: value for key, value in body.items() if value}
            case ["conversations", name, "composer"]:
                _need_short(body["text"], MAX_TEXT_CHARS)
                known = self.unsent.get(name, {"text": "", "revision": 0})
                if body["revision"] != known["revision"]:
                    raise BusyError("the text has changed")
                self.unsent[name] = {"text": body["text"], "revision": known["revision"] + 1}
                return self.unsent[name]
            case ["conversations", name]:
                self._turns(name)
                _need_short(body.get("notes") or "", MAX_TEXT_CHARS)
                self.states[name] = self.states.get(name, {}) | body
                return {"conversation": name, **self._state(name)}
            case ["handoffs", name, number]:
                turn = self._turn(name, number)
                self.hand_off(name, turn, body.get("reason") or turn["handoff"] or "", body["state"])
        return {"ok": True}

    def hand_off(self, conversation: str, turn: Json, reason: str, state: str = "open") -> None:
        """Open, take or close the hand-off of a turn."""
        turn["handoff"] = reason
        self.handoffs[conversation, turn["turn"]] = {
            "conversation": conversation, "turn": turn["turn"], "reason": reason, "opened": NOW, "state": state,
            "agent": None,
        }  # fmt: skip

    def _card(self, name: str, number: str) -> Json:
        turn = self._turn(name, number)
        handoff = self.handoffs.get((name, turn["turn"]))
        if handoff is None:
            raise MissingError(f"turn {number} was not handed over")
        sent = _sent(turn)
        tried = {
            "turn": turn["turn"], "question": turn["question"], "answer": sent, "citations": [],
            "verdict": (_OUTCOME | (turn["feedback"] or {}))["verdict"],
        }  # fmt: skip
        return handoff | {
            "summary": turn["question"], "open_questions": [] if sent else [turn["question"]],
            "tried": [tried] if sent else [], "entities": {}, "language": turn["lang"], "intent": turn["intent"],
            "emotion": turn["emotion"],
        }  # fmt: skip

    def _turns(self, name: str) -> list[Json]:
        if name not in self.turns:
            raise MissingError(f"no conversation '{name}'")
        return self.turns[name]

    def _turn(self, name: str, number: str) -> Json:
        found = next((turn for turn in self.turns.get(name, []) if turn["turn"] == int(number)), None)
        if found is None:
            raise MissingError(f"no turn {number} in conversation {name}")
        return found

    def _state(self, name: str) -> Json:
        return _STATE | self.states.get(name, {})

    def _row(self, name: str) -> Json:
        last, state = self.turns[name][-1], self._state(name)
        kept = {key: last[key] for key in ("asked", "lang", "question", "state", "intent", "emotion", "handoff")}
        waiting = _sent(last) is None and state["status"] != "closed"
        return {
            "conversation": name, "started": self.turns[name][0]["asked"], **kept, "turns": len(self.turns[name]),
            "waiting": waiting, **state,
        }  # fmt: skip


def _sent(turn: Json) -> str | None:
    """What went to the customer: the reply, or the draft that was accepted as it is."""
    feedback = _OUTCOME | (turn["feedback"] or {})
    if feedback["verdict"] == "rejected":
        return None
    reply: str | None = feedback["reply"] or (turn["draft"] if feedback["verdict"] == "accepted" else None)
    return reply


def _need_short(text: str, most: int) -> None:
    if len(text) > most:
        raise InputError(f"the text has {len(text):,} characters, {most:,} are allowed")
