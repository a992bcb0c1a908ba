"""An admission queue on a virtual clock, with an owner that only does what it is told.

`Owner` feeds events to the queue as the runtime would, carries nothing out by itself, and after
each event checks what must always hold. Not here: an engine that takes time (see
`tests.admission_engine`).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from gglib_core.admission import (
    Action,
    AdmissionPolicy,
    AdmissionQueue,
    Grant,
    Launch,
    Reject,
    Resident,
    ResidentState,
    Stop,
    StopReason,
    Ticket,
)
from gglib_core.errors import LaunchFailed, LaunchFailure
from gglib_core.models import Model
from tests.admission_invariants import check_invariants, check_lease, check_stop
from tests.admission_values import Process, Request, a_model

REST_STEPS = 2000
STARTING, READY, STOPPING = ResidentState


@dataclass(eq=False)
class Owner:
    """Drives one queue and checks it; see the module."""

    policy: AdmissionPolicy
    queue: AdmissionQueue
    models: dict[str, Model]
    now: float = 1000.3
    requests: list[Request] = field(default_factory=list)
    open_requests: list[Request] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    launched: list[str] = field(default_factory=list)
    stopped: list[tuple[str, StopReason]] = field(default_factory=list)
    fresh_actions: list[Action] = field(default_factory=list)
    """What the last event caused."""
    carry_out: Callable[[list[Action]], None] | None = None
    """Called with the same, if there is somebody who can do it."""

    # What is

    @property
    def waiting(self) -> list[Request]:
        return [each for each in self.open_requests if each.is_waiting]

    @property
    def leasing(self) -> list[Request]:
        return [each for each in self.open_requests if each.is_leasing]

    def process(self, model: str) -> Process | None:
        found = [each for each in self.processes if each.resident.model.name == model]
        assert len(found) <= 1, f"two processes of {model}"
        return found[0] if found else None

    def state(self, model: str) -> ResidentState | None:
        process = self.process(model)
        return None if process is None else process.resident.state

    # Events

    def ask(self, model: str, context: int = 4096, *, may_load: bool = True) -> Request:
        """A request comes: leased at once if that can be, as the runtime does it."""
        entry = self.models[model]
        request = Request(model, context, self.now, is_visit=not may_load)
        self.requests.append(request)
        self.open_requests.append(request)
        resident = self.queue.lease_now(entry.id, context, self.now) if may_load else None
        if resident is not None:
            self._lease(request, resident)
            self._after([])
            return request
        request.ticket, actions = self.queue.request(
            entry, context, self.now, may_load=may_load, handle=request
        )
        self._after(actions)
        return request

    def leave(self, request: Request) -> None:
        """The client of a waiting request goes away."""
        assert request.is_waiting
        assert request.ticket is not None
        self._end(request)
        self._after(self.queue.cancel(request.ticket, self.now))

    def finish(self, request: Request) -> None:
        """The answer has ended."""
        assert request.is_leasing
        assert request.resident is not None
        self._end(request)
        self._after(self.queue.release(request.resident, self.now))

    def load(self, model: str) -> None:
        """The process becomes ready; too late, perhaps, because it is being stopped."""
        self._after(self.queue.ready(self._running(model).resident, self.now))

    def fail(self, model: str, failure: LaunchFailure = LaunchFailure.CRASHED) -> None:
        """The process ends before it was ready."""
        process = self._gone(model)
        error = LaunchFailed(model, failure, "it fell over", ("last words",))
        self._after(self.queue.failed(process.resident, error, self.now))

    def crash(self, model: str) -> None:
        """The process ends by itself after it was ready, or has been cleared up since."""
        process = self._gone(model)
        error = LaunchFailed(model, LaunchFailure.CRASHED, "it fell over")
        self._after(self.queue.exited(process.resident, self.now, error))

    def die(self, model: str) -> None:
        """The process ends by itself after it was ready; it has yet to be cleared up."""
        process = self._running(model)
        process.has_died = True
        error = LaunchFailed(model, LaunchFailure.CRASHED, "it fell over")
        self._after(self.queue.died(process.resident, error, self.now))

    def end(self, model: str) -> None:
        """The process is gone, as it was told to or since it has died."""
        if self._running(model).has_died:
            self.crash(model)
            return
        process = self._gone(model)
        assert process.is_told_to_stop
        self._after(self.queue.exited(process.resident, self.now))

    def unload(self, model: str | None = None) -> None:
        model_id = None if model is None else self.models[model].id
        self._after(self.queue.unload(model_id, self.now))

    def change(self, model: str, **changes: object) -> None:
        """The catalog entry is edited, and the queue told."""
        self.models[model] = dataclasses.replace(self.models[model], **changes)  # type: ignore[arg-type]
        self.refresh()

    def refresh(self, *, without: str = "") -> None:
        """The catalog now says what `models` says, but for one that was removed."""
        known = [each for each in self.models.values() if each.name != without]
        self._after(self.queue.refreshed(known, self.now))

    def tick(self) -> None:
        self._after(self.queue.tick(self.now))
        assert self.queue.deadline > self.now, "it asks to be woken for ever"

    def close(self) -> None:
        self._after(self.queue.close(self.now))

    def pass_time(self, seconds: float) -> None:
        """Time goes by, with a tick whenever the queue has asked for one."""
        assert seconds >= 0.0
        until = self.now + seconds
        while self.queue.deadline <= until:
            self.now = self.queue.deadline
            self.tick()
        self.now = until

    def pass_to_deadline(self) -> None:
        self.now = self.queue.deadline
        self.tick()

    # Several at once

    def serve(self, model: str) -> Request:
        """A request that is answered at once by a model that is, or gets, loaded."""
        request = self.ask(model)
        if self.state(model) is STARTING:
            self.load(model)
        self.finish(request)
        return request

    def finish_all(self) -> None:
        for request in self.leasing:
            self.finish(request)

    def come_to_rest(self) -> None:
        """Let every process and every answer get where it is going, until nobody waits."""
        for _ in range(REST_STEPS):
            if not self._step_to_rest():
                break
        assert not self.waiting, f"these wait for ever: {self.waiting} in {self.queue!r}"
        assert not self.leasing

    def _step_to_rest(self) -> bool:
        for process in list(self.processes):
            if process.resident.state is STOPPING:
                self.end(process.resident.model.name)
                return True
            if process.resident.state is STARTING:
                self.load(process.resident.model.name)
                return True
        if self.leasing:
            self.finish(self.leasing[0])
            return True
        if self.waiting and self.queue.deadline < math.inf:
            self.pass_to_deadline()
            return True
        return False

    # Carrying out and checking

    def _running(self, model: str) -> Process:
        process = self.process(model)
        assert process is not None
        return process

    def _gone(self, model: str) -> Process:
        process = self._running(model)
        self.processes.remove(process)
        return process

    def _lease(self, request: Request, resident: Resident) -> None:
        process = self._running(request.model)
        check_lease(request, process, resident)
        process.has_served = process.has_served or not request.is_visit
        request.resident = resident
        request.waited = self.now - request.arrived

    def _after(self, actions: list[Action]) -> None:
        self.fresh_actions = actions
        for action in actions:
            match action:
                case Grant(ticket, resident):
                    self._lease(self._of(ticket), resident)
                case Reject(ticket, error):
                    request = self._of(ticket)
                    assert request.is_waiting, "a request ends once"
                    request.error = error
                    self._end(request)
                case Launch(resident):
                    self._launch(resident)
                case Stop(resident, reason):
                    self._stop(resident, reason)
        check_invariants(self)
        if self.carry_out is not None:
            self.carry_out(actions)

    def _end(self, request: Request) -> None:
        request.has_ended = True
        self.open_requests.remove(request)

    def _of(self, ticket: Ticket) -> Request:
        request = ticket.handle
        assert isinstance(request, Request)
        return request

    def _launch(self, resident: Resident) -> None:
        assert self.process(resident.model.name) is None, "a model has one process"
        self.processes.append(Process(resident))
        self.launched.append(resident.model.name)

    def _stop(self, resident: Resident, reason: StopReason) -> None:
        name = resident.model.name
        process = self._running(name)
        check_stop(self, process, resident, reason)
        process.is_told_to_stop = True
        self.stopped.append((name, reason))

    def check_is_at_rest(self) -> None:
        """A tick would do nothing now, and the queue asks to be woken in time for the next."""
        twin = copy.deepcopy(self.queue, self._shared())
        assert twin.tick(self.now) == [], "something was left undone"
        assert self.now < self.queue.deadline <= twin.deadline

    def fork(self) -> Owner:
        """Another owner in the same state."""
        return copy.deepcopy(self, self._shared())

    def _shared(self) -> dict[int, object]:
        """What copies need not copy, or (errors) cannot."""
        shared: list[object] = [self.policy, *self.models.values()]
        shared += [each.resident.launched_as for each in self.processes]
        shared += [each.error for each in self.requests if each.error]
        for failure in self.queue.failures.values():
            shared += [failure.error, failure.model]
        return {id(each): each for each in shared}


def an_owner(*models: Model | str, max_resident: int = 1, **policy: float) -> Owner:
    """An owner of models `a`, `b`, `c` unless others are given; requests wait without end."""
    limits = AdmissionPolicy(max_resident=max_resident, **({"queue_seconds": 0.0} | policy))  # type: ignore[arg-type]
    entries = [
        a_model(each) if isinstance(each, str) else each for each in models or ("a", "b", "c")
    ]
    return Owner(limits, AdmissionQueue(limits), {each.name: each for each in entries})


def busy(model: str, **policy: float) -> Owner:
    """An owner whose only running model has an answer under way."""
    owner = an_owner(**policy)
    owner.ask(model)
    owner.load(model)
    return owner
