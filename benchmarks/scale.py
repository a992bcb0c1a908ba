"""How long and how much a run measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Durations are of one measurement; a median is taken over `rounds` of them."""

    seconds: float
    rounds: int
    stream_seconds: float
    idle_connections: int
    lasting_requests: int
    lasting_aborts: int
    cold_rounds: int
    bodies: int


QUICK = Scale(
    seconds=1.0,
    rounds=1,
    stream_seconds=2.0,
    idle_connections=1_000,
    lasting_requests=20_000,
    lasting_aborts=1_000,
    cold_rounds=3,
    bodies=10,
)
DEFAULT = Scale(
    seconds=2.0,
    rounds=3,
    stream_seconds=5.0,
    idle_connections=5_000,
    lasting_requests=200_000,
    lasting_aborts=10_000,
    cold_rounds=10,
    bodies=50,
)
FULL = Scale(
    seconds=5.0,
    rounds=5,
    stream_seconds=20.0,
    idle_connections=5_000,
    lasting_requests=1_000_000,
    lasting_aborts=10_000,
    cold_rounds=20,
    bodies=100,
)
