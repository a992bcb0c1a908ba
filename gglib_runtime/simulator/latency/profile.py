"""What is known of one model on one kind of machine: how fast it answers, and what slows it.

Not here: which profiles there are (`profiles.toml`), and the pace of one answer.
"""

from __future__ import annotations

import msgspec

from gglib_runtime.simulator.latency.distributions import (
    Constant,
    Distribution,
    NotNegative,
    Positive,
)

_NOTHING = Constant(value=0.0)


class LatencyProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The latencies of one model; durations in seconds."""

    description: str = ""
    models: tuple[str, ...] = ()
    """Globs of the names that models of this kind have."""
    sources: tuple[str, ...] = ()
    """Where the numbers were published."""
    assumed: str = ""
    """Which numbers no source gives, and how they were chosen."""

    first_token: Distribution = _NOTHING
    """From a request's start in its slot to its first token, without what the prompt takes."""
    prefill_tokens_per_second: Positive | None = None
    """How fast a prompt is read, on top of that; None where its length does not matter."""
    token_gap: Distribution = _NOTHING
    """Between two tokens of an answer that runs alone."""
    output_tokens: Distribution | None = None
    """How long answers are, where `max_tokens` does not end them before; None for a few words."""
    load: Distribution = _NOTHING
    """From start to readiness."""
    slots: int | None = None
    """Requests that run at once, the others wait; None leaves it to the command line."""
    batch_slowdown: NotNegative = 0.0
    """By how much of itself a gap grows for each other request that runs."""
    context_slowdown: NotNegative = 0.0
    """By how much of itself a gap grows for each 1,000 tokens of prompt and answer so far."""


INSTANT = LatencyProfile(description="Everything at once, a few words.")
