"""Who may use which model, and which model must go for it: the decisions, and nothing else.

`AdmissionQueue` is pure: it takes events (requested, cancelled, released, ready, failed, exited,
tick) with the time at which they happened, and returns the actions that its owner must carry out
(grant, reject, launch, stop). It reads no clock, awaits nothing and starts nothing.

What it promises:

- A model that is leased is never stopped; a model that is stopping is never leased.
- At most `max_resident` models hold a place, counting those that start or stop.
- Requests for one model are served together, in a *turn*. A turn may be ended by a rival once the
  model idles or has run for a quantum; from then on its new requests wait behind the rival.
- Every request ends: granted, rejected, or cancelled by its owner. With one place, a request waits
  at most for quantum + longest running answer + stop + load of each model that is ahead of it.
- A request that was cancelled forces nothing any more.
"""

from gglib_core.admission.queue import AdmissionQueue
from gglib_core.admission.values import (
    Action,
    AdmissionPolicy,
    Failure,
    Grant,
    Launch,
    Reject,
    Resident,
    ResidentState,
    Stop,
    StopReason,
    Ticket,
)

__all__ = [
    "Action",
    "AdmissionPolicy",
    "AdmissionQueue",
    "Failure",
    "Grant",
    "Launch",
    "Reject",
    "Resident",
    "ResidentState",
    "Stop",
    "StopReason",
    "Ticket",
]
