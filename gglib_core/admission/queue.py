"""The admission queue itself; see the package for what it promises."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
from gglib_core.errors import (
    AdmissionWithdrawn,
    EveryModelPinned,
    GglibError,
    LaunchFailed,
    ModelNotLoaded,
    QueueFull,
    QueueTimeout,
    ShuttingDown,
)
from gglib_core.models import Model


@dataclass(slots=True)
class _Group:
    """The waiting requests for one model with one context."""

    model: Model
    context: int
    tickets: dict[int, Ticket] = field(default_factory=dict[int, Ticket])

    @property
    def head(self) -> Ticket:
        return next(iter(self.tickets.values()))


class AdmissionQueue:
    """The pure queue; see the module for what it promises."""

    def __init__(self, policy: AdmissionPolicy) -> None:
        self._policy = policy
        self._residents: dict[int, Resident] = {}
        self._groups: dict[tuple[int, int], _Group] = {}
        self._failures: dict[int, Failure] = {}
        self._order_floor: dict[int, int] = {}
        self._idle_since: dict[int, float] = {}
        self._gaps: dict[int, float] = {}
        self._load_seconds: dict[int, float] = {}
        self._numbers = 0
        self._waiting = 0
        self._is_closed = False
        self._deadline = math.inf

    def __repr__(self) -> str:
        held = ", ".join(
            f"{resident.model.name}:{resident.state}:{resident.leases}"
            for resident in self._residents.values()
        )
        return f"<AdmissionQueue [{held}] waiting={self._waiting}>"

    # What is

    @property
    def deadline(self) -> float:
        """When `tick` must be called at the latest; infinite when no time matters."""
        return self._deadline

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
        return self._failures

    @property
    def waiting_count(self) -> int:
        return self._waiting

    def waiting_for(self, model_id: int) -> int:
        return sum(len(group.tickets) for group in self._groups_of(model_id))

    def waiting_models(self) -> set[int]:
        return {model_id for model_id, _ in self._groups}

    def expected_wait(self, model_id: int, now: float) -> float:
        """A fair guess of the seconds until a request for the model is served."""
        load = self._load_seconds.get(model_id, self._policy.assumed_load_seconds)
        resident = self._residents.get(model_id)
        if resident is not None and resident.state is ResidentState.READY:
            return 1.0
        if resident is not None and resident.state is ResidentState.STARTING:
            return max(1.0, load - (now - resident.launched))
        turns = [
            max(0.0, other.changed + self._policy.quantum_seconds - now)
            for other in self._residents.values()
            if other.state is ResidentState.READY and other.leases
        ]
        has_place = len(self._residents) < self._policy.max_resident
        return max(1.0, load + (0.0 if has_place else min(turns, default=0.0)))

    # Events

    def lease_now(self, model_id: int, context: int, now: float) -> Resident | None:
        """Lease the model if it is ready and nobody waits for anything; the common case, in O(1).

        None means nothing: call `request`.
        """
        resident = self._residents.get(model_id)
        if (
            resident is None
            or self._waiting
            or self._is_closed
            or resident.state is not ResidentState.READY
            or resident.is_unloading
            or context > resident.context
            or resident.leases >= resident.lease_limit
        ):
            return None
        if not resident.leases:
            self._gaps[model_id] = now - resident.idle_since
        resident.leases += 1
        return resident

    def request(
        self,
        model: Model,
        context: int,
        now: float,
        *,
        may_load: bool = True,
        handle: object = None,
    ) -> tuple[Ticket, list[Action]]:
        """A request has come; the ticket is granted or rejected by these or later actions."""
        self._numbers += 1
        ticket = Ticket(self._numbers, model, context, now, handle)
        resident = self._residents.get(model.id)
        if not may_load:
            return ticket, self._lease_or_refuse(ticket, resident, now)
        if error := self._refusal(ticket, resident, now):
            ticket.is_waiting = False
            return ticket, [Reject(ticket, error)]
        is_idle = resident is None or not resident.leases
        if is_idle and not self._groups_of(model.id):
            self._gaps[model.id] = now - self._idle_since.get(model.id, -math.inf)
        self._enqueue(ticket)
        return ticket, self._settle(now)

    def cancel(self, ticket: Ticket, now: float) -> list[Action]:
        """The request's owner has gone. A lease that it was granted meanwhile is released."""
        if ticket.granted is not None:
            resident, ticket.granted = ticket.granted, None
            return self.release(resident, now)
        if not ticket.is_waiting:
            return []
        self._dequeue(ticket)
        return self._settle(now)

    def release(self, resident: Resident, now: float) -> list[Action]:
        """One lease on the resident ends; also valid after its process has died."""
        assert resident.leases > 0, "a lease is released once"
        resident.leases -= 1
        if not resident.leases:
            resident.idle_since = self._idle_since[resident.model.id] = now
            if idle_seconds := self._idle_seconds(resident):
                self._deadline = min(self._deadline, now + idle_seconds)
        if self._waiting or resident.is_unloading:
            return self._settle(now)
        return []

    def ready(self, resident: Resident, now: float) -> list[Action]:
        """The resident's process takes requests."""
        if resident.state is not ResidentState.STARTING:
            return []
        self._change(resident, ResidentState.READY, now)
        resident.idle_since = now
        self._load_seconds[resident.model.id] = now - resident.launched
        self._order_floor.pop(resident.model.id, None)
        return self._settle(now)

    def failed(self, resident: Resident, error: LaunchFailed, now: float) -> list[Action]:
        """The resident's process did not become ready, and is gone."""
        self._drop(resident)
        if resident.state is ResidentState.STOPPING:
            return self._settle(now)
        remembered = self._remember(resident, error, now, is_first_free=False)
        return [*self._reject_all(resident.model.id, remembered), *self._settle(now)]

    def exited(
        self, resident: Resident, now: float, error: LaunchFailed | None = None
    ) -> list[Action]:
        """The resident's process is gone: as asked by `Stop`, or (with `error`) of itself."""
        self._drop(resident)
        was_stable = now - resident.changed > self._policy.backoff_limit_seconds
        if error is None or (resident.state is ResidentState.READY and was_stable):
            self._failures.pop(resident.model.id, None)
        if error is not None and resident.state is ResidentState.READY:
            self._remember(resident, error, now, is_first_free=True)
        return self._settle(now)

    def unload(self, model_id: int | None, now: float) -> list[Action]:
        """Stop the model, or all, once nobody holds it; those that wait for it now are rejected."""
        actions: list[Action] = []
        for resident in list(self._residents.values()):
            if model_id is None or resident.model.id == model_id:
                resident.is_unloading = True
                error = AdmissionWithdrawn(resident.model.name)
                actions += self._reject_all(resident.model.id, error)
        return actions + self._settle(now)

    def refreshed(self, models: Iterable[Model], now: float) -> list[Action]:
        """The catalog has changed: `models` are all there are.

        Running models keep running with what they were launched with; pin, idle time and limits
        count at once. Models that are gone are unloaded, changed ones get a new chance to launch.
        """
        known = {model.id: model for model in models}
        for resident in self._residents.values():
            resident.model = known.get(resident.model.id, resident.model)
        actions: list[Action] = []
        for model_id in self.waiting_models() | self._residents.keys():
            if model_id not in known:
                actions += self._withdraw(model_id)
        for model_id, failure in list(self._failures.items()):
            if known.get(model_id) != failure.model:
                del self._failures[model_id]
        return actions + self._settle(now)

    def forget_failure(self, model_id: int) -> None:
        """Let the model be launched again at once."""
        self._failures.pop(model_id, None)

    def tick(self, now: float) -> list[Action]:
        """Time has passed; needed at `deadline`, harmless at any time."""
        return self._settle(now)

    def close(self, now: float) -> list[Action]:
        """Take no more requests; those that wait are rejected, leases go on."""
        self._is_closed = True
        actions: list[Action] = []
        for model_id in self.waiting_models():
            actions += self._reject_all(model_id, ShuttingDown())
        return actions + self._settle(now)

    # Tickets

    def _lease_or_refuse(
        self, ticket: Ticket, resident: Resident | None, now: float
    ) -> list[Action]:
        ticket.is_waiting = False
        if (
            resident is None
            or resident.state is not ResidentState.READY
            or resident.is_unloading
            or resident in self._yielding(now)
        ):
            return [Reject(ticket, ModelNotLoaded(ticket.model.name))]
        resident.leases += 1
        ticket.granted = resident
        return [Grant(ticket, resident)]

    def _refusal(self, ticket: Ticket, resident: Resident | None, now: float) -> GglibError | None:
        if self._is_closed:
            return ShuttingDown()
        if resident is None and (failure := self._remembered(ticket.model.id, now)):
            return failure
        if self._waiting >= self._policy.queue_limit:
            wait = self.expected_wait(ticket.model.id, now)
            return QueueFull(self._policy.queue_limit, wait)
        return None

    def _enqueue(self, ticket: Ticket) -> None:
        key = (ticket.model.id, ticket.context)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(ticket.model, ticket.context)
        group.model = ticket.model
        group.tickets[ticket.number] = ticket
        self._waiting += 1

    def _dequeue(self, ticket: Ticket) -> None:
        ticket.is_waiting = False
        key = (ticket.model.id, ticket.context)
        tickets = self._groups[key].tickets
        del tickets[ticket.number]
        if not tickets:
            del self._groups[key]
        self._waiting -= 1

    def _groups_of(self, model_id: int) -> list[_Group]:
        return [group for key, group in self._groups.items() if key[0] == model_id]

    def _reject_all(self, model_id: int, error: GglibError) -> list[Action]:
        actions: list[Action] = []
        for group in self._groups_of(model_id):
            for ticket in list(group.tickets.values()):
                self._dequeue(ticket)
                actions.append(Reject(ticket, error))
        return actions

    def _withdraw(self, model_id: int) -> list[Action]:
        resident = self._residents.get(model_id)
        if resident is not None:
            resident.is_unloading = True
        groups = self._groups_of(model_id)
        name = groups[0].model.name if groups else ""
        return self._reject_all(model_id, AdmissionWithdrawn(name))

    # Residents

    def _change(self, resident: Resident, state: ResidentState, now: float) -> None:
        resident.state = state
        resident.changed = now

    def _drop(self, resident: Resident) -> None:
        if self._residents.get(resident.model.id) is resident:
            del self._residents[resident.model.id]

    def _idle_seconds(self, resident: Resident) -> float:
        if resident.model.is_pinned:
            return 0.0
        own = resident.model.idle_seconds
        return self._policy.idle_seconds if own is None else own

    def _remembered(self, model_id: int, now: float) -> LaunchFailed | None:
        failure = self._failures.get(model_id)
        if failure is None or now >= failure.until:
            return None
        error = failure.error
        return LaunchFailed(
            error.model, error.failure, error.detail, error.log, failure.until - now
        )

    def _remember(
        self, resident: Resident, error: LaunchFailed, now: float, *, is_first_free: bool
    ) -> LaunchFailed:
        """Keep the failure for a while, longer each time; a first crash costs nothing yet."""
        earlier = self._failures.get(resident.model.id)
        count = 1 if earlier is None else earlier.count + 1
        doublings = count - 2 if is_first_free else count - 1
        policy = self._policy
        wait = 0.0
        if doublings >= 0:
            wait = min(policy.backoff_limit_seconds, policy.backoff_seconds * 2.0**doublings)
        kept = LaunchFailed(error.model, error.failure, error.detail, error.log, wait)
        if resident.model == resident.launched_as:
            self._failures[resident.model.id] = Failure(resident.model, kept, count, now + wait)
        return kept

    # Decisions

    def _settle(self, now: float) -> list[Action]:
        """Bring everything to rest: the one place where turns end and models come and go.

        All is derived from what is: no decision is stored, so none can be out of date.
        """
        actions = self._expire(now)
        demands = self._demands()
        victims = self._victims(demands, now)
        yielding = {victim for victim in victims if self._must_yield(victim, now)}
        actions += self._grants(yielding)
        actions += self._stops(victims, now)
        actions += self._launches(demands, now)
        self._deadline = self._next_deadline(victims, now)
        return actions

    def _expire(self, now: float) -> list[Action]:
        limit = self._policy.queue_seconds
        actions: list[Action] = []
        if not limit:
            return actions
        for group in list(self._groups.values()):
            for ticket in list(group.tickets.values()):
                if now - ticket.arrived < limit:
                    break
                self._dequeue(ticket)
                actions.append(Reject(ticket, self._timeout(ticket, now)))
        return actions

    def _timeout(self, ticket: Ticket, now: float) -> QueueTimeout:
        resident = self._residents.get(ticket.model.id)
        loading = resident is not None and resident.state is ResidentState.STARTING
        state = "still loading" if loading else "waiting for its turn"
        wait = self.expected_wait(ticket.model.id, now)
        return QueueTimeout(ticket.model.name, state, now - ticket.arrived, wait)

    def _demands(self) -> list[_Group]:
        """The groups that no resident serves or will serve, the most entitled first."""
        unserved = [group for group in self._groups.values() if not self._is_served(group)]
        return sorted(unserved, key=self._order)

    def _is_served(self, group: _Group) -> bool:
        resident = self._residents.get(group.model.id)
        return resident is not None and resident.serves(group.context)

    def _order(self, group: _Group) -> int:
        """By arrival; but what a model left over when its turn ended comes after its rivals."""
        return max(group.head.number, self._order_floor.get(group.model.id, 0))

    def _victims(self, demands: Sequence[_Group], now: float) -> dict[Resident, _Group]:
        """The residents that stand in somebody's way, each with the group that wants its place."""
        victims: dict[Resident, _Group] = {}
        placed: set[int] = set()
        free = self._policy.max_resident - len(self._residents)
        free += sum(not self._can_be_victim(other) for other in self._residents.values())
        for group in demands:
            if group.model.id in placed:
                continue
            placed.add(group.model.id)
            own = self._residents.get(group.model.id)
            if own is not None and self._can_be_victim(own):
                victims[own] = group
            elif free > 0:
                free -= 1
            elif victim := self._pick_victim(victims, now):
                victims[victim] = group
        return victims

    def _can_be_victim(self, resident: Resident) -> bool:
        return resident.state is not ResidentState.STOPPING and not resident.is_unloading

    def _is_immovable(self, resident: Resident) -> bool:
        return resident.model.is_pinned and self._can_be_victim(resident)

    def _pick_victim(self, taken: Mapping[Resident, _Group], now: float) -> Resident | None:
        candidates = [
            resident
            for resident in self._residents.values()
            if resident not in taken
            and self._can_be_victim(resident)
            and not resident.model.is_pinned
            and not (resident.state is ResidentState.STARTING and self._is_wanted(resident))
        ]
        return min(candidates, key=lambda each: self._rank(each, now), default=None)

    def _rank(self, resident: Resident, now: float) -> tuple[int, float]:
        """Who goes first: unwanted loads, then the idle by age, then whose turn ends first."""
        if resident.state is ResidentState.STARTING:
            return (0, resident.launched)
        if self._is_free_to_go(resident, now):
            return (1, resident.idle_since)
        return (2, resident.changed)

    def _is_wanted(self, resident: Resident) -> bool:
        return any(
            context <= resident.context
            for model_id, context in self._groups
            if model_id == resident.model.id
        )

    def _is_idle(self, resident: Resident) -> bool:
        return not resident.leases and not self._is_wanted(resident)

    def _is_free_to_go(self, resident: Resident, now: float) -> bool:
        """Whether the resident has nothing to do, and nothing is about to come."""
        return self._is_idle(resident) and (
            self._turn_is_over(resident, now) or now >= self._lingers_until(resident)
        )

    def _lingers_until(self, resident: Resident) -> float:
        linger = self._policy.linger_seconds
        comes_back = self._gaps.get(resident.model.id, math.inf) <= linger
        return resident.idle_since + (linger if comes_back else 0.0)

    def _turn_is_over(self, resident: Resident, now: float) -> bool:
        return now >= resident.changed + self._policy.quantum_seconds

    def _must_yield(self, victim: Resident, now: float) -> bool:
        return victim.state is ResidentState.READY and self._turn_is_over(victim, now)

    def _yielding(self, now: float) -> set[Resident]:
        victims = self._victims(self._demands(), now)
        return {victim for victim in victims if self._must_yield(victim, now)}

    def _grants(self, yielding: set[Resident]) -> list[Action]:
        actions: list[Action] = []
        for resident in self._residents.values():
            if resident.state is not ResidentState.READY or resident in yielding:
                continue
            for ticket in list(self._grantable(resident)):
                self._dequeue(ticket)
                resident.leases += 1
                ticket.granted = resident
                actions.append(Grant(ticket, resident))
        return actions

    def _grantable(self, resident: Resident) -> Iterator[Ticket]:
        """The waiting requests that the resident can take now, oldest first."""
        room = resident.lease_limit - resident.leases
        if room <= 0:
            return
        tickets = [
            ticket
            for group in self._groups_of(resident.model.id)
            if resident.serves(group.context)
            for ticket in group.tickets.values()
        ]
        tickets.sort(key=lambda ticket: ticket.number)
        yield from tickets[:room]

    def _stops(self, victims: Mapping[Resident, _Group], now: float) -> list[Action]:
        actions: list[Action] = []
        for resident in self._residents.values():
            reason = self._stop_reason(resident, victims.get(resident), now)
            if reason is not None:
                self._order_floor[resident.model.id] = self._numbers
                self._change(resident, ResidentState.STOPPING, now)
                actions.append(Stop(resident, reason))
        return actions

    def _stop_reason(
        self, resident: Resident, rival: _Group | None, now: float
    ) -> StopReason | None:
        if resident.state is ResidentState.STOPPING:
            return None
        is_starting = resident.state is ResidentState.STARTING
        if resident.is_unloading:
            if resident.leases:
                return None
            return StopReason.ABORT if is_starting else StopReason.UNLOAD
        if rival is not None:
            return self._swap_reason(resident, rival, now)
        idle_seconds = self._idle_seconds(resident)
        if is_starting or not idle_seconds or not self._is_idle(resident):
            return None
        return StopReason.IDLE if now >= resident.idle_since + idle_seconds else None

    def _swap_reason(self, resident: Resident, rival: _Group, now: float) -> StopReason | None:
        if resident.state is ResidentState.STARTING:
            return None if self._is_wanted(resident) else StopReason.ABORT
        is_over = self._turn_is_over(resident, now) and not resident.leases
        if not is_over and not self._is_free_to_go(resident, now):
            return None
        same = rival.model.id == resident.model.id
        return StopReason.RELAUNCH if same else StopReason.SWAP

    def _launches(self, demands: Sequence[_Group], now: float) -> list[Action]:
        actions: list[Action] = []
        for group in demands:
            if not group.tickets or group.model.id in self._residents:
                continue
            if failure := self._remembered(group.model.id, now):
                actions += self._reject_all(group.model.id, failure)
            elif len(self._residents) < self._policy.max_resident:
                actions.append(Launch(self._take_place(group, now)))
            elif all(self._is_immovable(other) for other in self._residents.values()):
                pinned = [other.model.name for other in self._residents.values()]
                error = EveryModelPinned(group.model.name, pinned)
                actions += self._reject_all(group.model.id, error)
        return actions

    def _take_place(self, group: _Group, now: float) -> Resident:
        model = group.model
        context = max(each.context for each in self._groups_of(model.id))
        resident = Resident(model, context, launched=now, changed=now, idle_since=now)
        self._residents[model.id] = resident
        return resident

    def _next_deadline(self, victims: Mapping[Resident, _Group], now: float) -> float:
        times: list[float] = []
        if self._policy.queue_seconds:
            times += [
                group.head.arrived + self._policy.queue_seconds for group in self._groups.values()
            ]
        for resident in self._residents.values():
            if resident.state is not ResidentState.READY:
                continue
            idle = self._is_idle(resident)
            if resident in victims:
                times.append(resident.changed + self._policy.quantum_seconds)
                if idle:
                    times.append(self._lingers_until(resident))
            if idle and (idle_seconds := self._idle_seconds(resident)):
                times.append(resident.idle_since + idle_seconds)
        return min((time for time in times if time > now), default=math.inf)
