"""A profile from measurements: CSV with a header, a JSON list, or JSON lines.

The columns are those of gglib's own generation records, some under other common names, too. Rows of
requests that failed are left out. Not here: what the numbers are used for.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from gglib_runtime.simulator.latency.distributions import Distribution, Empirical
from gglib_runtime.simulator.latency.profile import LatencyProfile

_FIRST_TOKEN = ("first_token_ms", "ttft_ms")
_GAP = ("token_gap_ms", "token_ms", "inter_token_ms", "itl_ms", "tpot_ms")
_SPEED = ("tokens_per_second",)
_OUTPUT = ("completion_tokens", "output_tokens")
_FAILED = 400
_MOST_GAP_SECONDS = 3600.0

Row = Mapping[str, Any]


class BadSamples(ValueError):
    """A file of measurements that cannot be used; says why."""


def read_samples(path: Path) -> LatencyProfile:
    """The profile that the file's rows describe; raises BadSamples."""
    try:
        rows = [
            row for row in _rows(path) if _number(row, "status") in (None, 0.0) or _is_good(row)
        ]
    except (OSError, UnicodeDecodeError, csv.Error, msgspec.DecodeError) as error:
        raise BadSamples(f"{path}: {error}") from error
    first_tokens = _samples(map(_first_token, rows))
    if first_tokens is None:
        names = " or ".join(_FIRST_TOKEN)
        raise BadSamples(f"{path}: no row of an answer has a number in {names}.")
    gaps = _samples(map(_gap, rows))
    loads = _samples(_seconds(row, "load_ms") or None for row in rows)
    profile = LatencyProfile(
        description=f"{len(rows)} measured answers",
        sources=(str(path),),
        first_token=first_tokens,
        output_tokens=_samples(_first(row, _OUTPUT) for row in rows),
    )
    if gaps is not None:
        profile = msgspec.structs.replace(profile, token_gap=gaps)
    return profile if loads is None else msgspec.structs.replace(profile, load=loads)


def _rows(path: Path) -> list[Row]:
    text = path.read_text()
    if text.lstrip()[:1] == "[":
        return [*msgspec.json.decode(text, type=list[dict[str, Any]])]
    if text.lstrip()[:1] == "{":
        decoder = msgspec.json.Decoder(dict[str, Any])
        return [decoder.decode(line) for line in text.splitlines() if line.strip()]
    return [cast("Row", row) for row in csv.DictReader(text.splitlines())]


def _is_good(row: Row) -> bool:
    status = _number(row, "status")
    return status is None or status < _FAILED


def _samples(values: Iterable[float | None]) -> Distribution | None:
    found = tuple(value for value in values if value is not None)
    return Empirical(samples=found) if found else None


def _first_token(row: Row) -> float | None:
    """Seconds in the engine: the time in a queue before it comes anew from the simulator's own."""
    value = _first(row, _FIRST_TOKEN)
    if value is None:
        return None
    return max(value - (_number(row, "queue_ms") or 0.0), 0.0) / 1000


def _gap(row: Row) -> float | None:
    value = _first(row, _GAP)
    if value is not None:
        return value / 1000
    speed = _first(row, _SPEED)
    if speed:
        return min(1.0 / speed, _MOST_GAP_SECONDS)
    total, first, tokens = (
        _number(row, "total_ms"),
        _first(row, _FIRST_TOKEN),
        _first(row, _OUTPUT),
    )
    if total is None or first is None or tokens is None or tokens < 2:
        return None
    return max(total - first, 0.0) / 1000 / (tokens - 1)


def _seconds(row: Row, name: str) -> float | None:
    value = _number(row, name)
    return None if value is None else value / 1000


def _first(row: Row, names: Iterable[str]) -> float | None:
    return next((value for name in names if (value := _number(row, name)) is not None), None)


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
