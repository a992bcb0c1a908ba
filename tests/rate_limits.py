"""Limiters for tests: on clocks that are moved by hand, one that keeps what it was asked, and short
words for what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from gglib_core.keys import Allowance, ApiKey, Endpoint
from gglib_core.rate_limiting import Caller, Demand, LimitRule, Standing
from gglib_core.rate_limits import InMemoryRateLimiter
from gglib_core.rate_limits.limiter import Reservation

MIDNIGHT = 1_767_225_600.0
"""The first second of 2026, UTC."""
ADDRESS = Caller(None, "192.0.2.1")


class Clock:
    """Two clocks that stand still until they are moved."""

    def __init__(self, unix: float = MIDNIGHT) -> None:
        self.now = 1000.0
        self.unix = unix

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.unix += seconds

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.unix


def limiter(
    clock: Clock, defaults: Allowance | None = None, rules: Sequence[LimitRule] = ()
) -> InMemoryRateLimiter:
    return InMemoryRateLimiter(defaults, rules, clock=clock.monotonic, unix_clock=clock.time)


def key(key_id: int = 1, name: str | None = None, **allowance: float) -> ApiKey:
    return ApiKey(
        id=key_id,
        name=name or f"key-{key_id}",
        mask="gg-abc***xyz",
        allowance=Allowance(**allowance),  # type: ignore[arg-type]
    )


def caller(key_id: int = 1, name: str | None = None, **allowance: float) -> Caller:
    return Caller(key(key_id, name, **allowance), "192.0.2.9")


def demand(
    model: str = "alpha",
    *,
    tokens: int = 0,
    cost: float = 0.0,
    endpoint: Endpoint = Endpoint.INFERENCE,
) -> Demand:
    return Demand(model=model, endpoint=endpoint, tokens=tokens, cost=cost)


def held(reservation: Reservation | None) -> Reservation:
    """The reservation, where some limit has to count."""
    assert reservation is not None
    return reservation


STANDING = Standing(
    limit_requests=5,
    remaining_requests=4,
    reset_requests_seconds=12.5,
    limit_tokens=900,
    remaining_tokens=800,
    reset_tokens_seconds=75.0,
)


class FakeReservation:
    """Tells its limiter what was settled."""

    standing: Standing | None = STANDING

    def __init__(self, settled: list[tuple[int, float]]) -> None:
        self._settled = settled

    def settle(self, *, tokens: int, cost: float) -> None:
        self._settled.append((tokens, cost))


class FakeLimiter:
    """Refuses what it is told to refuse, and keeps what was settled."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.demands: list[Demand] = []
        self.settled: list[tuple[int, float]] = []

    def is_unlimited(self, caller: Caller) -> bool:
        return False

    def reserve(self, caller: Caller, demand: Demand) -> FakeReservation:
        if self.error is not None:
            raise self.error
        self.demands.append(demand)
        return FakeReservation(self.settled)

    def standing(self, caller: Caller, demand: Demand) -> Standing | None:
        return STANDING

    def reset(self, caller_name: str | None = None) -> int:
        return 0
