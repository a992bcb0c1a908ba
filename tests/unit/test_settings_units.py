"""Sizes and durations are read as people mean them, and shown so that they read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gglib_runtime.settings.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("64MiB", 64 * 1024**2),
        ("64 mib", 64 * 1024**2),
        ("1.5GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("10B", 10),
        (" 2 TiB ", 2 * 1024**4),
    ],
)
def test_a_size_has_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1,5GB", "64M", "1e9", "٣MiB", "1 2", "0x10"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1.5", 1.5),
        ("250ms", 0.25),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1h 30m 5s", 5405.0),
        ("2D", 172800.0),
    ],
)
def test_a_duration_has_numbers_and_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5", "5 minutes", "1h30", "nan", "inf", "1e3", "5m,1s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=2**60))
def test_a_shown_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.floats(min_value=0, max_value=2_592_000, allow_subnormal=False))
def test_a_shown_duration_reads_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_values_are_shown_in_the_largest_unit_that_fits() -> None:
    assert format_size(64 * 1024**2) == "64MiB"
    assert format_size(1500) == "1500"
    assert format_duration(300) == "5m"
    assert format_duration(75.0) == "75s"
    assert format_duration(0.25) == "0.25s"
    assert format_duration(0.0) == "0"
