"""What an experiment came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Whether a promise was kept."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIP = "skip"
    """The configuration makes the promise void."""


class Broken(Exception):
    """A promise was not kept; says what was seen instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row of the matrix, tried."""

    name: str
    fault: str
    promise: str
    verdict: Verdict
    seen: str
    seconds: float


def expect(condition: object, otherwise: str) -> None:
    """Raise Broken with `otherwise` unless `condition` holds."""
    if not condition:
        raise Broken(otherwise)
