"""The server as the console knows it, and the state of the branch that the agent must know of.

Knows nothing of sockets; `tui.services.server_link` finds these things out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Link(StrEnum):
    """Where the server is, as far as the console knows."""

    LOOKING = "looking"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    GONE = "gone"


@dataclass(frozen=True)
class Health:
    """The state of the branch besides the link; each problem is shown in words, with what still works."""

    engine: bool = True
    """False while the model's process is being started again: articles, search and hand-offs still work."""
    updating: bool = False
    """A new bundle is being installed; the server keeps serving its own."""
    newer: str = ""
    """A bundle that is installed and not yet served: the next start of the server takes it."""
    disk_low_mb: int | None = None
    """Free megabytes on the journal's disk, once they are few; None = enough."""
    waiting: int | None = None
    """Turns that wait to leave the branch; None where nobody said."""

    def troubles(self) -> list[str]:
        """Names of what is out of order (`health.<name>` in the catalogue), worst first."""
        wrong = {
            "degraded": not self.engine,
            "disk": self.disk_low_mb is not None,
            "updating": self.updating,
            "newer": bool(self.newer),
        }
        return [name for name, true in wrong.items() if true]


WELL: Final = Health()
"""Nothing is out of order."""
