"""Swaps for tests, and ledgers that hold them."""

from __future__ import annotations

from typing import Any

from gglib_core.swaps import Requester, Swap, SwapCause, SwapOutcome, Victim, VictimReason


def swap_id(number: int) -> str:
    """Ids of the shape that ours have, in the order of the numbers."""
    return f"swap-{number:022x}"


def a_swap(number: int = 1, **changes: Any) -> Swap:
    """One that went well; `number` gives it its id, and its time."""
    values: dict[str, Any] = {
        "id": swap_id(number),
        "created": 1000.0 + number,
        "model_id": 1,
        "model": "alpha",
        "launch_id": f"launch-{number}",
        "launch_key": "key-of-alpha",
        "context": 4096,
        "outcome": SwapOutcome.READY,
    }
    return Swap(**(values | changes))


FULL = a_swap(
    7,
    requester=Requester(cause=SwapCause.REQUEST, request_id="req-1", key_name="team"),
    victim=Victim(
        model_id=2, name="beta", reason=VictimReason.TURN_OVER, spared=("gamma", "the third")
    ),
    outcome=SwapOutcome.FAILED,
    failure="out_of_memory",
    detail="the engine exited with code 1",
    queue_seconds=1.5,
    drain_seconds=0.25,
    stop_seconds=0.125,
    memory_seconds=0.0625,
    spawn_seconds=0.5,
    load_seconds=12.0,
    first_byte_seconds=0.75,
    served=3,
    avoided=2,
    memory_bytes=5_000_000_000,
    gpu_memory_bytes=7_000_000_000,
    ended=1234.5,
)
"""Every field says something."""
