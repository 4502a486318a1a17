"""The policies a desk answers by: one a language, and where an A/B test tries one, which of two a conversation gets."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from runtime.desk.ab_test import Trial
from runtime.desk.policy import Policy, hand_off_reasons, read_policy
from runtime.journal.turn_details import Arm
from runtime.text.personal_data import PersonalRules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.bundle.bundle import Bundle
    from runtime.retrieval.embedder import Embedder


class FixedAnswerIndex:
    """The questions of a policy's fixed answers, embedded once."""

    def __init__(self, policy: Policy, embedder: Embedder) -> None:
        pairs = [(answer.id, question) for answer in policy.answer for question in answer.questions]
        self._names = [name for name, _ in pairs]
        self._vectors: NDArray[np.float32] | None = embedder.queries([text for _, text in pairs]) if pairs else None
        self._embedder = embedder

    def nearest(self, question: str) -> tuple[str, float] | None:
        """(id of the answer, cosine of its nearest question); None when no answer has questions."""
        if self._vectors is None:
            return None
        cosines = self._vectors @ self._embedder.queries([question])[0]
        best = int(cosines.argmax())
        return self._names[best], float(cosines[best])


class ActivePolicy(NamedTuple):
    """A conversation's policy."""

    policy: Policy
    fixed_answers: FixedAnswerIndex


class PolicySelector:
    """The bundle's policies and the A/B test's candidate."""

    def __init__(self, bundle: Bundle, embedder: Embedder, trial: Trial | None = None) -> None:
        languages = bundle.prompt.languages
        self._first = languages[0]
        own = {lang: read_policy(bundle.policy_path(lang)) for lang in ("en", "zh", *languages)}
        self._own = {lang: ActivePolicy(policy, FixedAnswerIndex(policy, embedder)) for lang, policy in own.items()}
        candidate = trial.policy if trial else None
        self._candidate = ActivePolicy(candidate, FixedAnswerIndex(candidate, embedder)) if candidate else None

    def policy_for(self, lang: str, arm: Arm | None = None) -> ActivePolicy:
        """The policy of a language, or of the bundle's first where that has none; the candidate's on that arm."""
        if arm == "candidate" and self._candidate:
            return self._candidate
        return self._own.get(lang) or self._own[self._first]

    @property
    def personal(self) -> PersonalRules:
        """What any of the policies calls personal."""
        return functools.reduce(PersonalRules.__or__, (active.policy.personal for active in self._own.values()))

    @property
    def tone_names(self) -> set[str]:
        """Names of the tones of all policies."""
        return {name for active in self._own.values() for name in active.policy.tone}

    @property
    def hand_off_reasons(self) -> frozenset[str]:
        """Every reason for which the desk hands over."""
        policies = [active.policy for active in self._own.values()]
        return hand_off_reasons(policies + ([self._candidate.policy] if self._candidate else []))
