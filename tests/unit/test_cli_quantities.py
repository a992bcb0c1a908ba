"""Numbers are rounded so that people can read them."""

from __future__ import annotations

import pytest

from gglib_runtime.cli.quantities import elapsed, rounded_count, rounded_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, None),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (686_624, "671 KiB"),
        (4_920_000_000, "4.6 GiB"),
        (2**40 * 12, "12.0 TiB"),
    ],
)
def test_sizes(size: int | None, text: str | None) -> None:
    assert rounded_size(size) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, None), (7, "7"), (166_848, "167K"), (8_030_000_000, "8.03B")]
)
def test_counts(count: int | None, text: str | None) -> None:
    assert rounded_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.9, "59s"), (192, "3m12s"), (3600, "1h00m"), (90_000, "1d01h")],
)
def test_elapsed_time(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text
