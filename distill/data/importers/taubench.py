"""Turns a tau-bench chat into a raw conversation: what tools returned becomes what the agent knew when replying.

A tool result is written as one short line ("Order #W1: pending; …"), because a reply that quotes an order's status
can only be learnt from a question that comes with it. Names, addresses and ids of the customer record go to the
conversation's `personal`, so that redaction finds them in every message. Knows nothing of files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from distill.data.conversation import RawConversation, RawTurn
from runtime.errors import InputError
from runtime.text.personal_data import Kind

MAX_VARIANTS = 6
"""Variants of a product shown: the ones nearest to the agent's next message."""
MAX_KNOWN_CHARS = 900
"""All that is known to one reply, cut at the ends of its lines."""

_USER_ID = re.compile(r"\b[a-z]{1,30}_[a-z]{1,30}_\d{3,6}\b")
_MESSAGE = re.compile(r"^(user|assistant|tool): ", re.MULTILINE)
Json = dict[str, Any]


def parse_chat(display: str, conversation: str, where: str = "") -> RawConversation:
    """One chat; `InputError` when it holds no message."""
    turns: list[RawTurn] = []
    looked_up: dict[str, Any] = {}
    # User ids are made of the customer's name; they also come up in messages that no tool result precedes.
    personal: list[tuple[Kind, str]] = [("ID", found) for found in dict.fromkeys(_USER_ID.findall(display))]
    for role, content in _messages(display):
        if role == "tool":
            result = _result(content)
            looked_up[_subject(result)] = result
            personal += [item for item in _personal(result) if item not in personal]
        elif content in ("", "None"):
            continue
        elif role == "user":
            turns.append(RawTurn(role="user", content=content))
        else:
            turns.append(RawTurn(role="assistant", content=content, known=_known(looked_up, content)))
            looked_up = {}
    if not turns:
        raise InputError("no message in it", where=where, hint="lines begin with user:, assistant: or tool:")
    return RawConversation(
        conversation=conversation, lang="en", turns=tuple(turns), personal=tuple(personal), where=where
    )


def _messages(display: str) -> Iterator[tuple[str, str]]:
    """Role and text of each message; a message runs to the next line that begins with a role."""
    marks = list(_MESSAGE.finditer(display))
    ends = [*(mark.start() for mark in marks[1:]), len(display)]
    for mark, end in zip(marks, ends, strict=False):
        yield mark[1], display[mark.end() : end].replace("###STOP###", "").strip()


def _result(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


def _subject(result: Any) -> str:
    """Name what a result is about; a later result on the same replaces it."""
    if isinstance(result, dict):
        for key in ("order_id", "product_id", "email"):
            if key in result:
                return f"{key}:{result[key]}"
    return repr(result)


def _personal(result: Any) -> Iterator[tuple[Kind, str]]:
    if not isinstance(result, dict):
        if isinstance(result, str) and re.fullmatch(r"[a-z]+_[a-z]+_\d+", result):
            yield "ID", result
            yield "NAME", " ".join(result.split("_")[:2]).title()  # a user's id is made of the name
        return
    if isinstance(name := result.get("name"), dict):
        yield "NAME", f"{name.get('first_name', '')} {name.get('last_name', '')}".strip()
    if isinstance(address := result.get("address"), dict):
        for key in ("address1", "zip"):
            if value := str(address.get(key, "")):
                yield "ADDRESS", value
    if email := result.get("email"):
        yield "EMAIL", str(email)
    for value in (result.get("user_id"), *result.get("payment_methods", {})):
        if value:
            yield "ID", str(value)


def _known(looked_up: dict[str, Any], reply: str) -> tuple[str, ...]:
    """One line a result, as many as fit; the last looked up first, since the reply mostly rests on it."""
    lines: list[str] = []
    room = MAX_KNOWN_CHARS
    for result in reversed(looked_up.values()):
        line = _line(result, reply)
        if line and len(line) <= room and line not in lines:
            lines.insert(0, line)
            room -= len(line)
    return tuple(lines)


def _line(result: Any, reply: str) -> str:
    if isinstance(result, int | float):
        return f"Calculated: {result}"
    if isinstance(result, str):
        return "" if re.fullmatch(r"\w+", result) else result
    if not isinstance(result, dict):
        return ""
    if "order_id" in result:
        return _order(result)
    if "variants" in result:
        return _product(result, reply)
    if "payment_methods" in result:
        orders = ", ".join(map(str, result.get("orders", [])))
        means = ", ".join(_means(each) for each in result["payment_methods"].values())
        return f"Customer: pays by {means or 'nothing on file'}; orders {orders or 'none'}"
    return f"Products: {len(result)}" if result and all(isinstance(value, str) for value in result.values()) else ""


def _order(order: Json) -> str:
    items = ", ".join(_item(item) for item in order.get("items", []))
    text = f"Order {order['order_id']}: {order.get('status', 'unknown')}; {items}"
    if payments := order.get("payment_history"):
        text += "; " + ", ".join(f"{each['transaction_type']} ${each['amount']}" for each in payments)
    for key, words in (("cancel_reason", "cancelled because"), ("exchange_price_difference", "price difference $")):
        if key in order:
            text += f"; {words} {order[key]}"
    return text


def _item(item: Json) -> str:
    options = ", ".join(map(str, item.get("options", {}).values()))
    return f"{item.get('name', 'item')} ({options}) ${item.get('price', '?')}"


def _product(product: Json, reply: str) -> str:
    variants = list(product["variants"].values())
    words_written = set(re.findall(r"\w+", reply.lower()))

    def nearness(variant: Json) -> tuple[bool, int]:
        words = re.findall(r"\w+", " ".join(map(str, variant.get("options", {}).values())).lower())
        return str(variant.get("price")) in reply, sum(word in words_written for word in words)

    shown = sorted(variants, key=nearness, reverse=True)[:MAX_VARIANTS]
    lines = [
        f"{', '.join(map(str, each.get('options', {}).values()))} ${each.get('price', '?')}"
        f"{'' if each.get('available', True) else ' (sold out)'}"
        for each in variants
        if each in shown
    ]
    available = sum(bool(each.get("available", True)) for each in variants)
    name = product.get("name", "product")
    return f"{name}: {len(variants)} variants, {available} available; {'; '.join(lines)}"


def _means(method: Json) -> str:
    text = str(method.get("source", "unknown")).replace("_", " ")
    if "last_four" in method:
        return f"{method.get('brand', text)} ending in {method['last_four']}"
    return f"{text} with ${method['balance']}" if "balance" in method else text
