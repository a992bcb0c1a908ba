"""How a request comes in: at once, into a line, or not at all.

Not here: what happens in the lines.
"""

from __future__ import annotations

from gglib_core.admission.scheduler import Scheduler
from gglib_core.admission.values import Action, Resident, ResidentState, Ticket
from gglib_core.errors import GglibError, ModelNotLoaded, QueueFull


class EntryRules:
    """The rules of one queue."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def visit(self, ticket: Ticket, resident: Resident | None, now: float) -> Action:
        """Grant or reject a request that may not load a model."""
        if (
            resident is None
            or resident.state is not ResidentState.READY
            or resident.is_unloading
            or self._scheduler.places.is_held_back(resident, now)
        ):
            return self._scheduler.reject(ticket, ModelNotLoaded(ticket.model.name))
        if not resident.leases:
            resident.visited_after = resident.served
        return self._scheduler.grant(ticket, resident, is_visit=True)

    def ends_an_idle_time(self, ticket: Ticket, resident: Resident | None) -> bool:
        """Whether it is the first to come back to its model, and to the process as it is."""
        if self._scheduler.waiting.line(ticket.model.id) is not None:
            return False
        return resident is None or (not resident.leases and ticket.context <= resident.context)

    def is_free(self, resident: Resident, context: int, now: float) -> bool:
        """Whether the request need not wait: not for the model, a rival, or one before it."""
        return (
            resident.state is ResidentState.READY
            and resident.serves(context)
            and resident.leases < resident.lease_limit
            and not self._scheduler.turns.is_wanted(resident)
            and not self._scheduler.places.is_held_back(resident, now)
        )

    def refusal(self, ticket: Ticket, now: float) -> GglibError | None:
        """Why the request may not even wait, if it may not."""
        if failure := self._scheduler.failures.current(ticket.model.id, now):
            return failure
        limit = self._scheduler.policy.queue_limit
        if self._scheduler.waiting.count >= limit:
            wait_seconds = self._scheduler.estimate.seconds(ticket.model, now)
            return QueueFull(limit, wait_seconds)
        return None
