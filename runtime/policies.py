"""The policies of a desk: one a language, and where an experiment runs, which of two a conversation gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runtime.curated import Nearest
from runtime.experiment import Arm, Trial
from runtime.policy import Policy, read_policy

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.embedder import Embedder


class Chosen(NamedTuple):
    """A conversation's policy."""

    policy: Policy
    curated: Nearest
    arm: Arm | None
    """Of the experiment; None where none runs."""


class Policies:
    """The bundle's policies and the experiment's candidate, their questions embedded once."""

    def __init__(self, bundle: Bundle, embedder: Embedder, trial: Trial | None = None) -> None:
        spoken = bundle.prompt.languages
        self._first = spoken[0]
        self._own = {lang: read_policy(bundle.policy_path(lang)) for lang in ("en", "zh", *spoken)}
        self._curated = {lang: Nearest.of(policy, embedder) for lang, policy in self._own.items()}
        self.trial = trial
        self._candidate = Nearest.of(trial.policy, embedder) if trial else None

    def of(self, lang: str, conversation: str | None = None) -> Chosen:
        """The policy of a language, or of the bundle's first where that has none; of no conversation, the bundle's."""
        arm = self.trial.arm(lang, conversation) if self.trial and conversation else None
        if arm == "candidate" and self.trial and self._candidate:
            return Chosen(self.trial.policy, self._candidate, arm)
        known = lang if lang in self._own else self._first
        return Chosen(self._own[known], self._curated[known], arm)

    @property
    def tones(self) -> set[str]:
        """Names of all tones."""
        return {name for policy in self._own.values() for name in policy.tone}
