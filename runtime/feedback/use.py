"""What agents did with drafts: how many helped, how much was rewritten, how many questions went to a person. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import fmean

from runtime.feedback.edit_distance import edit_distance
from runtime.journal.outbox import OutboxRow

HELPED_BELOW = 0.5
"""A draft of which less was rewritten has helped: more of it was sent than was not."""


@dataclass(frozen=True)
class Use:
    """Counts of turns; shares are None where nothing was judged or asked."""

    turns: int = 0
    judged: int = 0
    """Drafts that an agent accepted, edited or rejected."""
    accepted: int = 0
    edited: int = 0
    rejected: int = 0
    helped: int = 0
    """Accepted, or edited and less than half of it rewritten."""
    handed_off: int = 0
    failed: int = 0
    """Answers that failed, or were cut by the end of their process."""
    rewritten: float | None = None
    """Mean edit distance of accepted and edited drafts, 0 to 1."""
    rating: float | None = None
    """Mean of the customers' ratings, 1 to 5."""

    @property
    def helped_share(self) -> float | None:
        """Of the judged drafts."""
        return self.helped / self.judged if self.judged else None

    @property
    def unchanged_share(self) -> float | None:
        """Of the judged drafts, those accepted as they were."""
        return self.accepted / self.judged if self.judged else None

    @property
    def hand_off_rate(self) -> float | None:
        """Of all turns."""
        return self.handed_off / self.turns if self.turns else None

    def as_dict(self) -> dict[str, float | int | None]:
        """Counts and shares by name."""
        shares = {"helped_share": self.helped_share, "unchanged_share": self.unchanged_share}
        return {**asdict(self), **shares, "hand_off_rate": self.hand_off_rate}


def measure_use(rows: Iterable[OutboxRow]) -> Use:
    """The use that some turns were of; each turn once (`runtime.feedback.export_file` keeps the newest revision)."""
    rows = list(rows)
    verdicts = [row.verdict for row in rows if row.verdict]
    distances = [
        0.0 if row.verdict == "accepted" else edit_distance(row.draft, row.reply or "")
        for row in rows
        if row.verdict in ("accepted", "edited")
    ]
    ratings = [row.rating for row in rows if row.rating is not None]
    return Use(
        turns=len(rows),
        judged=len(verdicts),
        accepted=verdicts.count("accepted"),
        edited=verdicts.count("edited"),
        rejected=verdicts.count("rejected"),
        helped=sum(distance < HELPED_BELOW for distance in distances),
        handed_off=sum(row.handoff is not None for row in rows),
        failed=sum(row.state in ("failed", "partial") for row in rows),
        rewritten=fmean(distances) if distances else None,
        rating=fmean(ratings) if ratings else None,
    )
