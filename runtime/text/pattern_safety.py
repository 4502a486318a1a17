"""Whether a regular expression from a company's policy may run over strangers' text.

Promises: what is accepted takes time linear in the text, with a bounded number of ways to match at each place. It is
read with Python's own parser. Knows nothing of policies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

MAX_PATTERN_CHARS = 200
MAX_MATCH_CHARS = 200
MIN_MATCH_CHARS = 3
MAX_WAYS = 5000
"""Ways in which a pattern may try to match at one place: `\\d{5,12}` has 8, two of them in a row 64."""


def pattern_problem(pattern: str) -> str:
    """Why a pattern is refused, as the end of a sentence; "" when it may be used."""
    if len(pattern) > MAX_PATTERN_CHARS:
        return f"has more than {MAX_PATTERN_CHARS} characters"
    try:
        re.compile(f"x(?:{pattern})")  # as it is used: a flag for all of it has no place there
        parsed = parser.parse(pattern)
        least, most = parsed.getwidth()
        ways = _ways(parsed)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is not a regular expression: {error}"
    except _RefusedError as error:
        return str(error)
    if most > MAX_MATCH_CHARS:
        return f"may match more than {MAX_MATCH_CHARS} characters: give each repeat an upper bound, such as {{1,12}}"
    if least < MIN_MATCH_CHARS:
        return f"may match fewer than {MIN_MATCH_CHARS} characters"
    if ways > MAX_WAYS:
        return "can match in too many ways: use fewer variable repeats"
    return ""


class _RefusedError(Exception):
    """Part of a pattern that is not allowed."""


def _ways(parsed: Sequence[tuple[Any, Any]]) -> int:
    """In how many ways the parts of a pattern may match at one place, at most."""
    total = 1
    for code, value in parsed:
        total *= _ways_of(code, value)
    return total


def _ways_of(code: Any, value: Any) -> int:
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        least, most, inner = value
        if most == codes.MAXREPEAT:
            raise _RefusedError("has a repeat without an upper bound: write {1,12} instead of + or *")
        if most > 1 and _ways(inner) > 1:
            raise _RefusedError("has a repeat inside a repeat")
        return int(most - least + 1) * _ways(inner)
    if code is codes.BRANCH:
        return sum(_ways(branch) for branch in value[1])
    if code is codes.SUBPATTERN:
        return _ways(value[-1])
    if code in (codes.ASSERT, codes.ASSERT_NOT):
        return _ways(value[1])
    if code is codes.ATOMIC_GROUP:
        return _ways(value)
    if code in (codes.GROUPREF, codes.GROUPREF_EXISTS):
        raise _RefusedError("refers to a group, which is not supported")
    return 1
