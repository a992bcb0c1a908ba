"""Limiters for tests: on clocks that are moved by hand, and with short words for what is asked."""

from __future__ import annotations

from collections.abc import Sequence

from gglib_core.keys import Allowance, ApiKey, Endpoint
from gglib_core.rate_limiting import Caller, Demand, LimitRule
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
