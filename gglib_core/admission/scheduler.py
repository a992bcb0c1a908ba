"""Bringing the queue to rest: the one place where turns end and models come and go.

Not here: the events that unsettle it (queue), and the judgement who goes for whom (places).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gglib_core.admission.arrivals import ArrivalOrder
from gglib_core.admission.estimates import WaitEstimate
from gglib_core.admission.failures import FailureMemory
from gglib_core.admission.places import Claims, Places
from gglib_core.admission.turns import Turns
from gglib_core.admission.values import (
    Action,
    AdmissionPolicy,
    Grant,
    Launch,
    Reject,
    Resident,
    ResidentState,
    Stop,
    StopReason,
    Ticket,
)
from gglib_core.admission.waiting import WaitingLine, WaitingRoom
from gglib_core.errors import EveryModelPinned, GglibError, QueueTimeout
from gglib_core.launch_costs import LaunchCosts


class Scheduler:
    """Owns what the queue knows, and changes it by decisions alone."""

    def __init__(self, policy: AdmissionPolicy, costs: LaunchCosts) -> None:
        self.policy = policy
        self.waiting = WaitingRoom()
        self.turns = Turns(policy, self.waiting)
        self.places = Places(policy, self.waiting, self.turns)
        self.failures = FailureMemory(policy)
        self.arrivals = ArrivalOrder(policy)
        self.estimate = WaitEstimate(policy, self.places, costs)
        self.deadline = math.inf
        self._last_number = 0

    def settle(self, now: float) -> list[Action]:
        """Do all that is to be done now; doing it again would do nothing."""
        actions = [*self._expire(now), *self._refuse_hopeless(now)]
        demands = self.places.demands()
        claims = self.places.claims(demands, now)
        actions += self._grants(claims, now)
        actions += self._stops(claims, now)
        if launches := self._launches(demands, now):
            # A pinned model may have taken the last place that others could hope for.
            actions += [*launches, *self._refuse_hopeless(now)]
        self.places.close_gap()
        self.deadline = self._next_deadline(demands, now)
        return actions

    def wait(self, ticket: Ticket, resident: Resident | None, now: float) -> list[Action]:
        """Put the request into its line."""
        is_first = self.waiting.add(ticket, resident)
        if is_first and not self._will_be_served(ticket, resident):
            return self.settle(now)
        # Whoever stands behind another, or before a load that is under way, changes nothing.
        if self.policy.queue_seconds:
            self.wake_at(ticket.arrived + self.policy.queue_seconds)
        return []

    def wake_at(self, time: float) -> None:
        """Settle by then at the latest."""
        self.deadline = min(self.deadline, time)

    def next_number(self) -> int:
        """One order for requests that come and turns that end."""
        self._last_number += 1
        return self._last_number

    def grant(self, ticket: Ticket, resident: Resident, *, is_visit: bool = False) -> Grant:
        resident.leases += 1
        if not is_visit:
            resident.avoided += ticket.is_swap and resident.served > 0
            resident.served += 1
        ticket.is_waiting = False
        ticket.granted = resident
        return Grant(ticket, resident)

    def reject(self, ticket: Ticket, error: GglibError) -> Reject:
        ticket.is_waiting = False
        return Reject(ticket, error)

    def reject_all(self, model_id: int, error: GglibError) -> list[Action]:
        return [Reject(ticket, error) for ticket in self.waiting.remove_all(model_id)]

    def change(self, resident: Resident, state: ResidentState, now: float) -> None:
        resident.state = state
        resident.changed = now

    def _will_be_served(self, ticket: Ticket, resident: Resident | None) -> bool:
        return (
            resident is not None
            and resident.state is ResidentState.STARTING
            and resident.serves(ticket.context)
        )

    def _expire(self, now: float) -> list[Action]:
        limit = self.policy.queue_seconds
        actions: list[Action] = []
        while limit and (
            late := [each for each in self.waiting.heads() if now >= each.arrived + limit]
        ):
            for ticket in late:
                self.waiting.remove(ticket)
                actions.append(Reject(ticket, self._timeout(ticket, now)))
        return actions

    def _timeout(self, ticket: Ticket, now: float) -> QueueTimeout:
        resident = self.places.residents.get(ticket.model.id)
        is_loading = resident is not None and resident.state is ResidentState.STARTING
        state = "still loading" if is_loading else "waiting for its turn"
        wait = self.estimate.seconds(ticket.model, now)
        return QueueTimeout(ticket.model.name, state, now - ticket.arrived, wait)

    def _refuse_hopeless(self, now: float) -> list[Action]:
        """End those that wait for a model that cannot be launched, before they cost a rival."""
        actions: list[Action] = []
        for line in self.waiting.lines:
            if error := self._hopeless(line, now):
                actions += self.reject_all(line.model.id, error)
        return actions

    def _hopeless(self, line: WaitingLine, now: float) -> GglibError | None:
        if failure := self.failures.current(line.model.id, now):
            return failure
        if line.model.id in self.places.residents or not self.places.are_all_pinned:
            return None
        pinned = [each.model.name for each in self.places.residents.values()]
        return EveryModelPinned(line.model.name, pinned)

    def _grants(self, claims: Claims, now: float) -> list[Action]:
        actions: list[Action] = []
        for resident in self.places.residents.values():
            line = self.waiting.line(resident.model.id)
            if line is None or resident.state is not ResidentState.READY or resident.is_unloading:
                continue
            if resident in claims and self.turns.must_yield(resident, now):
                continue
            for ticket in line.first_fitting(resident.lease_limit - resident.leases):
                self.waiting.remove(ticket)
                actions.append(self.grant(ticket, resident))
        return actions

    def _stops(self, claims: Claims, now: float) -> list[Action]:
        actions: list[Action] = []
        for resident in self.places.residents.values():
            reason = self.places.stop_reason(resident, claims.get(resident), now)
            if reason is None:
                continue
            if reason is StopReason.SWAP:
                self.turns.end(resident, self.next_number())
            self._note_reason(resident, reason)
            self.change(resident, ResidentState.STOPPING, now)
            actions.append(Stop(resident, reason))
        return actions

    def _note_reason(self, resident: Resident, reason: StopReason) -> None:
        resident.lost_place_by = self.places.victim_reason(resident, reason)
        if reason is StopReason.SWAP:
            resident.spared = self.places.spared_for(resident)

    def _launches(self, demands: Sequence[WaitingLine], now: float) -> list[Action]:
        return [
            Launch(self.places.take(line, now)) for line in demands if self.places.can_take(line)
        ]

    def _next_deadline(self, demands: Sequence[WaitingLine], now: float) -> float:
        times = list(self.places.times(demands))
        if limit := self.policy.queue_seconds:
            times += [head.arrived + limit for head in self.waiting.heads()]
        return min((time for time in times if time > now), default=math.inf)
