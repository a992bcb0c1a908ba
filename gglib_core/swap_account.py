"""The account of one launch while it lives; each step that is worth it goes into the ledger.

Not here: what is measured, and by whom.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TypedDict, Unpack

from gglib_core.admission import Resident
from gglib_core.errors import LaunchFailed
from gglib_core.swaps import (
    Requester,
    Swap,
    SwapLedger,
    SwapOutcome,
    VictimReason,
    launch_key,
    new_swap_id,
)


class SwapFacts(TypedDict, total=False):
    """What becomes known of a launch; as the fields of `Swap`."""

    queue_seconds: float | None
    drain_seconds: float | None
    stop_seconds: float | None
    memory_seconds: float | None
    spawn_seconds: float | None
    load_seconds: float | None
    first_byte_seconds: float | None
    memory_bytes: int | None
    gpu_memory_bytes: int | None


class SwapAccount:
    """One launch's; made when it is decided upon, closed by `ended`."""

    def __init__(
        self,
        ledger: SwapLedger,
        resident: Resident,
        launch_id: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._resident = resident
        self._clock = clock
        self._is_settled = False
        created = clock()
        self._swap = Swap(
            id=new_swap_id(created),
            created=created,
            model_id=resident.model.id,
            model=resident.model.name,
            launch_id=launch_id,
            launch_key=launch_key(resident.model),
            context=resident.context,
            requester=resident.requester or Requester(),
            victim=resident.victim,
            outcome=SwapOutcome.ABORTED,
        )

    def __repr__(self) -> str:
        return f"<SwapAccount {self._swap.id} {self._swap.model}>"

    @property
    def swap_id(self) -> str:
        return self._swap.id

    @property
    def swap(self) -> Swap:
        """As it stands; its outcome means nothing before it was settled."""
        return self._swap

    def made_room(self, other: Resident) -> None:
        """`other` is unloaded, for there was not enough memory beside it."""
        if self._swap.victim is None:
            victim = dataclasses.replace(other.as_victim(), reason=VictimReason.MEMORY)
            self._swap = dataclasses.replace(self._swap, victim=victim)

    def note(self, **facts: Unpack[SwapFacts]) -> None:
        """Something has become known; recorded at once if the outcome is."""
        self._swap = dataclasses.replace(self._swap, **facts)
        if self._is_settled:
            self._ledger.record(self._swap)

    def ready(self, **facts: Unpack[SwapFacts]) -> None:
        """The model takes requests."""
        self._settle(SwapOutcome.READY, None)
        self.note(**facts)

    def ended(self, error: LaunchFailed | None, *, is_shutdown: bool = False) -> None:
        """The process is gone, if there was one: as ordered, or (with `error`) of itself."""
        if not self._is_settled:
            self._settle(*_outcome(self._resident, error, is_shutdown=is_shutdown))
        self._swap = dataclasses.replace(
            self._swap,
            served=self._resident.served,
            avoided=self._resident.avoided,
            detail=self._swap.detail if error is None else error.detail,
            failure=self._swap.failure if error is None else str(error.failure),
            ended=self._clock(),
        )
        self._ledger.record(self._swap)

    def _settle(self, outcome: SwapOutcome, detail: str | None) -> None:
        self._is_settled = True
        self._swap = dataclasses.replace(self._swap, outcome=outcome, detail=detail)


def _outcome(
    resident: Resident, error: LaunchFailed | None, *, is_shutdown: bool
) -> tuple[SwapOutcome, str | None]:
    if is_shutdown:
        return SwapOutcome.ABORTED, "gglib ended"
    if error is not None:
        return SwapOutcome.FAILED, error.detail
    reason = resident.lost_place_by
    if reason is VictimReason.UNWANTED:
        return SwapOutcome.ABORTED, "nobody waited for it any more"
    return SwapOutcome.WITHDRAWN, _WITHDRAWN.get(reason, "it was stopped")


_WITHDRAWN = {
    VictimReason.UNLOAD: "it was unloaded",
    VictimReason.REMOVED: "it was removed from the catalog",
}
