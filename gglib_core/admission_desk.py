"""The asynchronous face of the admission queue: requests wait here, and leases are handed out.

`AdmissionDesk` turns the queue's actions into results of waiting requests, orders to the engines,
and one timer. What an engine is, how it starts and how it ends are its owner's business; who may
use which model is decided by `AdmissionQueue` alone.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from typing import Protocol, cast

from gglib_core.activity import EngineActivity
from gglib_core.admission import (
    Action,
    AdmissionPolicy,
    AdmissionQueue,
    Grant,
    Launch,
    Reject,
    Resident,
    StopReason,
    Ticket,
)
from gglib_core.admission_view import current_models
from gglib_core.errors import GglibError, LaunchFailed
from gglib_core.launch_costs import LaunchCosts
from gglib_core.models import Model, RunningModel, Target
from gglib_core.swaps import Requester, SwapCause, VictimReason

_BEAT_SECONDS = 1.0
"""How often is looked, while somebody waits, whether the process stood still."""
_SUSPENDED_SECONDS = 2.0
"""A timer that comes this late was held up with the whole process, which costs nobody his place."""


class RunningEngine(Protocol):
    """An engine that takes requests, as far as a lease needs it."""

    @property
    def target(self) -> Target:
        """Constant for the engine's life."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether its process still runs."""
        ...

    @property
    def activity(self) -> EngineActivity:
        """Constant for the engine's life."""
        ...

    @property
    def end_reason(self) -> str | None:
        """As `Lease.end_reason`."""
        ...

    @property
    def swap_id(self) -> str:
        """The swap that launched it. Constant for the engine's life."""
        ...


class Engines(Protocol):
    """What carries out the queue's orders. Neither method fails, waits or calls the desk."""

    def launch(self, resident: Resident) -> None:
        """Begin to start it; tell the desk `ready`, `failed` or `exited` later."""
        ...

    def stop(self, resident: Resident, reason: StopReason) -> None:
        """Begin to end it; tell the desk `exited` later."""
        ...


class EngineLease:
    """A lease on one running engine; fills the port `Lease`."""

    __slots__ = ("_desk", "_engine", "_resident", "load_seconds", "swap_id", "target")

    def __init__(
        self,
        desk: AdmissionDesk,
        resident: Resident,
        engine: RunningEngine,
        swap_id: str | None = None,
        load_seconds: float = 0.0,
    ) -> None:
        self.target: Target = engine.target
        self.swap_id: str | None = swap_id
        self.load_seconds: float = load_seconds
        self._desk: AdmissionDesk = desk
        self._engine: RunningEngine = engine
        self._resident: Resident | None = resident

    def __repr__(self) -> str:
        held = "held" if self._resident is not None else "released"
        return f"<EngineLease {self.target.model_name} {self.target.launch_id} {held}>"

    @property
    def is_live(self) -> bool:
        return self._engine.is_live

    @property
    def activity(self) -> EngineActivity:
        return self._engine.activity

    @property
    def end_reason(self) -> str | None:
        return self._engine.end_reason

    def release(self) -> None:
        resident = self._resident
        if resident is not None:
            self._resident = None
            self._desk.released(resident)


class AdmissionDesk:
    """Waiting requests and leases around one `AdmissionQueue`; belongs to one event loop."""

    def __init__(
        self, policy: AdmissionPolicy, engines: Engines, costs: LaunchCosts | None = None
    ) -> None:
        """`costs` are what is known of launches, and learn from the desk's own."""
        self._queue = AdmissionQueue(policy, costs)
        self._engines = engines
        self._loop = asyncio.get_running_loop()
        self._running: dict[Resident, RunningEngine] = {}
        self._asked: dict[int, tuple[Model, float]] = {}
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def __repr__(self) -> str:
        return f"<AdmissionDesk {self._queue!r}>"

    # Requests

    async def admit(
        self,
        model: Model,
        *,
        context: int,
        may_load: bool = True,
        requester: Requester | None = None,
    ) -> EngineLease:
        """As `ModelRuntime.admit` promises."""
        if may_load and (lease := self.lease_now(model, context=context)):
            return lease
        ticket, resident = await self._wait(model, context, requester, may_load=may_load)
        engine = self._running[resident]
        if ticket.number > resident.ready_number:
            return EngineLease(self, resident, engine)
        loaded_for = resident.loaded_at - max(ticket.arrived, resident.launched)
        return EngineLease(self, resident, engine, engine.swap_id, loaded_for)

    async def load(self, model: Model, *, context: int, requester: Requester | None = None) -> None:
        """As `ModelRuntime.load` promises."""
        self._queue.forget_failure(model.id)
        asking = requester or Requester(cause=SwapCause.LOAD)
        lease = await self.admit(model, context=context, requester=asking)
        lease.release()

    def lease_now(self, model: Model, *, context: int) -> EngineLease | None:
        """As `ModelRuntime.lease_now` promises."""
        resident = self._queue.lease_now(model.id, context, self._loop.time())
        return None if resident is None else EngineLease(self, resident, self._running[resident])

    async def _wait(
        self, model: Model, context: int, requester: Requester | None, *, may_load: bool
    ) -> tuple[Ticket, Resident]:
        outcome: asyncio.Future[Resident | GglibError] = self._loop.create_future()
        now = self._now()
        if not self._queue.waiting_for(model.id):
            self._asked[model.id] = (model, time.monotonic())
        ticket, actions = self._queue.request(
            model, context, now, may_load=may_load, handle=outcome, requester=requester
        )
        self._apply(actions)
        try:
            result = outcome.result() if outcome.done() else await outcome
        except asyncio.CancelledError:
            self._cancelled(ticket)
            raise
        if isinstance(result, GglibError):
            # One error may end many requests: each raises it without the others' tracebacks.
            raise result.with_traceback(None)
        if result not in self._running:
            # It died between the grant and this moment, and so did the connection to be.
            self.released(result)
            return await self._wait(model, context, requester, may_load=may_load)
        return ticket, result

    def _cancelled(self, ticket: Ticket) -> None:
        self._apply(self._queue.cancel(ticket, self._now()))

    def released(self, resident: Resident) -> None:
        """One lease has ended."""
        now = self._loop.time()
        if now > self._timer_at + _SUSPENDED_SECONDS:
            now = self._now()
        actions = self._queue.release(resident, now)
        if actions or self._queue.deadline < self._timer_at:
            self._apply(actions)

    # What happens to engines

    def begun(self, resident: Resident) -> None:
        """The resident's load begins only now, for it has waited for another's."""
        self._queue.begun(resident, self._now())

    def ready(self, resident: Resident, engine: RunningEngine) -> None:
        """The resident takes requests."""
        self._running[resident] = engine
        self._apply(self._queue.ready(resident, self._now()))

    def failed(self, resident: Resident, error: LaunchFailed) -> None:
        """The resident did not become ready, and its process is gone."""
        self._apply(self._queue.failed(resident, error, self._now()))

    def died(self, resident: Resident, error: LaunchFailed) -> None:
        """The ready resident's process has ended of itself; `exited` follows."""
        self._running.pop(resident, None)
        self._apply(self._queue.died(resident, error, self._now()))

    def exited(self, resident: Resident, error: LaunchFailed | None = None) -> None:
        """The resident's process is gone: as ordered, or (with `error`) of itself."""
        self._running.pop(resident, None)
        self._apply(self._queue.exited(resident, self._now(), error))

    # What people want

    def unload(self, model_id: int | None, why: VictimReason = VictimReason.UNLOAD) -> None:
        """Stop the model, or all, once its leases have ended."""
        self._apply(self._queue.unload(model_id, self._now(), why))

    def refreshed(self, models: Iterable[Model]) -> None:
        """The catalog has changed: `models` are all there are."""
        self._apply(self._queue.refreshed(models, self._now()))

    def configure(self, policy: AdmissionPolicy) -> None:
        """Go by this policy from now on; no running model is stopped for it."""
        self._apply(self._queue.configure(policy, self._now()))

    def close(self) -> None:
        """Reject those that wait and those that come; leases go on, and time stops mattering."""
        self._apply(self._queue.close(self._now()))
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    # What is

    @property
    def policy(self) -> AdmissionPolicy:
        return self._queue.policy

    @property
    def residents(self) -> Sequence[Resident]:
        """Those that hold a place, in no particular order."""
        return tuple(self._queue.residents.values())

    def waiting_for(self, model_id: int) -> int:
        """Requests that wait for the model."""
        return self._queue.waiting_for(model_id)

    def asked_at(self, model_id: int) -> float:
        """When the first of those that wait, or waited last, for the model came.

        By `time.monotonic`: some event loops' clocks know whole milliseconds alone.
        """
        return self._asked[model_id][1]

    def current(self) -> list[RunningModel]:
        """As `ModelRuntime.current`, without what only a process can tell."""
        asked = {model_id: model for model_id, (model, _) in self._asked.items()}
        return current_models(self._queue, asked, self._now())

    # Time

    def _now(self) -> float:
        """The loop's time. Where the process stood still, nobody has waited for that time."""
        now = self._loop.time()
        late = now - self._timer_at
        if late > _SUSPENDED_SECONDS:
            self._queue.shift(late)
            self._timer_at = now
        return now

    # Carrying out

    def _apply(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Grant(ticket, resident):
                    _resolve(ticket, resident)
                case Reject(ticket, error):
                    _resolve(ticket, error)
                case Launch(resident):
                    self._engines.launch(resident)
                case _:
                    self._engines.stop(action.resident, action.reason)
        self._arm()

    def _arm(self) -> None:
        """Set the timer to the queue's deadline; one that is early does no harm and stays."""
        deadline = self._queue.deadline
        if self._queue.waiting_count:
            deadline = min(deadline, self._loop.time() + _BEAT_SECONDS)
        if deadline >= self._timer_at or self._is_closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._tick)
        self._timer_at = deadline

    def _tick(self) -> None:
        now = self._now()
        self._timer, self._timer_at = None, math.inf
        self._apply(self._queue.tick(now))


def _resolve(ticket: Ticket, result: Resident | GglibError) -> None:
    # A request that was cancelled gives back in `_cancelled` what it is granted here.
    outcome = cast("asyncio.Future[Resident | GglibError]", ticket.handle)
    if not outcome.done():
        outcome.set_result(result)
