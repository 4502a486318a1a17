"""What a person wrote in a message: plain text without mark-up, without the mails it quotes, without a signature.

Tags are read by libxml2, which is linear where Python's own parser is not; quotes and signatures go by lines, because
libraries for them match whole mails with patterns that take minutes on a hostile one. Promises: time is linear in the
text; a message of quotes alone becomes empty; words of the message itself are never cut out of its middle. Knows
nothing of rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lxml import etree

_TAG = re.compile(
    r"<(?:/?(?:p|div|br|span|html|body|table|blockquote|a|b|i|strong|em|ul|ol|li|font|h[1-6])(?=[\s/>])[^<>]{0,500}|!doctype[^<>]{0,200})>",
    re.IGNORECASE,
)
_BREAKS = frozenset(
    {"address", "article", "aside", "br", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"}
    | {"header", "hr", "li", "main", "ol", "p", "pre", "section", "table", "tr", "ul"}
)
_HIDDEN = frozenset({"script", "style", "head", "title", "noscript", "template"})
_QUOTES = frozenset(
    {"gmail_quote", "yahoo_quoted", "moz-cite-prefix", "zmail_extra", "gmail_signature", "moz-signature"}
)
_MAX_QUOTE_LINE = 300
_WROTE = re.compile(r"(?:wrote|schrieb[^:：]{0,80}|a écrit|escribió|ha scritto|写道|寫道|写到)\s?[:：]$", re.IGNORECASE)
_INTRO = re.compile(r"(?:(?:On|Am|Le|El|Il)\b|在|于)", re.IGNORECASE)
_HEADER = re.compile(
    r"[*\s]{0,4}(from|sent|to|subject|date|cc|von|gesendet|an|betreff|datum|发件人|发送时间|收件人|抄送|主题|日期)\s?[*]{0,2}[:：]",
    re.IGNORECASE,
)
_RULE = re.compile(
    r"[-_=—\s]{0,60}(?:original message|forwarded message|ursprüngliche nachricht|weitergeleitete nachricht|"
    r"(?:please type your )?reply above this line|原始邮件|原邮件|转发邮件|转发的邮件)[-_=—\s:：]{0,60}",
    re.IGNORECASE,
)
_SENT_FROM = re.compile(
    r"(?:sent from my|get outlook for|von meinem .{1,30} gesendet|gesendet von|发自我的|来自我的).{0,80}", re.IGNORECASE
)
_CLOSING = re.compile(
    r"(?:(?:kind |best |warm |many )?regards|best wishes|best|cheers|sincerely(?: yours)?|"
    r"yours (?:sincerely|faithfully|truly)|thanks(?: and (?:best )?regards)?|many thanks|thank you|"
    r"mit freundlichen grüßen|freundliche grüße|viele grüße|此致|敬礼|祝好|祝您?生活愉快|顺祝商祺)[\s,.!，。！]{0,4}",
    re.IGNORECASE,
)
_MAX_SIGNATURE_LINES = 8
_MAX_SIGNATURE_CHARS = 80


def hides(style: str) -> bool:
    """Whether a `style` keeps its part from being shown."""
    plain = "".join(style[:2000].casefold().split())
    return "display:none" in plain or "visibility:hidden" in plain


def message_text(text: str) -> str:
    """The message as its reader takes it; "" where nothing of its own is in it."""
    text = html_to_text(text) if _TAG.search(text[:20_000]) else _without_comments(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = _without_signature(_without_quotes(lines))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip()


def _without_comments(text: str) -> str:
    """Text between tags that nobody meant as mark-up keeps its `<!--`, unless it is closed."""
    kept, start = [], 0
    while (at := text.find("<!--", start)) >= 0 and (end := text.find("-->", at)) >= 0:
        kept.append(text[start:at])
        start = end + len("-->")
    return "".join((*kept, text[start:]))


def html_to_text(text: str) -> str:
    """Mark-up as plain text: blocks on lines of their own, entities resolved, quoted mails left out."""
    parser = etree.HTMLParser(target=_Reader(), recover=True, no_network=True)
    try:
        parser.feed(text)
        written = parser.close()
    except etree.XMLSyntaxError:  # nothing in it that could be shown
        return ""
    lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in written.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader:
    """Collects text as the parser meets it; `_skip` is the depth of tags inside a part that is left out."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._skip = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """A block begins a line; what is hidden or quoted is skipped with all that is in it."""
        hidden = tag in _HIDDEN or "hidden" in attributes or hides(attributes.get("style", ""))
        quoted = tag == "blockquote" or _QUOTES & set(attributes.get("class", "")[:200].split())
        if self._skip or hidden or quoted:
            self._skip += 1
        elif tag in _BREAKS:
            self._parts.append("\n- " if tag == "li" else "\n")
        elif tag in ("td", "th"):
            self._parts.append(" ")

    def end(self, tag: str) -> None:
        """A block ends its line."""
        if self._skip:
            self._skip -= 1
        elif tag in _BREAKS and tag != "br":
            self._parts.append("\n")

    def data(self, text: str) -> None:
        """Text; its line breaks are blanks in HTML."""
        if not self._skip:
            self._parts.append(text.replace("\n", " ").replace("\u00a0", " "))

    def close(self) -> str:
        """All of it."""
        return "".join(self._parts)


def _without_quotes(lines: list[str]) -> list[str]:
    """The lines before the first quoted mail, and what is written between and below quoted lines."""
    kept: list[str] = []
    for place, line in enumerate(lines):
        plain = line.strip()
        if plain.startswith((">", "|>")):
            continue
        if len(plain) <= _MAX_QUOTE_LINE:
            if _RULE.fullmatch(plain) and plain:
                break
            if _HEADER.match(plain) and _is_header_block(lines[place : place + 6]):
                break
            quoted = _ends_quoted(lines[place + 1 : place + 6])
            if _WROTE.search(plain) and (quoted or _INTRO.match(plain)):
                # The sentence before a quote may be wrapped: its first half is on the line above.
                if not _INTRO.match(plain) and kept and _INTRO.match(kept[-1].strip()):
                    kept.pop()
                if quoted:
                    continue
                break
        kept.append(line)
    return kept


def _is_header_block(lines: list[str]) -> bool:
    """Whether lines are a mail's header: three different fields or more."""
    fields = {found[1].lower() for line in lines if (found := _HEADER.match(line.strip()[:_MAX_QUOTE_LINE]))}
    return len(fields) >= 3


def _ends_quoted(lines: list[str]) -> bool:
    """Whether the next line that is not empty is marked as quoted."""
    following = next((line.strip() for line in lines if line.strip()), "")
    return following.startswith((">", "|>"))


def _without_signature(lines: list[str]) -> list[str]:
    end = len(lines)
    while end and (not lines[end - 1].strip() or _SENT_FROM.fullmatch(lines[end - 1].strip()[:120])):
        end -= 1
    lines = lines[:end]
    # Only near the end, so that a closing word in the middle of a long message cuts nothing.
    first = max(0, len(lines) - _MAX_SIGNATURE_LINES)
    for place in range(len(lines) - 1, first - 1, -1):
        plain = lines[place].strip()
        if lines[place].rstrip() == "--" or lines[place] == "-- ":
            return lines[:place]
        if place and _CLOSING.fullmatch(plain[:_MAX_SIGNATURE_CHARS]):
            below = [line.strip() for line in lines[place + 1 :] if line.strip()]
            if below and all(len(line) <= _MAX_SIGNATURE_CHARS and not line.endswith(("?", "？")) for line in below):
                return lines[:place]
    return lines
