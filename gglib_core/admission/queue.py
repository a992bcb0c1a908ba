"""The admission queue: events in, actions out; see the package for what it promises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Final

from gglib_core.admission.entry import EntryRules
from gglib_core.admission.scheduler import Scheduler
from gglib_core.admission.values import (
    Action,
    AdmissionPolicy,
    Failure,
    Resident,
    ResidentState,
    Ticket,
)
from gglib_core.errors import (
    AdmissionWithdrawn,
    LaunchFailed,
    ShuttingDown,
)
from gglib_core.launch_costs import LaunchCosts
from gglib_core.models import Model
from gglib_core.swaps import Requester, VictimReason

_READY: Final = ResidentState.READY  # before Python 3.12 members are slow to look up


class AdmissionQueue:
    """The pure queue; see the package for what it promises."""

    def __init__(self, policy: AdmissionPolicy, costs: LaunchCosts | None = None) -> None:
        """`costs` are what is known of launches; the queue adds how long its own take."""
        self._policy = replace(policy)
        self._scheduler = scheduler = Scheduler(self._policy, costs or LaunchCosts())
        self._entry = EntryRules(scheduler)
        self._arrivals = scheduler.arrivals
        self._waiting = scheduler.waiting
        self._turns = scheduler.turns
        self._places = scheduler.places
        self._residents = scheduler.places.residents
        self._failures = scheduler.failures
        self._is_closed = False

    def __repr__(self) -> str:
        held = ", ".join(
            f"{resident.model.name}:{resident.state}:{resident.leases}"
            for resident in self._residents.values()
        )
        return f"<AdmissionQueue [{held}] waiting={self._waiting.count}>"

    # What is

    @property
    def deadline(self) -> float:
        """When `tick` must be called at the latest; infinite when no time matters."""
        return self._scheduler.deadline

    @property
    def policy(self) -> AdmissionPolicy:
        return self._policy

    @property
    def residents(self) -> Mapping[int, Resident]:
        """The models that hold a place, by model id."""
        return self._residents

    @property
    def failures(self) -> Mapping[int, Failure]:
        """The remembered failures by model id; those whose time is over are history."""
        return self._failures.known

    @property
    def waiting_count(self) -> int:
        return self._waiting.count

    def waiting_for(self, model_id: int) -> int:
        return len(self._waiting.line(model_id) or ())

    def waiting_models(self) -> set[int]:
        return self._waiting.model_ids

    def expected_wait(self, model: Model, now: float) -> float:
        """A fair guess of the seconds until a request for the model is served."""
        return self._scheduler.estimate.seconds(model, now)

    # Requests

    def lease_now(self, model_id: int, context: int, now: float) -> Resident | None:
        """Lease the model if it is ready and nobody waits for anything; the common case, in O(1).

        None means nothing: call `request`. Not for requests that may not load a model.
        """
        resident = self._residents.get(model_id)
        if (
            resident is None
            or self._waiting.count
            or self._is_closed
            or resident.state is not _READY
            or resident.is_unloading
            or context > resident.context
            or resident.leases >= resident.lease_limit
        ):
            return None
        if not resident.leases:
            self._turns.gaps[model_id] = now - resident.idle_since
        if self._arrivals.latest != model_id:
            resident.avoided += self._arrivals.note(model_id) and resident.served > 0
        resident.leases += 1
        resident.served += 1
        return resident

    def request(
        self,
        model: Model,
        context: int,
        now: float,
        *,
        may_load: bool = True,
        handle: object = None,
        requester: Requester | None = None,
    ) -> tuple[Ticket, list[Action]]:
        """A request has come; the ticket is granted or rejected by these or later actions.

        One that may not load is a visit: it is granted or rejected at once, whatever its context
        and the model's `max_concurrent`, and does not keep the model from being idle afterwards.
        """
        ticket = Ticket(self._scheduler.next_number(), model, context, now, handle, requester)
        resident = self._residents.get(model.id)
        if self._is_closed:
            return ticket, [self._scheduler.reject(ticket, ShuttingDown())]
        if not may_load:
            return ticket, [self._entry.visit(ticket, resident, now)]
        if self._entry.ends_an_idle_time(ticket, resident):
            self._turns.note_return(model.id, resident, now)
        if resident is not None and self._entry.is_free(resident, context, now):
            ticket.is_swap = self._arrivals.note(model.id)
            return ticket, [self._scheduler.grant(ticket, resident)]
        if error := self._entry.refusal(ticket, now):
            return ticket, [self._scheduler.reject(ticket, error)]
        ticket.is_swap = self._arrivals.note(model.id)
        return ticket, self._scheduler.wait(ticket, resident, now)

    def cancel(self, ticket: Ticket, now: float) -> list[Action]:
        """The request's owner has gone. A lease that it was granted meanwhile is released."""
        if ticket.granted is not None:
            resident, ticket.granted = ticket.granted, None
            return self.release(resident, now)
        if not ticket.is_waiting:
            return []
        self._waiting.remove(ticket)
        return self._scheduler.settle(now)

    def release(self, resident: Resident, now: float) -> list[Action]:
        """One lease on the resident ends; also valid after its process has died."""
        assert resident.leases > 0, "a lease is released once"
        resident.leases -= 1
        is_free = not resident.leases
        was_visit = resident.served == resident.visited_after
        if is_free and not was_visit:
            resident.idle_since = now
            self._scheduler.wake_at(self._turns.unloads_at(resident))
        if self._waiting.count or resident.is_unloading or (is_free and was_visit):
            return self._scheduler.settle(now)
        return []

    # Processes

    def begun(self, resident: Resident, now: float) -> None:
        """The resident's load begins only now: the time before is no part of what a load takes."""
        if resident.state is ResidentState.STARTING:
            resident.launched = now

    def ready(self, resident: Resident, now: float) -> list[Action]:
        """The resident's process takes requests."""
        if resident.state is not ResidentState.STARTING or not self._places.holds(resident):
            return []
        self._scheduler.change(resident, ResidentState.READY, now)
        resident.idle_since = resident.loaded_at = now
        resident.ready_number = self._scheduler.next_number()
        self._scheduler.estimate.loaded(resident, now)
        self._turns.begin()
        return self._scheduler.settle(now)

    def failed(self, resident: Resident, error: LaunchFailed, now: float) -> list[Action]:
        """The resident's process did not become ready, and is gone."""
        if not self._places.holds(resident):
            return []
        self._places.drop(resident)
        if resident.state is ResidentState.STOPPING:
            return self._scheduler.settle(now)
        resident.lost_place_by = VictimReason.FAILED
        remembered = self._failures.remember_load(resident, error, now)
        actions = self._scheduler.reject_all(resident.model.id, remembered)
        return actions + self._scheduler.settle(now)

    def died(self, resident: Resident, error: LaunchFailed, now: float) -> list[Action]:
        """The ready resident's process has ended of itself; `exited` follows when it is cleared up.

        Nobody is sent there any more.
        """
        if resident.state is not ResidentState.READY or not self._places.holds(resident):
            return []
        self._note_death(resident, error, now)
        return self._scheduler.settle(now)

    def exited(
        self, resident: Resident, now: float, error: LaunchFailed | None = None
    ) -> list[Action]:
        """The resident's process is gone: as asked by `Stop`, or (with `error`) of itself."""
        if error is not None and resident.state is ResidentState.STARTING:
            return self.failed(resident, error, now)
        if not self._places.holds(resident):
            return []
        if error is not None:
            self._note_death(resident, error, now)
        elif resident.served:
            self._failures.forget(resident.model.id)
        self._places.drop(resident)
        return self._scheduler.settle(now)

    # Orders

    def unload(
        self, model_id: int | None, now: float, why: VictimReason = VictimReason.UNLOAD
    ) -> list[Action]:
        """Stop the model, or all, once nobody holds it; those that wait for it now are rejected."""
        known = self._residents.keys() | self._waiting.model_ids
        actions: list[Action] = []
        for each in known if model_id is None else known & {model_id}:
            actions += self._withdraw(each, why)
        return actions + self._scheduler.settle(now)

    def refreshed(self, models: Iterable[Model], now: float) -> list[Action]:
        """The catalog has changed: `models` are all there are.

        Running models keep running with what they were launched with; pin, idle time and limits
        count at once. Models that are gone are unloaded, changed ones get a new chance to launch.
        """
        known = {model.id: model for model in models}
        for holder in chain(self._residents.values(), self._waiting.lines):
            holder.model = known.get(holder.model.id, holder.model)
        actions: list[Action] = []
        for model_id in (self._residents.keys() | self._waiting.model_ids) - known.keys():
            actions += self._withdraw(model_id, VictimReason.REMOVED)
        self._failures.forget_changed(known)
        return actions + self._scheduler.settle(now)

    def forget_failure(self, model_id: int) -> None:
        """Let the model be launched again at once."""
        self._failures.forget(model_id)

    def configure(self, policy: AdmissionPolicy, now: float) -> list[Action]:
        """Go by this policy from now on. A model that has a place keeps it for its turn."""
        self._policy.adopt(policy)
        return self._scheduler.settle(now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed; needed at `deadline`, harmless at any time."""
        return self._scheduler.settle(now)

    def shift(self, seconds: float) -> None:
        """Time has passed in which nothing could happen: nobody has waited for it."""
        self._waiting.shift(seconds)

    def close(self, now: float) -> list[Action]:
        """Take no more requests; those that wait are rejected, leases go on."""
        self._is_closed = True
        actions: list[Action] = []
        for model_id in self._waiting.model_ids:
            actions += self._scheduler.reject_all(model_id, ShuttingDown())
        return actions + self._scheduler.settle(now)

    # Rules of leaving

    def _note_death(self, resident: Resident, error: LaunchFailed, now: float) -> None:
        if resident.state is not ResidentState.READY:
            return
        self._failures.remember_crash(resident, error, now)
        resident.lost_place_by = VictimReason.CRASHED
        if self._turns.is_over(resident, now):
            self._turns.end(resident, self._scheduler.next_number())
        self._scheduler.change(resident, ResidentState.STOPPING, now)

    def _withdraw(self, model_id: int, why: VictimReason) -> list[Action]:
        resident = self._residents.get(model_id)
        if resident is not None and not resident.is_leaving:
            resident.lost_place_by = why
        if resident is not None:
            resident.is_unloading = True
        line = self._waiting.line(model_id)
        if line is None:
            return []
        return self._scheduler.reject_all(model_id, AdmissionWithdrawn(line.model.name))
