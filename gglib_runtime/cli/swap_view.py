"""A swap as people read it: one row of a table, or the story of why it happened.

Not here: which swaps are shown.
"""

from __future__ import annotations

from datetime import datetime

from gglib_core.swaps import Requester, Swap, SwapCause, SwapOutcome, Victim, VictimReason
from gglib_proxy.swap_document import parts_of
from gglib_runtime.cli.narrow_tables import Column
from gglib_runtime.cli.output import printable
from gglib_runtime.cli.quantities import elapsed, rounded_size

COLUMNS = (
    Column(title="TIME"),
    Column(title="MODEL", style="bold", is_folded=True),
    Column(title="OUTCOME", is_folded=True),
    Column(title="INSTEAD OF", is_folded=True, rank=1),
    Column(title="BECAUSE", rank=2),
    Column(title="QUEUE", justify="right", rank=5),
    Column(title="DRAIN", justify="right", rank=8),
    Column(title="STOP", justify="right", rank=10),
    Column(title="MEMORY", justify="right", rank=9),
    Column(title="SPAWN", justify="right", rank=11),
    Column(title="LOAD", justify="right", rank=3),
    Column(title="FIRST BYTE", justify="right", rank=4),
    Column(title="SERVED", justify="right", rank=6),
    Column(title="AVOIDED", justify="right", rank=7),
)

_WHY = {
    VictimReason.TURN_OVER: "its turn was over",
    VictimReason.IDLE: "nobody used it",
    VictimReason.IDLE_TIMEOUT: "nobody had used it for as long as it may idle",
    VictimReason.LARGER_CONTEXT: "it was needed with a larger context",
    VictimReason.UNLOAD: "somebody unloaded it",
    VictimReason.REMOVED: "it was removed from the catalog",
    VictimReason.MEMORY: "there was not enough memory for both",
    VictimReason.UNWANTED: "it was loading, and nobody waited for it any more",
    VictimReason.CRASHED: "its process had ended by itself",
    VictimReason.FAILED: "it could not be loaded",
}


def swap_row(swap: Swap) -> tuple[object, ...]:
    """The cells of `COLUMNS`."""
    victim, has_ended = swap.victim, swap.ended is not None
    return (
        _time(swap.created),
        swap.model,
        f"{swap.outcome}: {swap.failure}" if _has_failed(swap) else swap.outcome,
        victim and victim.name,
        victim and victim.reason.replace("_", " "),
        *(_duration(milliseconds) for _, milliseconds in parts_of(swap)),
        swap.served if has_ended else None,
        swap.avoided if has_ended else None,
    )


def swap_story(swap: Swap) -> str:
    """Who caused it, who gave way and why, how it went, and where the time went."""
    lines = [
        f"{_time(swap.created)}  {swap.model} was launched: {_cause(swap.requester)}.",
        f"  {_place(swap.victim)}",
        f"  {_outcome(swap)}",
    ]
    spent = [f"{name.replace('_', ' ')} {_duration(part)}" for name, part in parts_of(swap) if part]
    if spent:
        lines.append(f"  Time: {', '.join(spent)}.")
    if swap.ended is not None and swap.served:
        lines.append(f"  {_served(swap)}")
    return printable("\n".join(lines))


def _cause(requester: Requester) -> str:
    if requester.cause is SwapCause.LOAD:
        return f"{requester.key_name or 'somebody'} asked for it to be loaded"
    if requester.cause is SwapCause.PRELOAD:
        return "it is loaded when the server starts"
    asked = "a request" if requester.request_id is None else f"request {requester.request_id}"
    caller = f" of {requester.key_name}" if requester.key_name else ""
    return f"{asked}{caller} named it"


def _place(victim: Victim | None) -> str:
    if victim is None:
        return "Its place was free."
    why = f"It has the place of {victim.name}: {_WHY[victim.reason]}"
    if not victim.spared:
        return f"{why}."
    verb = "is" if len(victim.spared) == 1 else "are"
    return f"{why}, and {' and '.join(victim.spared)} {verb} pinned."


def _outcome(swap: Swap) -> str:
    if swap.outcome is SwapOutcome.READY:
        held = rounded_size(swap.memory_bytes)
        on_cards = rounded_size(swap.gpu_memory_bytes)
        sizes = [held and f"{held} of memory", on_cards and f"{on_cards} on graphics cards"]
        known = " and ".join(size for size in sizes if size)
        return f"It became ready{', and held ' + known if known else ''}.{_end(swap)}"
    what = {
        SwapOutcome.FAILED: f"It failed ({swap.failure})",
        SwapOutcome.ABORTED: "It was given up",
        SwapOutcome.WITHDRAWN: "It was stopped before it was ready",
    }[swap.outcome]
    return f"{what}: {swap.detail.rstrip('.')}." if swap.detail else f"{what}."


def _end(swap: Swap) -> str:
    if swap.ended is None:
        return ""
    lived = elapsed(max(0.0, swap.ended - swap.created))
    return f" It ended after {lived}{': ' + swap.detail.rstrip('.') if swap.detail else ''}."


def _served(swap: Swap) -> str:
    requests = "1 request" if swap.served == 1 else f"{swap.served} requests"
    if not swap.avoided:
        return f"It served {requests}."
    return f"It served {requests}; without turns, {swap.avoided} of them would be a swap each."


def _has_failed(swap: Swap) -> bool:
    return swap.outcome is SwapOutcome.FAILED and swap.failure is not None


def _time(created: float) -> str:
    return datetime.fromtimestamp(created).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _duration(milliseconds: float | None) -> str | None:
    """Short ones exactly, long ones roughly: what matters is which of them is long."""
    if milliseconds is None:
        return None
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else elapsed(seconds)
