"""Finds the fixed answer whose questions come nearest to a customer's, by the vectors of the bundle's encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.desk.policy import Policy
    from runtime.retrieval.embedder import Embedder


class FixedAnswerIndex:
    """The questions of a policy's fixed answers, embedded once."""

    def __init__(self, names: list[str], vectors: NDArray[np.float32] | None, embedder: Embedder) -> None:
        self._names = names
        self._vectors = vectors
        self._embedder = embedder

    @classmethod
    def of(cls, policy: Policy, embedder: Embedder) -> FixedAnswerIndex:
        """Embed them; costs nothing where there are none."""
        pairs = [(answer.id, question) for answer in policy.answer for question in answer.questions]
        vectors = embedder.queries([question for _, question in pairs]) if pairs else None
        return cls([name for name, _ in pairs], vectors, embedder)

    def nearest(self, question: str) -> tuple[str, float] | None:
        """(id of the answer, cosine of its nearest question); None when no answer has questions."""
        if self._vectors is None:
            return None
        cosines = self._vectors @ self._embedder.queries([question])[0]
        best = int(cosines.argmax())
        return self._names[best], float(cosines[best])
