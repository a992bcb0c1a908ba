"""Runs engine processes as admission orders: starts, stops, notices deaths, leaves none behind.

`Supervisor` fills the port `ModelRuntime` and is the only writer of process state. Who may use
which model, and who must go for it, is decided by the admission queue; how one engine is started is
`launching`'s business.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from gglib_core.admission import AdmissionPolicy, Resident, StopReason
from gglib_core.admission_desk import AdmissionDesk, EngineLease
from gglib_core.catalog import required_context
from gglib_core.errors import AdmissionError, LaunchFailed, LaunchFailure
from gglib_core.launch_costs import LaunchCosts
from gglib_core.models import Model, ModelState, RunningModel, Target
from gglib_core.ports import ModelCatalog
from gglib_core.swaps import (
    Requester,
    SwapCause,
    SwapLedger,
    VictimReason,
)
from gglib_runtime.supervisor.accounts import LaunchAccounts, note_wait
from gglib_runtime.supervisor.gpu_memory import GpuMemory
from gglib_runtime.supervisor.launching import Engine, Launch, Launcher, exit_error
from gglib_runtime.supervisor.loading import EngineLoader
from gglib_runtime.supervisor.logs import EngineLogs
from gglib_runtime.supervisor.memory import MemoryReader
from gglib_runtime.supervisor.residency import TRANSITIONS, ProcessState, Residency
from gglib_runtime.supervisor.resident_memory import ResidentMemory
from gglib_runtime.supervisor.settings import SupervisorSettings
from gglib_runtime.supervisor.timings import SwapTimings
from gglib_runtime.supervisor.wedge import watching

_log = logging.getLogger(__name__)


async def _wait_for_nothing(target: Target) -> None:
    """Nobody wants to look at the engine."""


class Supervisor:
    """The engines of one gglib; made by `open_supervisor`. Belongs to one event loop."""

    def __init__(
        self,
        launcher: Launcher,
        catalog: ModelCatalog,
        policy: AdmissionPolicy,
        settings: SupervisorSettings,
        logs: EngineLogs,
        memory: MemoryReader,
        gpu: GpuMemory,
        ledger: SwapLedger,
        costs: LaunchCosts,
    ) -> None:
        self.logs = logs
        self._catalog = catalog
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._desk = AdmissionDesk(policy, self, costs)
        self._loader = EngineLoader(launcher, catalog, settings, memory, gpu, costs, self)
        self._residencies: dict[Resident, Residency] = {}
        self._listeners: list[Callable[[Target], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._resident_memory = ResidentMemory()
        self._accounts = LaunchAccounts(ledger, costs, gpu, self._resident_memory)
        self._ending: Residency | None = None
        self._is_hurried = False
        self._is_closing = False
        self._before_stop = _wait_for_nothing
        self.last_timings: dict[int, SwapTimings] = {}
        """Of each model's last launch."""

    def __repr__(self) -> str:
        return f"<Supervisor {self._desk!r}>"

    def configure(self, settings: SupervisorSettings, policy: AdmissionPolicy) -> None:
        """Go by these from now on; running engines stay as they were launched."""
        self._settings.adopt(settings)
        self._desk.configure(policy)

    # ModelRuntime

    async def admit(
        self,
        model: Model,
        *,
        context: int,
        may_load: bool = True,
        requester: Requester | None = None,
    ) -> EngineLease:
        return await self._desk.admit(
            model, context=context, may_load=may_load, requester=requester
        )

    def lease_now(self, model: Model, *, context: int) -> EngineLease | None:
        return self._desk.lease_now(model, context=context)

    async def load(
        self, model: Model, *, context: int | None = None, requester: Requester | None = None
    ) -> None:
        """As the port has it; without `context`, with that of the model or of the settings."""
        needed = required_context(model, context, self._settings.default_context)
        await self._desk.load(model, context=needed, requester=requester)

    def current(self) -> Sequence[RunningModel]:
        engines = {each.model_id: each for each in self._residencies.values()}
        return [self._shown(each, engines.get(each.model_id)) for each in self._desk.current()]

    def targets(self) -> Sequence[Target]:
        """Where the engines are that take requests; beside the port."""
        engines = (each.engine for each in self._residencies.values() if not each.is_stop_asked)
        return [engine.target for engine in engines if engine is not None and engine.is_live]

    async def stop_current(self, model_id: int | None = None) -> None:
        leaving = [each for each in self._residencies.values() if model_id in (None, each.model_id)]
        self._desk.unload(model_id)
        for residency in leaving:
            await residency.ended.wait()

    def on_stopping(self, listener: Callable[[Target], None]) -> Callable[[], None]:
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    # Beside the port

    def catalog_changed(self) -> None:
        """Read the catalog anew: running models go on, those that are gone are unloaded."""
        self._desk.refreshed(self._catalog.list_models())

    def before_stop(self, look: Callable[[Target], Awaitable[None]]) -> None:
        """Let `look` see an engine that is about to be told to end, so that another gets its place.

        It is waited for, so it has to be done within milliseconds; it must not fail.
        """
        self._before_stop = look

    def begin_shutdown(self) -> None:
        """Reject those that wait and those that come; leases go on until the supervisor closes."""
        self._desk.close()

    def hurry(self) -> None:
        """Do not wait for any grace from now on: kill."""
        self._is_hurried = True
        for residency in self._residencies.values():
            if residency.engine is not None and residency.is_stop_asked:
                residency.engine.child.kill()

    # Engines, for the desk

    def launch(self, resident: Resident) -> None:
        model = resident.model
        launch = Launch(model_id=model.id, name=model.name, context=resident.context)
        quantum_seconds = self._desk.policy.quantum_seconds
        note_wait(launch.timings, self._desk.asked_at(model.id), self._ending, quantum_seconds)
        account = self._accounts.open(resident, launch)
        residency = self._residencies[resident] = Residency(resident, launch, account)
        self._transition(residency, ProcessState.STARTING, "requested")
        self._begin(self._live(residency))

    def stop(self, resident: Resident, reason: StopReason) -> None:
        self._order_stop(self._residencies[resident], reason)

    def _order_stop(self, residency: Residency, why: str) -> None:
        if not residency.is_stop_asked:
            self._transition(residency, ProcessState.STOPPING, why)
            residency.ask_stop()
            idle_seconds = self._loop.time() - residency.resident.idle_since
            residency.drained_at = residency.stop_asked_at - idle_seconds

    # The life of one engine

    async def _live(self, residency: Residency) -> None:
        """From launch to end; whatever happens, admission learns of it."""
        error: LaunchFailed | None = None
        try:
            error = await self._run(residency)
        except LaunchFailed as failure:
            error = failure
        except Exception as bug:  # the residency ends here, and its waiters must
            _log.exception("launch %s of %r", residency.launch.launch_id, residency.launch.name)
            error = residency.launch.failure(LaunchFailure.CRASHED, f"gglib failed: {bug!r}")
        finally:
            self._ended(residency, error)

    async def _run(self, residency: Residency) -> LaunchFailed | None:
        """Returns why a ready engine died, or None when it was stopped."""
        async with AsyncExitStack() as stack:
            engine = await self._loader.load(residency, stack)
            if engine is None or residency.is_stop_asked:
                return None
            residency.engine = engine
            engine.child.on_exit(lambda: self._process_ended(residency, engine))
            if not engine.is_live:
                return exit_error(residency.launch, engine.child)
            self._became_ready(residency, engine)
            async with watching(
                engine,
                residency.resident,
                self._settings.wedge_seconds,
                lambda reason: self._recycle(residency, engine, reason),
            ):
                await residency.news.wait()
            self._announce(engine.target)
            if not residency.is_stop_asked:
                return residency.recycled or exit_error(residency.launch, engine.child)
            # The listeners' closing of idle connections comes first: llama-server waits for them.
            await asyncio.sleep(0)
            if not (self._is_closing or self._is_hurried):
                await self._before_stop(engine.target)
            grace_seconds = 0.0 if self._is_hurried else self._settings.stop_grace_seconds
            await engine.child.stop(grace_seconds)
            return None

    def _recycle(self, residency: Residency, engine: Engine, reason: str) -> None:
        """End an engine that has requests and does not serve them; they learn the reason."""
        if residency.news.is_set():
            return
        launch = residency.launch
        _log.warning("model %r launch %s is wedged: %s", launch.name, launch.launch_id, reason)
        residency.recycled = launch.failure(LaunchFailure.WEDGED, reason)
        engine.end_reason = f"{reason}, and was ended"
        self._desk.died(residency.resident, residency.recycled)
        engine.child.kill()

    def _process_ended(self, residency: Residency, engine: Engine) -> None:
        """From this very moment nobody is sent there; the rest follows in the residency's task."""
        residency.news.set()
        if not residency.is_stop_asked and residency.recycled is None:
            error = exit_error(residency.launch, engine.child)
            engine.end_reason = error.detail
            self._desk.died(residency.resident, error)

    # Other engines, for a load

    def begun(self, residency: Residency) -> None:
        self._desk.begun(residency.resident)

    def has_gone(self, model_id: int) -> None:
        self._desk.unload(model_id, VictimReason.REMOVED)

    async def unload_spare(self, residency: Residency) -> bool:
        spare = [each for each in self._residencies.values() if self._is_spare(each)]
        for other in spare:
            residency.account.made_room(other.resident)
            self._desk.unload(other.model_id, VictimReason.MEMORY)
        for other in spare:
            await other.ended.wait()
        return bool(spare)

    def _is_spare(self, residency: Residency) -> bool:
        resident = residency.resident
        return (
            residency.state is ProcessState.READY
            and not resident.leases
            and not resident.model.is_pinned
            and not self._desk.waiting_for(residency.model_id)
        )

    # State

    def _became_ready(self, residency: Residency, engine: Engine) -> None:
        timings = residency.launch.timings
        self.last_timings[residency.model_id] = timings
        residency.ready_at = time.monotonic()
        self._transition(residency, ProcessState.READY, str(timings))
        self._accounts.ready(residency, engine)
        self._desk.ready(residency.resident, engine)
        self._begin(self._accounts.learn(residency, engine))

    def _ended(self, residency: Residency, error: LaunchFailed | None) -> None:
        """Nothing is left of the process: tell admission, which may launch another at once."""
        del self._residencies[residency.resident]
        self._ending = residency
        self._loader.ended()
        self._accounts.ended(residency, error, is_shutdown=self._is_closing)
        resident, was_starting = residency.resident, residency.state is ProcessState.STARTING
        if residency.state is not ProcessState.STOPPING and error is None:
            self._transition(residency, ProcessState.STOPPING, "cancelled")
        if residency.state is ProcessState.STOPPING:
            self._transition(residency, ProcessState.STOPPED, "its process is gone")
            self._desk.exited(resident)
        else:
            assert error is not None
            self._transition(residency, ProcessState.FAILED, f"{error.failure}: {error.detail}")
            (self._desk.failed if was_starting else self._desk.exited)(resident, error)
        self._ending = None
        residency.ended.set()

    def _transition(self, residency: Residency, state: ProcessState, why: str) -> None:
        assert state in TRANSITIONS[residency.state], f"{residency.state} -> {state}"
        now = time.monotonic()
        took = now - residency.changed_at if residency.changed_at else 0.0
        launch = residency.launch
        _log.info(
            "model %r launch %s: %s -> %s after %.0f ms (%s)",
            launch.name,
            launch.launch_id,
            residency.state,
            state,
            took * 1000,
            why,
        )
        residency.state, residency.changed_at = state, now

    def _announce(self, target: Target) -> None:
        for listener in tuple(self._listeners):
            listener(target)

    def _shown(self, shown: RunningModel, residency: Residency | None) -> RunningModel:
        if residency is None:
            return shown
        launch = residency.launch
        return dataclasses.replace(
            shown,
            state=ModelState.STOPPING if residency.is_stop_asked else shown.state,
            pid=launch.pid,
            port=launch.port,
            launch_id=launch.launch_id,
            memory_bytes=None if launch.pid is None else self._resident_memory.of(launch.pid),
        )

    # Lifetime

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def preload(self) -> None:
        """Begin to load the models that the catalog wants loaded, as many as there are places."""
        wanted = [model for model in self._catalog.list_models() if model.is_preloaded]
        places = self._desk.policy.max_resident
        for model in wanted[places:]:
            _log.warning("model %r is not preloaded: max_resident is %d", model.name, places)
        if wanted:
            self._begin(self._preload(wanted[:places]))

    async def _preload(self, models: Sequence[Model]) -> None:
        for model in models:
            try:
                await self.load(model, requester=Requester(cause=SwapCause.PRELOAD))
            except AdmissionError as error:
                _log.warning("model %r is not preloaded: %s", model.name, error)

    async def aclose(self) -> None:
        """Stop everything, and return when nothing is left; a cancellation hurries it."""
        self._is_closing = True
        self._desk.close()
        self._desk.unload(None)
        for residency in list(self._residencies.values()):
            self._order_stop(residency, "gglib ends")
        cancellation: asyncio.CancelledError | None = None
        while self._tasks:
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError as error:
                cancellation = error
                self.hurry()
        if cancellation is not None:
            raise cancellation
