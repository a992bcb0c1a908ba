"""Who may use which model, and which model must go for it: the decisions, and nothing else.

`AdmissionQueue` is pure: it takes events (requested, cancelled, released, ready, failed, exited,
tick) with the time at which they happened, and returns the actions that its owner must carry out
(grant, reject, launch, stop). It reads no clock, awaits nothing and starts nothing.

What it promises:

- A model that is leased is never stopped. One that starts, stops or is being unloaded is never
  leased.
- At most `max_resident` models hold a place, counting those that start or stop, and no model holds
  two.
- Requests for one model are served together, in a *turn*. A turn may be ended by a rival once the
  model idles or has run for a quantum, but not before it has served somebody; from then on its new
  requests wait behind the rival.
- An idle model goes for a rival at once, or after `linger_seconds` if its clients have been coming
  back that fast.
- Every request ends: granted, rejected, or cancelled by its owner. With one place, a request waits
  at most for quantum + longest running answer + stop + load of each model that is ahead of it.
- A request that was cancelled forces nothing any more; a load that nobody wants is aborted if a
  rival waits, and ends as it began if none does.
- A pinned model goes for no rival. Who could only have the place of a pinned one is told at once.
- A failed load ends those that waited for it, and is remembered for a time that doubles; a crash is
  free the first time. Whoever changes the model in the catalog starts afresh.
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
