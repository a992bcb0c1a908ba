"""The pace of one answer: when its first token comes, and how long each next one takes.

Pure: the caller has the clock, and says how many requests run. Draws depend on the seed and the
request alone, so that a run can be repeated.
"""

from __future__ import annotations

from random import Random
from typing import Protocol

from gglib_runtime.simulator.latency.profile import LatencyProfile


class Pace(Protocol):
    """How fast one answer comes; asked once for the first token, then once for each gap."""

    def first_token_seconds(self, running: int) -> float:
        """From the answer's start; `running` requests are in their slots, this one included."""
        ...

    def gap_seconds(self, running: int, sent: int) -> float:
        """Until the next token, when `sent` have been."""
        ...


class FixedPace:
    """Always the same; fills `Pace`."""

    __slots__ = ("_first_token_seconds", "_token_seconds")

    def __init__(self, first_token_seconds: float, token_seconds: float) -> None:
        self._first_token_seconds = first_token_seconds
        self._token_seconds = token_seconds

    def first_token_seconds(self, running: int) -> float:
        return self._first_token_seconds

    def gap_seconds(self, running: int, sent: int) -> float:
        return self._token_seconds


class ProfilePace:
    """As a profile says; fills `Pace`."""

    __slots__ = ("_profile", "_prompt_tokens", "_random", "_slowdown")

    def __init__(
        self, profile: LatencyProfile, random: Random, prompt_tokens: int, *, slowdown: float = 1.0
    ) -> None:
        """`slowdown` multiplies everything."""
        self._profile = profile
        self._random = random
        self._prompt_tokens = prompt_tokens
        self._slowdown = slowdown

    def first_token_seconds(self, running: int) -> float:
        profile = self._profile
        seconds = profile.first_token.draw(self._random)
        if profile.prefill_tokens_per_second is not None:
            alone = self._prompt_tokens / profile.prefill_tokens_per_second
            seconds += alone * self._load(running)
        return seconds * self._slowdown

    def gap_seconds(self, running: int, sent: int) -> float:
        context = (self._prompt_tokens + sent) / 1000
        growth = self._load(running) * (1.0 + self._profile.context_slowdown * context)
        return self._profile.token_gap.draw(self._random) * growth * self._slowdown

    def _load(self, running: int) -> float:
        return 1.0 + self._profile.batch_slowdown * max(running - 1, 0)


def request_random(seed: int, purpose: str, number: int, asked_seed: int | None = None) -> Random:
    """The generator of one request for one purpose: the `number`-th, or any with the same seed."""
    own = number if asked_seed is None else f"asked {asked_seed}"
    return Random(f"{seed}/{purpose}/{own}")  # noqa: S311 -- it imitates, and keeps no secret
