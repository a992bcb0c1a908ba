"""What has happened since the start, counted: requests, generations, refusals.

Called for every request, on the event loop: plain integers and lists, at less than a microsecond a
call. A count never decreases. Labels are bounded: routes, known methods, models of the catalog,
codes of our own. Not here: how the numbers are shown (`gglib_proxy.control.metrics`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from gglib_core.generations import Generation

OTHER = "other"
"""The label of what is none of ours: a method or path that a client made up."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MAX_SERIES: Final = 4096
"""Of requests; reached only where a caller's paths are no templates. Further ones are `other`."""
COUNTED_AT_ONCE: Final = 128
"""Generations; counting them takes a tenth of a millisecond."""

_BELOW_A_SECOND = (1, 2.5, 5, 10, 25, 50, 100, 250, 500)
MILLISECONDS = (*_BELOW_A_SECOND, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 12e4, 3e5, 6e5)
SECONDS: Final = tuple(each / 1000 for each in MILLISECONDS)
TOKENS = (16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144)
TOKENS_PER_SECOND = (1, 2, 5, 10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 1000)


class Histogram:
    """How many values were at most so large: one count for each bound, and one above them."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total: float = 0.0

    def __repr__(self) -> str:
        return f"<Histogram count={self.count} total={self.total:g}>"

    @property
    def count(self) -> int:
        return sum(self.counts)

    def copy(self) -> Histogram:
        other = Histogram(self.bounds)
        other.counts = self.counts.copy()
        other.total = self.total
        return other

    def add(self, other: Histogram) -> None:
        """What another of the same bounds has counted, too."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Iterable[float]) -> None:
        """The same for each, at a quarter of the cost."""
        ordered = sorted(values)
        begin = 0
        for index, bound in enumerate(self.bounds):
            if begin == len(ordered):
                break
            end = bisect_right(ordered, bound, begin)
            self.counts[index] += end - begin
            begin = end
        self.counts[-1] += len(ordered) - begin
        self.total += sum(ordered)


_COUNTS = ("prompt_tokens", "cached_tokens", "completion_tokens", "estimated")
_COLLECTIONS = ("outcomes", "cost", "queue", "load", "first_token", "duration", "prompt", "speed")


class ModelTally:
    """What one model's requests came to. Times are in milliseconds, as generations have them."""

    def __init__(self) -> None:
        self.outcomes: Counter[str | None] = Counter()
        """By the code of the error; None for those that went well."""
        self.prompt_tokens = 0
        """Those from the cache included."""
        self.cached_tokens = 0
        self.completion_tokens = 0
        self.estimated = 0
        """Generations whose tokens we counted ourselves."""
        self.cost: defaultdict[str, float] = defaultdict(float)
        """Money, by currency."""
        self.queue = Histogram(MILLISECONDS)
        """Until a model was leased, loading included."""
        self.load = Histogram(MILLISECONDS)
        """Of those that waited for a load."""
        self.first_token = Histogram(MILLISECONDS)
        self.duration = Histogram(MILLISECONDS)
        self.prompt = Histogram(TOKENS)
        self.speed = Histogram(TOKENS_PER_SECOND)

    def copy(self) -> ModelTally:
        other = ModelTally()
        for name in _COUNTS:
            setattr(other, name, getattr(self, name))
        for name in _COLLECTIONS:
            setattr(other, name, getattr(self, name).copy())
        return other

    def count(self, generations: Sequence[Generation]) -> None:
        """Count them column by column, at a third of what one after the other would cost."""
        error, queue, load, first, total, *others = zip(*map(_counted, generations), strict=True)
        prompt, cached, completion, estimated, speed, *costs = others
        self.outcomes.update(error)
        self.prompt_tokens += sum(prompt)
        self.cached_tokens += sum(cached)
        self.completion_tokens += sum(completion)
        self.estimated += sum(estimated)
        self.queue.observe_all(queue)
        self.load.observe_all(filter(None, load))
        self.first_token.observe_all(each for each in first if each is not None)
        self.duration.observe_all(total)
        self.prompt.observe_all(filter(None, prompt))
        self.speed.observe_all(each for each in speed if each is not None)
        if any(map(any, costs)):
            for each in generations:
                self.cost[each.currency] += each.prompt_cost + each.completion_cost


_model_of = itemgetter(Generation._fields.index("model"))
_counted = itemgetter(
    *map(
        Generation._fields.index,
        (
            "error",
            "queue_ms",
            "load_ms",
            "first_token_ms",
            "total_ms",
            "prompt_tokens",
            "cached_tokens",
            "completion_tokens",
            "is_estimated",
            "tokens_per_second",
            "prompt_cost",
            "completion_cost",
        ),
    )
)


class Tally:
    """The counts of one process. Belongs to one event loop."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], Histogram] = {}
        """The seconds that requests took, by method, path and status."""
        self.limits: Counter[str] = Counter()
        """Refusals by the limit that was reached."""
        self.refused_keys: Counter[str] = Counter()
        """Refusals by the code of the error."""
        self._models: defaultdict[str, ModelTally] = defaultdict(ModelTally)
        self._uncounted: list[Generation] = []

    def copy(self) -> Tally:
        """The counts of this moment, which another thread may read."""
        other = Tally()
        other.requests = {key: times.copy() for key, times in self.requests.items()}
        other.limits = self.limits.copy()
        other.refused_keys = self.refused_keys.copy()
        other._models.update((name, model.copy()) for name, model in self.models.items())
        return other

    def request_ended(self, method: str, path: str, status: int, seconds: float) -> None:
        """An answer of the public listener has ended, or its client has left.

        `path` is the route's template. What a client made up is counted as `other`.
        """
        times = self.requests.get((method, path, status))
        if times is None:
            times = self._times_of(method, path, status)
        times.counts[bisect_left(SECONDS, seconds)] += 1
        times.total += seconds

    def _times_of(self, method: str, path: str, status: int) -> Histogram:
        if method not in METHODS:
            method = OTHER
        if len(self.requests) >= MAX_SERIES:
            path = OTHER
        return self.requests.setdefault((method, path, status), Histogram(SECONDS))

    def generation_ended(self, generation: Generation) -> None:
        """A request that was admitted has ended, however it did."""
        self._uncounted.append(generation)
        if len(self._uncounted) >= COUNTED_AT_ONCE:
            self._count()

    def rate_limited(self, kind: str) -> None:
        """A request was refused because of a limit: `RateLimited.limit`, `QuotaExceeded.limit`."""
        self.limits[kind] += 1

    def auth_failed(self, code: str) -> None:
        """A request was refused because of its key, with the error's code."""
        self.refused_keys[code] += 1

    @property
    def models(self) -> Mapping[str, ModelTally]:
        """By name; what has ended until now is counted."""
        self._count()
        return self._models

    def _count(self) -> None:
        generations, self._uncounted = self._uncounted, []
        generations.sort(key=_model_of)
        for name, those in groupby(generations, _model_of):
            self._models[name].count(list(those))
