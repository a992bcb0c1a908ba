"""Swaps as JSON: the same for the admin API and the command line.

Not here: who may see them.
"""

from __future__ import annotations

from gglib_core.swaps import Swap, SwapPage, Victim

_PARTS = ("queue", "drain", "stop", "memory", "spawn", "load", "first_byte")
"""In the order in which they follow each other."""


def swap_list(page: SwapPage) -> dict[str, object]:
    """A page of swaps."""
    return {
        "object": "list",
        "data": [swap_document(swap) for swap in page.swaps],
        "has_more": page.next_cursor is not None,
        "next_cursor": page.next_cursor,
    }


def swap_document(swap: Swap) -> dict[str, object]:
    """One swap; durations in milliseconds, null for what was not reached."""
    return {
        "id": swap.id,
        "object": "swap",
        "created": swap.created,
        "ended": swap.ended,
        "model": swap.model,
        "model_id": swap.model_id,
        "context": swap.context,
        "launch_id": swap.launch_id,
        "cause": swap.requester.cause,
        "request_id": swap.requester.request_id,
        "key_name": swap.requester.key_name,
        "victim": None if swap.victim is None else _victim(swap.victim),
        "outcome": swap.outcome,
        "failure": swap.failure,
        "detail": swap.detail,
        **{f"{name}_ms": milliseconds for name, milliseconds in parts_of(swap)},
        "served": swap.served,
        "swaps_avoided": swap.avoided,
        "memory_bytes": swap.memory_bytes,
        "gpu_memory_bytes": swap.gpu_memory_bytes,
    }


def parts_of(swap: Swap) -> list[tuple[str, float | None]]:
    """Where the time went, in milliseconds, as far as it is known."""
    parts = ((name, getattr(swap, f"{name}_seconds")) for name in _PARTS)
    return [(name, None if part is None else round(part * 1000, 3)) for name, part in parts]


def _victim(victim: Victim) -> dict[str, object]:
    return {
        "model": victim.name,
        "model_id": victim.model_id,
        "reason": victim.reason,
        "spared": list(victim.spared),
    }
