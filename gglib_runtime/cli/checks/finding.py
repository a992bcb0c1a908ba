"""What a check finds.

Not here: the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gglib_runtime.settings import Settings


class Verdict(StrEnum):
    """How good a finding is."""

    OK = "ok"
    WARN = "warn"
    """gglib works, though not as it should."""
    FAIL = "fail"
    """gglib does not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    verdict: Verdict
    detail: str
    advice: str | None = None
    """What to do, unless all is well or `detail` says it."""


Check = Callable[["Settings"], Iterator[Finding]]


def ok(name: str, detail: str) -> Finding:
    """All is well."""
    return Finding(name=name, verdict=Verdict.OK, detail=detail)


def warn(name: str, detail: str, advice: str) -> Finding:
    """Something is not as it should be."""
    return Finding(name=name, verdict=Verdict.WARN, detail=detail, advice=advice)


def fail(name: str, detail: str, advice: str) -> Finding:
    """Gglib cannot work like this."""
    return Finding(name=name, verdict=Verdict.FAIL, detail=detail, advice=advice)
