"""The ledger of swaps: who caused each launch of a model, who gave way and why, and its price.

Not here: how swaps are stored, and the decisions that they tell of (`gglib_core.admission`).
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gglib_core.launch_costs import LaunchCost
from gglib_core.models import NewModel

MAX_PAGE = 1000
"""Swaps that are read at once."""
_KEY_LENGTH = 24


class SwapCause(StrEnum):
    """What a model was launched for."""

    REQUEST = "request"
    LOAD = "load"
    """Somebody asked for the model to be loaded, and for no answer."""
    PRELOAD = "preload"


class SwapOutcome(StrEnum):
    """How a launch went."""

    READY = "ready"
    FAILED = "failed"
    ABORTED = "aborted"
    """Nobody wanted it any more while others waited for its place, or gglib ended."""
    WITHDRAWN = "withdrawn"
    """It was unloaded, or its model removed from the catalog, before it was ready."""


class VictimReason(StrEnum):
    """Why a model that had a place lost it."""

    TURN_OVER = "turn_over"
    """Its quantum was over, and another model was waited for."""
    IDLE = "idle"
    """Nobody used it, and another model was waited for."""
    IDLE_TIMEOUT = "idle_timeout"
    """Nobody had used it for as long as it may idle."""
    LARGER_CONTEXT = "larger_context"
    """It is the same model, which was needed with a larger context."""
    UNLOAD = "unload"
    """Somebody unloaded it."""
    REMOVED = "removed"
    """It is not in the catalog any more."""
    MEMORY = "memory"
    """The load of another ran out of memory."""
    UNWANTED = "unwanted"
    """It was loading, and nobody waited for it any more."""
    CRASHED = "crashed"
    """Its process ended by itself, or was wedged."""
    FAILED = "failed"
    """It could not be loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asks for a model; for the ledger, never for deciding."""

    cause: SwapCause = SwapCause.REQUEST
    request_id: str | None = None
    key_name: str | None = None
    """The name of the API key, or its mask; never the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A model that lost its place."""

    model_id: int
    name: str
    reason: VictimReason
    spared: tuple[str, ...] = ()
    """The models that could not be chosen in its stead, for they are pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One launch of a model, from the decision on; durations are None where it never got there."""

    id: str
    """As `new_swap_id` makes it."""
    created: float
    """Unix seconds at which the launch was decided upon."""
    model_id: int
    model: str
    launch_id: str
    launch_key: str
    """Equal for launches that should cost the same; see `launch_key`."""
    context: int
    """Tokens per request that the launch asked for."""
    requester: Requester = Requester()
    """Who had waited longest for the model then."""
    victim: Victim | None = None
    """Who had the place before; None where it was free."""
    outcome: SwapOutcome
    failure: str | None = None
    """The class of the failure, for example `out_of_memory`."""
    detail: str | None = None
    """What is to be said of the outcome, in one line."""
    queue_seconds: float | None = None
    """From the first request until a place was decided upon, without `drain_seconds`: turns."""
    drain_seconds: float | None = None
    """While the victim took no more requests: answers that had to end."""
    stop_seconds: float | None = None
    """From TERM of the victim until its process was gone."""
    memory_seconds: float | None = None
    """Waiting for other loads to end, and for the victim's memory."""
    spawn_seconds: float | None = None
    """Until the process ran."""
    load_seconds: float | None = None
    """From there until the engine was proved ready."""
    first_byte_seconds: float | None = None
    """From the launch's first request, as it was sent, until its answer began."""
    served: int = 0
    """Requests that the launch served; 0 while it runs."""
    avoided: int = 0
    """How many of them would have been a swap each, had all requests been served strictly in the
    order of their arrival, the model that was asked for longest ago giving way; 0 while it runs.
    The launch's first request is not counted: it is the swap."""
    memory_bytes: int | None = None
    """What the process held when it was ready."""
    gpu_memory_bytes: int | None = None
    """The same on graphics cards, where that can be told."""
    ended: float | None = None
    """Unix seconds at which the process was gone; None while it runs."""

    @property
    def cost(self) -> LaunchCost | None:
        """What it teaches about the next launch of its kind; None for one that failed."""
        if self.outcome is not SwapOutcome.READY or self.load_seconds is None:
            return None
        return LaunchCost(
            launch_key=self.launch_key,
            context=self.context,
            load_seconds=(self.spawn_seconds or 0.0) + self.load_seconds,
            memory_bytes=self.memory_bytes,
            gpu_memory_bytes=self.gpu_memory_bytes,
        )


class SwapLedger(Protocol):
    """Where swaps are written down."""

    def record(self, swap: Swap) -> None:
        """Keep the swap; it takes the place of what was recorded under its id before.

        Never blocks, waits or fails. Every launch is recorded when its outcome is known, when its
        first answer has begun, and when it has ended: it is one swap all the while.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapPage:
    """Swaps, the newest first."""

    swaps: Sequence[Swap]
    next_cursor: str | None
    """What to ask with (`before`) for the next page; None on the last one."""


class SwapHistory(Protocol):
    """The swaps that were recorded, those on their way into a store included."""

    async def page(
        self, *, limit: int, before: str | None = None, model: str | None = None
    ) -> SwapPage:
        """The newest swaps that are older than the one of id `before`, of the model of that name.

        At least one and at most `MAX_PAGE` of them, whatever `limit` says. An id that is not
        there, or no more, is as good as any other. Raises DatabaseError.
        """
        ...

    async def find(self, swap_id: str) -> Swap | None:
        """The swap of that id. Raises DatabaseError."""
        ...


class InMemorySwapLedger:
    """Fills `SwapLedger` and `SwapHistory`; keeps the newest `limit` swaps."""

    def __init__(self, *, limit: int = MAX_PAGE) -> None:
        self._limit = limit
        self._swaps: dict[str, Swap] = {}

    def __repr__(self) -> str:
        return f"<InMemorySwapLedger swaps={len(self._swaps)}>"

    def record(self, swap: Swap) -> None:
        self._swaps[swap.id] = swap
        if len(self._swaps) > self._limit:
            del self._swaps[min(self._swaps)]

    @property
    def swaps(self) -> Sequence[Swap]:
        """All that are kept, the oldest first."""
        return [self._swaps[key] for key in sorted(self._swaps)]

    async def page(
        self, *, limit: int, before: str | None = None, model: str | None = None
    ) -> SwapPage:
        found = [
            swap
            for swap in reversed(self.swaps)
            if (before is None or swap.id < before) and (model is None or swap.model == model)
        ]
        return page_of(found, limit)

    async def find(self, swap_id: str) -> Swap | None:
        return self._swaps.get(swap_id)


def page_of(found: Sequence[Swap], limit: int) -> SwapPage:
    """The first page of what was found; more than the limit means that there is another."""
    swaps = found[: bounded(limit)]
    return SwapPage(swaps=swaps, next_cursor=swaps[-1].id if len(found) > len(swaps) else None)


def bounded(limit: int) -> int:
    """How many swaps a page has at most."""
    return max(1, min(limit, MAX_PAGE))


def new_swap_id(created: float) -> str:
    """An id that no other swap has; the order of ids is that of their swaps."""
    # In microseconds: a launch after another, at once, must not come before it.
    return f"swap-{int(created * 1e6):014x}{secrets.token_hex(4)}"


@functools.lru_cache(maxsize=256)
def launch_key(model: NewModel) -> str:
    """Tells launches apart that cost differently: by the file, and by how it is launched.

    Survives restarts and renamings. The context is not part of it.
    """
    parts = (
        model.paths,
        model.size_bytes,
        sorted(model.capabilities),
        model.engine,
        model.parallel,
        model.threads,
        model.gpu_layers,
        model.arguments,
        model.environment,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:_KEY_LENGTH]
