"""What one limit of one caller counts: requests, tokens, requests at a time, or money.

Each is asked for room first and changed later, with nothing in between. Not here: which limits
count for a request, and whose they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from gglib_core.errors import LimitError, QuotaExceeded, RateLimited
from gglib_core.rate_limits.periods import Period

_MINUTE: Final = 60.0
_MOST_MINUTES_OWED: Final = 10
"""So long at most has a caller to wait after an answer that was longer than its limit."""
_BUSY_SECONDS: Final = 1.0
"""When to ask again where only the end of another request makes room."""
_ROUNDING: Final = 1e-9
"""A wait that was told has to be enough, though its product with the rate is rounded."""
_ONE: Final = 1.0 - _ROUNDING
_NANOS: Final = 1_000_000_000


class Measure(ABC):
    """One limit of one caller, asked for every request.

    `now` is a clock's that never goes back, `unix` is UTC's. Money is whole billionths, for a sum
    of floats is not quite what was added.
    """

    __slots__ = ()

    @abstractmethod
    def has_room(self, now: float, unix: float, tokens: int, nanos: int) -> bool:
        """Whether so much may be taken."""

    @abstractmethod
    def take(self, tokens: int, nanos: int) -> None:
        """Take so much; to be called when there is room."""

    @abstractmethod
    def settle(
        self, now: float, began: float, taken_tokens: int, taken_nanos: int, tokens: int, nanos: int
    ) -> None:
        """What was taken at `began`, in UTC's seconds, has come to be so much."""

    @abstractmethod
    def refusal(self, now: float, tokens: int) -> LimitError:
        """Why there is no room."""

    @abstractmethod
    def is_idle(self, now: float, unix: float) -> bool:
        """Whether it is as if nobody had ever used it."""

    @abstractmethod
    def limit_to(self, limit: float) -> None:
        """Have another limit from now on; what was used stays used."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what was used; not what runs, and not money."""


class _Bucket(Measure):
    """Holds a minute's worth, is full at first, and fills steadily."""

    __slots__ = ("_level", "_per_second", "_stamp", "limit")

    def __init__(self, limit: float, now: float) -> None:
        self.limit = limit
        self._per_second = limit / _MINUTE
        self._level = limit
        self._stamp = now

    def left(self, now: float) -> float:
        """What may be used; below zero for what is owed."""
        level = self._level + (now - self._stamp) * self._per_second
        self._stamp = now
        if level > self.limit:
            level = self.limit
        self._level = level
        return level

    def standing(self, now: float) -> tuple[int, int, float]:
        """The limit, what is left of it, and the seconds until it is full."""
        limit, left = self.limit, self.left(now)
        return int(limit), int(left) if left > 0 else 0, (limit - left) / self._per_second

    def is_idle(self, now: float, unix: float) -> bool:
        return self.left(now) >= self.limit

    def limit_to(self, limit: float) -> None:
        self._level = min(self._level, limit)
        self.limit = limit
        self._per_second = limit / _MINUTE

    def reset(self) -> None:
        self._level = self.limit


class RequestBucket(_Bucket):
    """Requests of a minute."""

    __slots__ = ()

    def has_room(self, now: float, unix: float, tokens: int, nanos: int) -> bool:
        level = self._level + (now - self._stamp) * self._per_second  # as `left`, without the call
        self._stamp = now
        if level > self.limit:
            level = self.limit
        self._level = level
        return level >= _ONE

    def take(self, tokens: int, nanos: int) -> None:
        self._level -= 1

    def settle(
        self, now: float, began: float, taken_tokens: int, taken_nanos: int, tokens: int, nanos: int
    ) -> None:
        return

    def refusal(self, now: float, tokens: int) -> LimitError:
        wait = (1 - self.left(now)) / self._per_second
        return RateLimited("requests_per_minute", self.limit, wait)


class TokenBucket(_Bucket):
    """Tokens of a minute. What needs more than all of them needs all of them."""

    __slots__ = ()

    def has_room(self, now: float, unix: float, tokens: int, nanos: int) -> bool:
        limit = self.limit
        level = self._level + (now - self._stamp) * self._per_second  # as above
        self._stamp = now
        if level > limit:
            level = limit
        self._level = level
        return level >= tokens or level >= self._needed(tokens) - _ROUNDING * limit

    def take(self, tokens: int, nanos: int) -> None:
        self._level -= tokens if tokens < self.limit else self.limit  # noqa: FURB136 -- `min` is slow

    def settle(
        self, now: float, began: float, taken_tokens: int, taken_nanos: int, tokens: int, nanos: int
    ) -> None:
        limit = self.limit
        level = self.left(now) + (taken_tokens if taken_tokens < limit else limit)  # noqa: FURB136
        self._level = level - tokens
        if self._level < -_MOST_MINUTES_OWED * limit:
            self._level = -_MOST_MINUTES_OWED * limit

    def refusal(self, now: float, tokens: int) -> LimitError:
        wait = (self._needed(tokens) - self.left(now)) / self._per_second
        return RateLimited("tokens_per_minute", self.limit, wait)

    def _needed(self, tokens: int) -> float:
        return min(tokens, self.limit)


class Concurrency(Measure):
    """Requests that run at the same time."""

    __slots__ = ("_limit", "_running")

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._running = 0

    def has_room(self, now: float, unix: float, tokens: int, nanos: int) -> bool:
        return self._running < self._limit

    def take(self, tokens: int, nanos: int) -> None:
        self._running += 1

    def settle(
        self, now: float, began: float, taken_tokens: int, taken_nanos: int, tokens: int, nanos: int
    ) -> None:
        self._running -= 1

    def refusal(self, now: float, tokens: int) -> LimitError:
        return RateLimited("concurrent_requests", self._limit, _BUSY_SECONDS)

    def is_idle(self, now: float, unix: float) -> bool:
        return not self._running

    def limit_to(self, limit: float) -> None:
        self._limit = limit

    def reset(self) -> None:
        return


class Budget(Measure):
    """Money of a period, of which each begins with nothing spent."""

    __slots__ = (
        "_before",
        "_limit",
        "_name",
        "_period",
        "_running",
        "_spent",
        "since",
    )

    def __init__(self, name: str, limit: float, period: Period, unix: float) -> None:
        self._name = name
        self._period = period
        self.since = unix
        """From when on it has counted by itself."""
        self._before = 0
        """What was spent in this period before that."""
        self._spent = 0
        """What was spent since, and what is taken by requests that run."""
        self._running = 0
        self.limit_to(limit)

    @property
    def begins(self) -> float:
        """When the period began that it counts."""
        return self._period.begins

    def spent_before(self, cost: float) -> None:
        """So much was spent in this period before `since`."""
        self._before = billionths(cost)

    def has_room(self, now: float, unix: float, tokens: int, nanos: int) -> bool:
        if not self._period.begins <= unix < self._period.ends:
            self._turn(unix)
        return not nanos or self._before + self._spent + nanos <= self._limit

    def take(self, tokens: int, nanos: int) -> None:
        self._spent += nanos
        self._running += 1

    def settle(
        self, now: float, began: float, taken_tokens: int, taken_nanos: int, tokens: int, nanos: int
    ) -> None:
        self._running -= 1
        if self._period.begins <= began < self._period.ends:
            self._spent += nanos - taken_nanos

    def refusal(self, now: float, tokens: int) -> LimitError:
        left = (self._limit - self._before - self._spent) / _NANOS
        return QuotaExceeded(self._name, self._limit / _NANOS, left)

    def is_idle(self, now: float, unix: float) -> bool:
        if not self._period.begins <= unix < self._period.ends:
            self._turn(unix)
        return not (self._before or self._spent or self._running)

    def limit_to(self, limit: float) -> None:
        self._limit = billionths(limit)

    def reset(self) -> None:
        return

    def _turn(self, unix: float) -> None:
        """The period is over, or the clock was set back before it: begin anew."""
        self._period = self._period.at(unix)
        self._before = self._spent = 0


def billionths(amount: float) -> int:
    """An amount of money as measures count it."""
    return round(amount * _NANOS)
