"""Whether what has the form of a personal value is one: check digits, lengths, and what else decides it.

A check takes the folded text of a match (`runtime.text.folding`) and returns the part of it that is the value, or "".
Pure. Knows nothing of the patterns (`runtime.text.personal_patterns`).
"""

from __future__ import annotations

import ipaddress
import re


def digits_of(text: str) -> str:
    """The digits of folded text."""
    return "".join(char for char in text if char.isdigit())


def card(text: str) -> str:
    """A payment card by Luhn's sum, or a UnionPay number by its form."""
    digits = digits_of(text)
    # UnionPay numbers of older cards do not all pass Luhn: their length and first two digits decide.
    if digits.startswith("62") and 16 <= len(digits) <= 19:
        return text
    return text if 14 <= len(digits) <= 19 and digits[0] in "23456" and _luhn(digits) else ""


def grouped_card(text: str) -> str:
    """A card written as cards are, whose last group may already be another number: its expiry or its code."""
    groups = re.split(r"[ .-]", text)
    four = len(groups) == 5
    return card(text) or (card(text[: -len(groups[-1]) - 1]) if four else "")


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


_IBAN_CHARS = dict(
    re.findall(
        r"(\w\w)(\d\d)",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18"
        " FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LI21 LT20 LU20"
        " LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SE24 SI19 SK24 SM27"
        " TN24 TR26 UA29 VA22 VG24 XK20",
    )
)
"""Country -> length of its IBANs."""


def iban(text: str) -> str:
    """Cut to the length of its country, where the ISO 13616 check digits are right: the pattern may run on."""
    wanted = int(_IBAN_CHARS.get(text[:2].upper(), 0))
    count = 0
    for end, char in enumerate(text, start=1):
        count += char.isalnum()
        if count == wanted:
            plain = re.sub(r"[\s.-]", "", text[:end]).upper()
            right = int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1
            return text[:end] if right and not text[end : end + 1].isalnum() else ""
    return ""


def resident_id(text: str) -> str:
    """GB 11643: weighted sum of 17 digits modulo 11 names the last character."""
    plain = re.sub(r"[ -]", "", text).upper()
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(plain, weights, strict=False))
    return text if "10X98765432"[total % 11] == plain[17] else ""


def bsn(text: str) -> str:
    """The Dutch 11-test: 9 to 2 times the first eight digits, minus the ninth, is a multiple of 11."""
    digits = digits_of(text).zfill(9)
    total = sum(int(digit) * weight for digit, weight in zip(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True))
    return text if total % 11 == 0 and int(digits) else ""


def nir(text: str) -> str:
    """The French social security number: its key is 97 minus the rest of the other 13 digits."""
    digits = digits_of(text)
    return text if len(digits) == 15 and 97 - int(digits[:13]) % 97 == int(digits[13:]) else ""


def ip_address(text: str) -> str:
    """An address as `ipaddress` reads it; "::" alone is punctuation."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return text if address.version == 4 or len(text) > 5 else ""


def phone(text: str) -> str:
    """A number of 8 to 15 digits that is no hotline and no date."""
    digits = digits_of(text)
    service = re.match(r"(?:400|800|888|877|866|0800|0900|0180)", digits)  # hotlines belong to nobody
    date = re.match(r"\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d\d(?!\d)", text)
    return "" if service or date or not 8 <= len(digits) <= 15 else text.rstrip(" -/(（")


def called_number(text: str) -> str:
    """A number after "ring me on": seven digits are enough there."""
    return text.rstrip(" -/(（") if len(digits_of(text)) == 7 else phone(text)


def number(text: str) -> str:
    """An order's or customer's number: five digits at least, and not a date."""
    date = re.match(r"(?:19|20)\d\d-\d\d-\d\d|\d\d-\d\d-(?:19|20)\d\d", text)
    return "" if len(digits_of(text)) < 5 or date else text


def long_number(text: str) -> str:
    """An order's number after the bare word "order", which may also be followed by a quantity."""
    return number(text) if len(digits_of(text)) > 5 else ""


def with_digit(text: str) -> str:
    """Anything with a figure in it."""
    return text.rstrip(" -") if re.search(r"\d", text) else ""


def handle(text: str) -> str:
    """An account's name: a figure, dot or underscore in it, else it may be the next word of the sentence."""
    return text.rstrip(".") if re.search(r"[\d_.@]", text.rstrip(".")) else ""


def secret(text: str) -> str:
    """A password after "is": a plain word there may be what is said of the password."""
    return text.rstrip(".,;!?") if re.search(r"[^A-Za-z'-]", text.rstrip(".,;!?")) else ""


def as_found(text: str) -> str:
    """All of a match is the value."""
    return text
