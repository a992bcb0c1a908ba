"""Random durations and lengths: what they may be distributed like, and drawing from that.

A distribution is data, as in TOML: `{kind = "log-normal", median = 0.4, p95 = 1.0}`.
Draws are never negative, and the same generator gives the same draws. Not here: what is drawn.
"""

from __future__ import annotations

import math
from random import Random
from typing import Annotated

import msgspec
from msgspec import Meta

_Z95 = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""

Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]


class _Drawn(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True
):
    """What all have in common as data."""


class Constant(_Drawn, frozen=True, tag="constant"):
    """Always the same."""

    value: NotNegative

    def draw(self, random: Random) -> float:
        return self.value


class Normal(_Drawn, frozen=True, tag="normal"):
    """The bell curve; what would be negative is 0."""

    mean: NotNegative
    deviation: NotNegative

    def draw(self, random: Random) -> float:
        return max(random.gauss(self.mean, self.deviation), 0.0)


class LogNormal(_Drawn, frozen=True, tag="log-normal"):
    """What is often so, with a long tail: most latencies of servers are like this."""

    median: Positive
    p95: Positive
    """19 of 20 draws are lower; has to be above the median."""

    def __post_init__(self) -> None:
        if self.p95 < self.median:
            raise ValueError(f"`p95` ({self.p95:g}) is below `median` ({self.median:g})")

    def draw(self, random: Random) -> float:
        sigma = math.log(self.p95 / self.median) / _Z95
        return self.median * math.exp(sigma * random.gauss(0.0, 1.0))


class Exponential(_Drawn, frozen=True, tag="exponential"):
    """As between events that come independently of each other."""

    mean: Positive

    def draw(self, random: Random) -> float:
        return random.expovariate(1.0 / self.mean)


class Bimodal(_Drawn, frozen=True, tag="bimodal"):
    """Two humps: a cache that is hit or missed, an engine that is warm or cold."""

    first: Simple
    second: Simple
    second_share: Share
    """How many draws come from the second one."""

    def draw(self, random: Random) -> float:
        chosen = self.second if random.random() < self.second_share else self.first
        return chosen.draw(random)


class Empirical(_Drawn, frozen=True, tag="empirical"):
    """Like the samples, with straight lines between them."""

    samples: Annotated[tuple[NotNegative, ...], Meta(min_length=1)]
    """In any order."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "samples", tuple(sorted(self.samples)))

    def draw(self, random: Random) -> float:
        at = random.random() * (len(self.samples) - 1)
        low = int(at)
        high = min(low + 1, len(self.samples) - 1)
        return self.samples[low] + (self.samples[high] - self.samples[low]) * (at - low)


Simple = Constant | Normal | LogNormal | Exponential
Distribution = Constant | Normal | LogNormal | Exponential | Bimodal | Empirical
"""Everything that has `draw(random)`."""
