"""The policies of a desk: one a language, and where an experiment tries one, which of two a conversation gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runtime.desk.ab_test import Trial
from runtime.desk.fixed_answers import FixedAnswerIndex
from runtime.desk.policy import Policy, read_policy
from runtime.journal.turn_details import Arm

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle
    from runtime.retrieval.embedder import Embedder


class ActivePolicy(NamedTuple):
    """A conversation's policy."""

    policy: Policy
    curated: FixedAnswerIndex


class PolicySelector:
    """The bundle's policies and the experiment's candidate, their questions embedded once."""

    def __init__(self, bundle: Bundle, embedder: Embedder, trial: Trial | None = None) -> None:
        spoken = bundle.prompt.languages
        self._first = spoken[0]
        own = {lang: read_policy(bundle.policy_path(lang)) for lang in ("en", "zh", *spoken)}
        self._own = {lang: ActivePolicy(policy, FixedAnswerIndex.of(policy, embedder)) for lang, policy in own.items()}
        tried = trial.policy if trial else None
        self._candidate = ActivePolicy(tried, FixedAnswerIndex.of(tried, embedder)) if tried else None

    def of(self, lang: str, arm: Arm | None = None) -> ActivePolicy:
        """The policy of a language, or of the bundle's first where that has none; the candidate's on that arm."""
        if arm == "candidate" and self._candidate:
            return self._candidate
        return self._own.get(lang) or self._own[self._first]

    @property
    def tones(self) -> set[str]:
        """Names of all tones."""
        return {name for chosen in self._own.values() for name in chosen.policy.tone}
