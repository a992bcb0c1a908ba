"""What goes into the admission queue and what comes out of it.

Not here: any decision. `Resident` and `Ticket` are written by the queue alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from enum import StrEnum

from gglib_core.errors import GglibError, LaunchFailed
from gglib_core.models import Model
from gglib_core.swaps import Requester, Victim, VictimReason

_UNLIMITED = 1 << 60


@dataclass(slots=True, kw_only=True)
class AdmissionPolicy:
    """The limits and durations of admission; a queue has a copy, which all its parts go by."""

    max_resident: int = 1
    """Models that may hold a place at the same time."""
    quantum_seconds: float = 10.0
    """How long a model may keep its place against a rival while it has work."""
    linger_seconds: float = 0.025
    """How long an idle model keeps its place for a client that has been coming back that fast."""
    queue_limit: int = 1024
    """Requests that may wait, for all models together."""
    queue_seconds: float = 300.0
    """How long a request may wait; 0 is without end."""
    idle_seconds: float = 0.0
    """When to unload a model that nobody uses and that sets no time of its own; 0 is never."""
    backoff_seconds: float = 5.0
    """How long a failed launch is remembered; doubled with each further failure."""
    backoff_limit_seconds: float = 60.0
    """The longest time for which a failed launch is remembered."""
    assumed_load_seconds: float = 10.0
    """What a load is taken to last until one has been seen."""

    def adopt(self, other: AdmissionPolicy) -> None:
        """Be as `other` is."""
        for each in fields(self):
            setattr(self, each.name, getattr(other, each.name))


class ResidentState(StrEnum):
    """What a place's process is doing, as far as admission cares."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class StopReason(StrEnum):
    """Why a model is stopped."""

    SWAP = "swap"
    RELAUNCH = "relaunch"
    IDLE = "idle"
    UNLOAD = "unload"
    ABORT = "abort"


@dataclass(slots=True, eq=False)
class Resident:
    """A model that holds a place. Written by the queue alone."""

    model: Model
    context: int
    launched: float
    state: ResidentState = ResidentState.STARTING
    leases: int = 0
    served: int = 0
    """Leases given so far, visits aside; see `AdmissionQueue.request`."""
    visited_after: int = -1
    """What `served` was when a visitor last came to an idle model."""
    avoided: int = 0
    """How many of them would have been a swap each in the order of arrival; see `ArrivalOrder`."""
    is_unloading: bool = False
    lost_place_by: VictimReason = VictimReason.IDLE
    """Why it is unloaded, is being stopped, or has ended."""
    spared: tuple[str, ...] = ()
    """The models that could not go in its stead, for they are pinned."""
    victim: Victim | None = None
    """Who had the place before it; None where it was free."""
    requester: Requester | None = None
    """Who had waited longest for it when it was launched."""
    changed: float = 0.0
    """When `state` last changed; a turn begins when the state becomes ready."""
    idle_since: float = -math.inf
    """When the last lease was released, or the model became ready; visits do not count."""
    loaded_at: float = math.inf
    """When the model became ready."""
    ready_number: int = 0
    """Requests of a smaller number waited for the process to become ready."""
    launched_as: Model = field(init=False)
    """What the process was started with; `model` follows the catalog."""

    def __post_init__(self) -> None:
        self.launched_as = self.model

    @property
    def lease_limit(self) -> int:
        return self.model.max_concurrent or _UNLIMITED

    @property
    def is_leaving(self) -> bool:
        """Whether no request will be sent here any more."""
        return self.is_unloading or self.state is ResidentState.STOPPING

    def serves(self, context: int) -> bool:
        """Whether requests that need `context` tokens can be, or will soon be, sent here."""
        return context <= self.context and not self.is_leaving

    def as_victim(self) -> Victim:
        """What is told of it to who gets its place."""
        return Victim(
            model_id=self.model.id,
            name=self.model.name,
            reason=self.lost_place_by,
            spared=self.spared,
        )


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that waits, or waited."""

    number: int
    model: Model
    context: int
    arrived: float
    handle: object = None
    """Whatever the owner wants to find again in `Grant` and `Reject`."""
    requester: Requester | None = None
    is_swap: bool = False
    """Whether it would be a swap in the order of arrival; see `ArrivalOrder`."""
    is_waiting: bool = True
    granted: Resident | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """The request may go to the resident, and holds a lease on it."""

    ticket: Ticket
    resident: Resident


@dataclass(frozen=True, slots=True)
class Reject:
    """The request ends here."""

    ticket: Ticket
    error: GglibError


@dataclass(frozen=True, slots=True)
class Launch:
    """Start the resident's process; answer with `ready`, `failed` or `exited`."""

    resident: Resident


@dataclass(frozen=True, slots=True)
class Stop:
    """End the resident's process, which nobody uses; answer with `exited`."""

    resident: Resident
    reason: StopReason


Action = Grant | Reject | Launch | Stop


@dataclass(slots=True)
class Failure:
    """A launch that failed, or a process that died; remembered per model."""

    model: Model
    error: LaunchFailed
    count: int
    until: float
