"""What became of every row of a file: used, left out on purpose, or refused with a reason.

Promises: rows = used + skipped + refused. Knows nothing of what rows hold.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class FileAccount:
    """Counts of one file, in its own rows: messages of a table or list, or whole conversations of other forms."""

    file: str = ""
    form: str = ""
    sha256: str = ""
    rows: int = 0
    used_rows: int = 0
    skipped_rows: int = 0
    refused_rows: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Reasons for leaving messages out: private notes, bots, quotes."""
    conversations: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The counts as JSON."""
        return {**asdict(self), "skipped": dict(self.skipped)}
