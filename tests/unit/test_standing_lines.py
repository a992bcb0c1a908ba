"""What is left of limits, in the headers that OpenAI's clients read."""

from __future__ import annotations

import pytest

from gglib_core.rate_limiting import Standing
from gglib_proxy.books import standing_lines


def reset_after(seconds: float) -> str:
    standing = Standing(limit_requests=9, remaining_requests=1, reset_requests_seconds=seconds)
    lines = standing_lines(standing).decode().splitlines()
    return dict(line.split(": ") for line in lines)["x-ratelimit-reset-requests"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0ms"),
        (0.0204, "20ms"),
        (0.9996, "1s"),
        (1.5, "1.5s"),
        (59.9994, "59.999s"),
        (59.9996, "1m0s"),
        (119.7, "2m0s"),
        (360, "6m0s"),
        (659.4, "10m59s"),
    ],
)
def test_no_time_has_sixty_seconds_beside_its_minutes(seconds: float, shown: str) -> None:
    assert reset_after(seconds) == shown


def test_only_limits_that_there_are_have_headers() -> None:
    assert standing_lines(Standing()) == b""
    tokens = standing_lines(Standing(limit_tokens=5, remaining_tokens=0, reset_tokens_seconds=2.0))
    assert tokens == (
        b"x-ratelimit-limit-tokens: 5\r\nx-ratelimit-remaining-tokens: 0\r\n"
        b"x-ratelimit-reset-tokens: 2s\r\n"
    )
