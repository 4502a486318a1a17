"""What the server counts, and how Prometheus reads it (`/metrics`).

Counting is plain arithmetic; prometheus-client is loaded when somebody looks. No label ever holds what a customer
wrote, or anything else of which there is no end.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.desk.answer_ahead import AheadCounts
    from runtime.events import Done

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds of the histogram of the time to the first token."""


class ServerMetrics:
    """Counts since the server started. Safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.refused = 0
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.answers: Counter[tuple[str, str]] = Counter()
        """By language and how they ended: answered, handed_off, cancelled, failed."""
        self.handoffs: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.ratings: Counter[int] = Counter()
        self.tokens: Counter[str] = Counter()
        """read, reused, written."""
        self.written: Counter[str] = Counter()
        """Whole answers that a model wrote, by model."""
        self.first: list[int] = [0] * (len(SECONDS) + 1)
        self.first_sum = 0.0

    def request(self, method: str, route: str, status: int) -> None:
        """An HTTP request was answered."""
        with self._lock:
            self.requests[method, route, str(status)] += 1

    def answer(self, lang: str, done: Done | None, ended: str) -> None:
        """An answer ended; without `done`, as `ended` says."""
        with self._lock:
            self.answers[lang, "handed_off" if done and done.handoff else ended] += 1
            if done is None:
                return
            if done.handoff:
                self.handoffs[done.handoff] += 1
            if done.answer_tokens:
                self.written[done.model] += 1
            self.first[bisect_left(SECONDS, done.ttft_s)] += 1
            self.first_sum += done.ttft_s
            self.tokens["read"] += done.prompt_tokens - done.reused_tokens
            self.tokens["reused"] += done.reused_tokens
            self.tokens["written"] += done.answer_tokens

    def written_by(self, model: str) -> int:
        """How many whole answers the model wrote."""
        with self._lock:
            return self.written[model]

    def feedback(self, verdict: str | None, rating: int | None) -> None:
        """An agent judged a draft."""
        with self._lock:
            if verdict:
                self.verdicts[verdict] += 1
            if rating:
                self.ratings[rating] += 1


def exposition(metrics: ServerMetrics, *, ready: bool, in_work: int, ahead: AheadCounts) -> bytes:
    """The figures in Prometheus' text format; `ready`, `in_work` and `ahead` are as they are now."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(metrics, ready=ready, in_work=in_work, ahead=ahead))
    text: bytes = generate_latest(registry)
    return text


class _Collector:
    """What prometheus-client asks when somebody looks."""

    def __init__(self, metrics: ServerMetrics, *, ready: bool, in_work: int, ahead: AheadCounts) -> None:
        self._metrics = metrics
        self._ready = ready
        self._in_work = in_work
        self._ahead = ahead

    def collect(self) -> list[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        figures = self._metrics
        with figures._lock:
            out: list[Any] = [
                GaugeMetricFamily("edgedesk_ready", "Whether questions are answered.", float(self._ready)),
                GaugeMetricFamily("edgedesk_in_work", "Answers in work, waiting ones included.", float(self._in_work)),
                CounterMetricFamily(
                    "edgedesk_refused", "Questions refused because all places were taken.", figures.refused
                ),
            ]
            tables: list[tuple[str, str, tuple[str, ...], Counter[Any]]] = [
                ("http_requests", "HTTP requests.", ("method", "route", "status"), figures.requests),
                ("answers", "Answers by language and how they ended.", ("lang", "outcome"), figures.answers),
                ("handoffs", "Hand-offs by reason.", ("reason",), figures.handoffs),
                ("drafts", "Drafts by what the agent did with them.", ("verdict",), figures.verdicts),
                ("ratings", "Customers' ratings, 1 to 5.", ("rating",), figures.ratings),
                (
                    "tokens",
                    "Prompt tokens read, prompt tokens found in memory, answer tokens.",
                    ("kind",),
                    figures.tokens,
                ),
            ]
            for name, about, labels, counts in tables:
                family = CounterMetricFamily(f"edgedesk_{name}", about, labels=labels)
                for key, value in counts.items():
                    family.add_metric([str(part) for part in (key if isinstance(key, tuple) else (key,))], value)
                out.append(family)
            out += self._written_ahead(CounterMetricFamily)
            total = 0
            buckets = []
            for bound, count in zip((*map(str, SECONDS), "+Inf"), figures.first, strict=True):
                total += count
                buckets.append((bound, total))
            histogram = HistogramMetricFamily("edgedesk_first_token_seconds", "From the question to its first word.")
            histogram.add_metric([], buckets, figures.first_sum)
            out.append(histogram)
        return out

    def _written_ahead(self, counter: Any) -> list[Any]:
        """Drafts before their questions: what is begun or written less what is used was for nothing."""
        ahead = self._ahead
        drafts = counter("edgedesk_ahead_drafts", "Drafts before their questions.", labels=("kind",))
        drafts.add_metric(["begun"], ahead.drafts)
        drafts.add_metric(["used"], ahead.used)
        tokens = counter("edgedesk_ahead_tokens", "Tokens of drafts before their questions.", labels=("kind",))
        tokens.add_metric(["written"], ahead.tokens_written)
        tokens.add_metric(["used"], ahead.tokens_used)
        about = "Processor seconds of the engine before questions came."
        return [drafts, tokens, counter("edgedesk_ahead_processor_seconds", about, ahead.processor_s)]
