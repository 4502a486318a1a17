"""When the branch's clock may be trusted with what cannot be undone: deleting and redacting by age.

A branch may boot with any date (an empty battery, no network). The journal remembers the latest time it trusted, its
mark. Promises: nothing is forgotten while the clock is behind the mark or far ahead of it; what is written while it is
behind counts as written at the mark, so that mending the clock makes nothing old. Pure. Knows nothing of databases.
"""

from __future__ import annotations

from datetime import datetime, timedelta

MAX_BEHIND = timedelta(days=1)
"""A clock this far behind is corrected, as after a change of zone or by NTP; further behind it is wrong."""
MAX_AHEAD = timedelta(days=180)
"""Longer than a branch closes for a season. After a longer pause a person says whether the clock is right."""


def clock_problem(now: datetime, mark: datetime) -> str:
    """Why the clock is not trusted, in a sentence; empty when it is."""
    if now < mark - MAX_BEHIND:
        return f"the clock says {now:%Y-%m-%d}, but the journal has seen {mark:%Y-%m-%d}"
    if now > mark + MAX_AHEAD:
        return f"the clock says {now:%Y-%m-%d}, {(now - mark).days} days after the journal was last used"
    return ""
