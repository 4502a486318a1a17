"""What a desk looks things up by, found in the lines of a receipt or a label: offered to the person, never acted on.

    order_number    the company's own form (`[personal] order_number` of its policy), or what an order's cue announces
    model_code      what "model", "art. no." or 型号 announces; else a code with letters and figures
    serial_number   what "S/N", "serial no." or 序列号 announces
    date            a day in any of the forms of `runtime.text.quantities`, or in figures (14/03/2026)
    total           money after "total", "amount due", 合计 or 实付; the last one counts

Promises: a value stands in its line letter by letter; time is linear in the text; what counts as an order number here
is what `runtime.text.redaction` hides. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from runtime.perception.attachment_text import EntityKind, OfferedEntity
from runtime.text.folding import fold
from runtime.text.personal_data import NO_RULES, PersonalRules, spans_in
from runtime.text.quantities import quantities

MAX_ENTITIES = 24
_GAP = r"[\s.:：#№]{0,4}"
_CODE = r"(?P<value>[A-Za-z0-9][A-Za-z0-9/_-]{2,31})"
_NUMBER_WORD = r"(?:no|nr|number|num|id|code)?"
_ORDER = re.compile(
    rf"(?:\b(?:order|purchase|receipt|invoice|bill){_GAP}{_NUMBER_WORD}|(?:订单|单据|小票|发票)(?:编号|号码|号)?|单号){_GAP}{_CODE}",
    re.I,
)
_SERIAL = re.compile(rf"(?:\bs\s?/\s?n\b|\bserial{_GAP}{_NUMBER_WORD}|(?:产品|机器)?序列号|机身号){_GAP}{_CODE}", re.I)
_MODEL = re.compile(
    rf"(?:\bmodel{_GAP}{_NUMBER_WORD}|\b(?:art|item|sku|ref)\b{_GAP}{_NUMBER_WORD}|(?:产品|商品)?型号|货号){_GAP}{_CODE}",
    re.I,
)
_FIGURES = re.compile(
    r"(?<![\d./-])(?:\d{1,2}([./-])\d{1,2}\1(?:20)?\d{2}|(?:20)\d{2}([./-])\d{1,2}\2\d{1,2})(?![\d/-])"
)
_TOTAL = re.compile(
    r"\b(?:grand |invoice )?total\b(?! items| qty)|\bamount (?:due|paid)\b|\bbalance due\b"
    r"|合计|总计|总额|实付|应付|实收",
    re.I,
)
_SUBTOTAL = re.compile(r"\bsub[- ]?total\b|小计", re.I)
_MONEY = re.compile(
    r"(?P<value>(?:[€$£¥]|\b(?:EUR|USD|GBP|CNY|RMB)\s?)?\s?\d{1,3}(?:,\d{3}){0,3}(?:\d{0,6})[.,]\d{2}(?!\d)(?:\s?(?:€|元|EUR|USD))?|[€$£¥]\s?\d{1,9}|\d{1,9}\s?元)"
)


def offer_entities(lines: Sequence[str], rules: PersonalRules = NO_RULES) -> list[OfferedEntity]:
    """The entities of lines of text, in reading order, each value once; at most `MAX_ENTITIES`."""
    found: dict[tuple[EntityKind, str], OfferedEntity] = {}
    total: OfferedEntity | None = None
    for number, line in enumerate(lines):
        for kind, value in _in_line(line, rules):
            found.setdefault((kind, value), OfferedEntity(kind=kind, value=value, line=number))
        if value := _total(line, lines[number + 1] if number + 1 < len(lines) else ""):
            total = OfferedEntity(kind="total", value=value, line=number)
    offered = sorted([*found.values(), *([total] if total else [])], key=lambda one: one.line)
    return offered[:MAX_ENTITIES]


def _in_line(line: str, rules: PersonalRules) -> Iterator[tuple[EntityKind, str]]:
    taken: set[str] = set()
    for span in spans_in(line, rules):
        if span.kind == "ORDER":
            taken.add(span.value)
            yield "order_number", span.value
    folded = fold(line)
    for kind, pattern in _CUED:
        for match in pattern.finditer(folded.text):
            start, end = folded.span(*match.span("value"))
            value = line[start:end].strip("-/_")
            if value not in taken and any(char.isdigit() for char in value) and not _FIGURES.fullmatch(value):
                taken.add(value)
                yield kind, value
    for match in _FIGURES.finditer(line):
        taken.add(match[0])
        yield "date", match[0]
    for figure in quantities(line):
        value = _as_written(line, figure.text)
        if not value or any(value in one or one in value for one in taken):
            continue
        if figure.kind == "date" and figure.value[1] and figure.value[2]:
            yield "date", value
        elif figure.kind == "code" and "-" in figure.text:
            yield "model_code", value


_CUED: tuple[tuple[EntityKind, re.Pattern[str]], ...] = (
    ("serial_number", _SERIAL),
    ("order_number", _ORDER),
    ("model_code", _MODEL),
)


def _as_written(line: str, folded: str) -> str:
    """A figure, found in a spelling of its own, as the line has it; empty where it is not there letter by letter."""
    at = line.casefold().find(folded)
    return line[at : at + len(folded)] if at >= 0 else ""


def _total(line: str, following: str) -> str:
    """The sum that a line announces, on it or alone on the next one."""
    announced = _TOTAL.search(line)
    if not announced or _SUBTOTAL.search(line):
        return ""
    if money := list(_MONEY.finditer(line, announced.end())):
        return money[-1]["value"].strip()
    alone = _MONEY.fullmatch(following.strip())
    return alone["value"].strip() if alone else ""
