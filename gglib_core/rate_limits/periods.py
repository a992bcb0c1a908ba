"""The periods for which there is a budget: days and calendar months of UTC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

_DAY_SECONDS = 86400


@dataclass(frozen=True, slots=True)
class Period:
    """A day or a month, in Unix seconds; `ends` is the next one's beginning."""

    begins: float
    ends: float
    at: Callable[[float], Period]
    """The period of the same kind in which a time lies."""


def day_at(unix: float) -> Period:
    """The day in which a time lies."""
    begins = unix // _DAY_SECONDS * _DAY_SECONDS
    return Period(begins, begins + _DAY_SECONDS, day_at)


def month_at(unix: float) -> Period:
    """The month in which a time lies."""
    first = datetime.fromtimestamp(unix, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    year, month = (first.year, first.month + 1) if first.month < 12 else (first.year + 1, 1)
    following = first.replace(year=year, month=month)
    return Period(first.timestamp(), following.timestamp(), month_at)
