"""What has happened so far, as plain numbers: for metrics and statistics, counted on the hot path.

Not here: how they are shown (`admin/`).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter

BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
OTHER = "other"
_MOST_NAMES = 200
"""Of models, which come from clients."""


class Durations:
    """A histogram."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_SECONDS) + 1)
        self.total_seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self.total_seconds += seconds


class Tallies:
    """The counts of one process."""

    def __init__(self) -> None:
        self.started_at = time.time()
        self.began_at = time.monotonic()
        self.requests: Counter[tuple[str, str]] = Counter()
        """Inference requests that were read, by endpoint and model."""
        self.durations: dict[tuple[str, str], Durations] = {}
        """From a request's last byte to its answer's, likewise."""
        self.answers: Counter[tuple[str, str, int]] = Counter()
        """All answers, by method, path and status."""
        self.injected: Counter[str] = Counter()
        """Faults that struck, by what they are called."""
        self.tokens = 0
        """Generated."""
        self.active = 0
        """Inference requests under way, those that wait included."""
        self.most_active = 0
        self.limited = 0
        """Requests beyond a rate limit."""
        self.overloaded = 0
        """Requests beyond the number of concurrent ones."""
        self._models: set[str] = set()

    def begin(self, endpoint: str, model: str) -> tuple[str, str]:
        """Count a request; returns by what `end` knows it."""
        if model not in self._models:
            if len(self._models) >= _MOST_NAMES:
                model = OTHER
            self._models.add(model)
        label = (endpoint, model)
        self.requests[label] += 1
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        return label

    def end(self, label: tuple[str, str], seconds: float, tokens: int) -> None:
        """The request has ended, however."""
        self.active -= 1
        self.tokens += tokens
        durations = self.durations.get(label)
        if durations is None:
            durations = self.durations[label] = Durations()
        durations.add(seconds)
