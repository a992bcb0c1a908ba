"""Rate limits: how much each client may ask for, and when it may come again.

A client is its key, or its address where it has none. Not here: the answer to who asks too much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Number = Annotated[int, Meta(ge=1)]
_MINUTE = 60.0
_MOST_CLIENTS = 10_000


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One limit; each that fits a request has to hold."""

    requests_per_minute: Number | None = None
    tokens_per_minute: Number | None = None
    """Of prompts and answers; a client that has spent more waits until it has earned it."""
    burst: Number | None = None
    """Requests that may come at once; None is as many as a minute has."""
    endpoint: str | None = None
    """A glob of the paths that it counts for; None is all."""
    per: Literal["client", "address", "all"] = "client"
    """Who shares it: each key (or address where there is no key), each address, or everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A limit that does not hold any more."""

    limit: RateLimit
    what: Literal["requests", "tokens"]
    most: int
    """In a minute."""
    retry_after_seconds: float


class _Bucket:
    """What one client may still use: it fills with time."""

    __slots__ = ("_at", "_most", "_per_second", "level")

    def __init__(self, most: float, per_minute: float, now: float) -> None:
        self.level = most
        self._most = most
        self._per_second = per_minute / _MINUTE
        self._at = now

    def fill(self, now: float) -> None:
        self.level = min(self.level + (now - self._at) * self._per_second, self._most)
        self._at = now

    def seconds_until(self, level: float) -> float:
        return max(level - self.level, 0.0) / self._per_second


class RateLimiter:
    """Counts what clients use."""

    def __init__(self, limits: Sequence[RateLimit], clock: Callable[[], float]) -> None:
        self._limits = tuple(limits)
        self._clock = clock
        self._buckets: dict[tuple[int, str, str], _Bucket] = {}
        self.is_empty = not self._limits

    def has(self, limits: Sequence[RateLimit]) -> bool:
        """Whether these are its limits."""
        return self._limits == tuple(limits)

    def take(self, *, key: str, address: str, endpoint: str) -> Exceeded | None:
        """Count one request; or say which limit it exceeds, and count nothing."""
        now = self._clock()
        requests: list[_Bucket] = []
        for index, limit in self._fitting(endpoint):
            who = _who(limit, key, address)
            if limit.requests_per_minute is not None:
                most = limit.burst or limit.requests_per_minute
                bucket = self._bucket(index, "requests", who, most, limit.requests_per_minute, now)
                if bucket.level < 1:
                    return _exceeded(limit, "requests", limit.requests_per_minute, bucket, 1.0)
                requests.append(bucket)
            if limit.tokens_per_minute is not None:
                tokens = limit.tokens_per_minute
                bucket = self._bucket(index, "tokens", who, tokens, tokens, now)
                if bucket.level <= 0:
                    return _exceeded(limit, "tokens", tokens, bucket, 1.0)
        for bucket in requests:
            bucket.level -= 1
        return None

    def spend(self, tokens: int, *, key: str, address: str, endpoint: str) -> None:
        """An answer has used so many tokens."""
        now = self._clock()
        for index, limit in self._fitting(endpoint):
            if limit.tokens_per_minute is not None:
                most = limit.tokens_per_minute
                who = _who(limit, key, address)
                self._bucket(index, "tokens", who, most, most, now).level -= tokens

    def reset(self) -> int:
        """Forget what was used; returns how many counts there were."""
        count = len(self._buckets)
        self._buckets.clear()
        return count

    def _fitting(self, endpoint: str) -> list[tuple[int, RateLimit]]:
        return [
            (index, limit)
            for index, limit in enumerate(self._limits)
            if limit.endpoint is None or fnmatchcase(endpoint, limit.endpoint)
        ]

    def _bucket(
        self, index: int, what: str, who: str, most: float, per_minute: float, now: float
    ) -> _Bucket:
        place = (index, what, who)
        bucket = self._buckets.get(place)
        if bucket is None:
            if len(self._buckets) >= _MOST_CLIENTS:  # keys come from clients
                self._buckets.pop(next(iter(self._buckets)))
            bucket = self._buckets[place] = _Bucket(most, per_minute, now)
        bucket.fill(now)
        return bucket


def _who(limit: RateLimit, key: str, address: str) -> str:
    if limit.per == "all":
        return ""
    return (key and f"key {key}") or address if limit.per == "client" else address


def _exceeded(
    limit: RateLimit, what: Literal["requests", "tokens"], most: int, bucket: _Bucket, level: float
) -> Exceeded:
    seconds = math.ceil(bucket.seconds_until(level) * 1000) / 1000
    return Exceeded(limit=limit, what=what, most=most, retry_after_seconds=seconds)
