"""A server that everything has happened to: meters with a value for every metric."""

from __future__ import annotations

from collections.abc import Mapping

from gglib_core.engine_counters import COUNTERS, GAUGES, EngineReading
from gglib_core.swaps import Requester, Swap, SwapCause, SwapOutcome, Victim, VictimReason
from gglib_proxy.loop_lag import BOUNDS
from gglib_proxy.meters import Load, Memory, Meters
from gglib_proxy.tally import Histogram
from tests.generations import generation

SWAP = Swap(
    id="swap-1",
    created=1_700_000_000.0,
    model_id=1,
    model="chat",
    launch_id="launch-1",
    launch_key="key",
    context=4096,
    requester=Requester(cause=SwapCause.REQUEST),
    victim=Victim(model_id=2, name="other", reason=VictimReason.TURN_OVER),
    outcome=SwapOutcome.READY,
    queue_seconds=0.01,
    drain_seconds=0.02,
    stop_seconds=0.03,
    memory_seconds=0.04,
    spawn_seconds=0.05,
    load_seconds=6.0,
)
LOAD = Load(
    active_requests=3,
    max_concurrent_requests=100,
    connections=7,
    max_connections=200,
    buffered_bytes=1000,
    max_buffered_bytes=2000,
    upstream_connections=5,
    idle_upstream_connections=2,
    is_draining=False,
    is_paused=False,
)


class FakeEngineCounters:
    """Fills `EngineCounters` with one engine that has counted everything."""

    async def read(self) -> Mapping[str, EngineReading]:
        return {
            "chat": EngineReading(
                totals=dict.fromkeys(COUNTERS, 12.0), gauges=dict.fromkeys(GAUGES, 1.0)
            )
        }


def busy_meters() -> Meters:
    """With a value for every metric."""
    meters = Meters(
        loop_lag=Histogram(BOUNDS),
        load=lambda: LOAD,
        queued_generations=lambda: 4,
        memory=lambda: Memory(total_bytes=1 << 30, available_bytes=1 << 29),
        engines=FakeEngineCounters(),
    )
    tally = meters.tally
    tally.request_ended("POST", "/v1/chat/completions", 200, 0.02)
    tally.request_ended("POST", "/v1/chat/completions", 503, 7.0)
    tally.generation_ended(
        generation(
            queue_ms=1200.0,
            load_ms=1100.0,
            first_token_ms=1250.0,
            total_ms=3000.0,
            prompt_tokens=100,
            cached_tokens=40,
            completion_tokens=20,
            tokens_per_second=35.0,
            completion_cost=0.25,
            is_estimated=True,
        )
    )
    tally.generation_ended(generation(error="client_left", completion_tokens=3))
    tally.rate_limited("requests_per_minute")
    tally.auth_failed("invalid_api_key")
    meters.swaps.record(SWAP)
    return meters
