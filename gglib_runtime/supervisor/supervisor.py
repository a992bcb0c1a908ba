"""Runs engine processes as admission orders: starts, stops, notices deaths, leaves none behind.

`Supervisor` fills the port `ModelRuntime` and is the only writer of process state. Who may use
which model, and who must go for it, is decided by the admission queue; how one engine is started is
`launching`'s business.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import os
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

from gglib_core.admission import AdmissionPolicy, Resident, StopReason
from gglib_core.admission_desk import AdmissionDesk, EngineLease
from gglib_core.catalog import required_context
from gglib_core.errors import AdmissionError, LaunchFailed, LaunchFailure
from gglib_core.models import Model, ModelState, RunningModel, Target
from gglib_core.ports import ModelCatalog
from gglib_runtime.paths import DataPaths
from gglib_runtime.supervisor.failures import refusal_of
from gglib_runtime.supervisor.launching import Engine, Launch, Launcher, exit_error
from gglib_runtime.supervisor.log_files import open_log_writer
from gglib_runtime.supervisor.logs import EngineLogs
from gglib_runtime.supervisor.memory import MemoryReader, available_bytes, wait_for_memory
from gglib_runtime.supervisor.orphan_guard import open_orphan_guard
from gglib_runtime.supervisor.pidfile import sweep
from gglib_runtime.supervisor.residency import TRANSITIONS, ProcessState, Residency
from gglib_runtime.supervisor.resident_memory import ResidentMemory
from gglib_runtime.supervisor.settings import SupervisorSettings
from gglib_runtime.supervisor.shielding import run_to_end
from gglib_runtime.supervisor.timings import SwapTimings
from gglib_runtime.supervisor.wedge import watching

_log = logging.getLogger(__name__)

_RECENTLY_SECONDS = 5.0
"""Memory of an engine that stopped longer ago is not waited for."""
_RETRY_SECONDS = 0.25
"""Before a load that ran out of memory is tried again."""


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
    ) -> None:
        self.logs = logs
        self._launcher = launcher
        self._catalog = catalog
        self._settings = settings
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._desk = AdmissionDesk(policy, self)
        self._residencies: dict[Resident, Residency] = {}
        self._listeners: list[Callable[[Target], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._resident_memory = ResidentMemory()
        self._ending: Residency | None = None
        self._last_ended_at = -math.inf
        self._is_hurried = False
        self.last_timings: dict[int, SwapTimings] = {}
        """Of each model's last launch."""

    def __repr__(self) -> str:
        return f"<Supervisor {self._desk!r}>"

    # ModelRuntime

    async def admit(self, model: Model, *, context: int, may_load: bool = True) -> EngineLease:
        return await self._desk.admit(model, context=context, may_load=may_load)

    def lease_now(self, model: Model, *, context: int) -> EngineLease | None:
        return self._desk.lease_now(model, context=context)

    def current(self) -> Sequence[RunningModel]:
        engines = {each.model_id: each for each in self._residencies.values()}
        return [self._shown(each, engines.get(each.model_id)) for each in self._desk.current()]

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

    async def load(self, model: Model, *, context: int | None = None) -> None:
        """Load the model now, even if it failed lately; raises what `admit` raises."""
        self._desk.forget_failure(model.id)
        needed = required_context(model, context, self._settings.default_context)
        lease = await self.admit(model, context=needed)
        lease.release()

    def catalog_changed(self) -> None:
        """Read the catalog anew: running models go on, those that are gone are unloaded."""
        self._desk.refreshed(self._catalog.list_models())

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
        residency = self._residencies[resident] = Residency(resident, launch)
        self._note_wait(residency)
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
            engine = await self._load_unless_stopped(residency, stack)
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

    async def _load_unless_stopped(
        self, residency: Residency, stack: AsyncExitStack
    ) -> Engine | None:
        if residency.is_stop_asked:
            return None
        residency.is_loading = True
        try:
            async with residency.loading:
                return await self._load(residency, stack)
        except TimeoutError:
            assert residency.is_stop_asked
            return None
        finally:
            residency.is_loading = False

    async def _load(self, residency: Residency, stack: AsyncExitStack) -> Engine | None:
        try:
            return await self._load_once(residency, stack)
        except LaunchFailed as error:
            if error.failure is not LaunchFailure.OUT_OF_MEMORY:
                raise
            if not await self._make_room(residency):
                raise
        return await self._load_once(residency, stack)

    async def _load_once(self, residency: Residency, stack: AsyncExitStack) -> Engine | None:
        launch = residency.launch
        spec = self._catalog.resolve_for_launch(launch.model_id)
        if spec is None:
            self._desk.unload(launch.model_id)
            return None
        begun_at = time.monotonic()
        if begun_at - self._last_ended_at < _RECENTLY_SECONDS:
            limit = self._settings.memory_wait_seconds
            await wait_for_memory(spec.size_bytes, self._memory, limit)
        launched_at = time.monotonic()
        try:
            engine = await stack.enter_async_context(self._launcher.open_engine(launch, spec))
        except OSError as error:
            raise launch.failure(*refusal_of(error)) from error
        launch.timings.memory_seconds = launched_at - begun_at
        launch.timings.spawn_seconds = launch.spawned_at - launched_at
        launch.timings.ready_seconds = time.monotonic() - launch.spawned_at
        return engine

    async def _make_room(self, residency: Residency) -> bool:
        """After a load that ran out of memory: whether another try has a better chance."""
        idle = [each for each in self._residencies.values() if self._is_spare(each)]
        is_recent = time.monotonic() - self._last_ended_at < _RECENTLY_SECONDS
        if not idle and not is_recent:
            return False
        _log.info("model %r ran out of memory: it is tried once more", residency.launch.name)
        for other in idle:
            await self.stop_current(other.model_id)
        await asyncio.sleep(_RETRY_SECONDS)
        return True

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
        self._desk.ready(residency.resident, engine)

    def _ended(self, residency: Residency, error: LaunchFailed | None) -> None:
        """Nothing is left of the process: tell admission, which may launch another at once."""
        del self._residencies[residency.resident]
        self._ending, self._last_ended_at = residency, time.monotonic()
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

    def _note_wait(self, residency: Residency) -> None:
        """What the first request waited for, up to here."""
        timings, now = residency.launch.timings, time.monotonic()
        asked_at, decided_at = self._desk.asked_at(residency.model_id), now
        if (victim := self._ending) is not None and victim.is_stop_asked:
            decided_at = victim.stop_asked_at
            timings.stop_seconds = now - decided_at
            turn_over_at = victim.ready_at + self._desk.policy.quantum_seconds
            timings.drain_seconds = max(0.0, victim.drained_at - max(asked_at, turn_over_at))
        timings.queue_seconds = max(0.0, decided_at - asked_at - timings.drain_seconds)

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
                await self.load(model)
            except AdmissionError as error:
                _log.warning("model %r is not preloaded: %s", model.name, error)

    async def aclose(self) -> None:
        """Stop everything, and return when nothing is left; a cancellation hurries it."""
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


@asynccontextmanager
async def open_supervisor(
    settings: SupervisorSettings,
    *,
    policy: AdmissionPolicy,
    catalog: ModelCatalog,
    engine_command: Sequence[str],
    paths: DataPaths,
    environ: Mapping[str, str] | None = None,
    memory: MemoryReader = available_bytes,
) -> AsyncGenerator[Supervisor]:
    """Run engines for the length of the block; afterwards none is left.

    To be entered on the main thread: engines die with the thread that started them. Ends orphans of
    earlier runs first. `environ` (default: this process's) is what engines inherit.
    """
    paths.create()
    await asyncio.to_thread(sweep, paths.children)
    resources = ExitStack()
    try:
        guard = resources.enter_context(open_orphan_guard())
        writer = resources.enter_context(
            open_log_writer(
                paths.logs, max_bytes=settings.log_file_bytes, count=settings.log_file_count
            )
        )
        logs = EngineLogs(writer, lines_kept=settings.log_lines)
        resources.callback(logs.close)
        launcher = Launcher(
            engine_command,
            os.environ if environ is None else environ,
            settings,
            guard=guard,
            logs=logs,
            pidfiles=paths.children,
        )
        supervisor = Supervisor(launcher, catalog, policy, settings, logs, memory)
        try:
            supervisor.preload()
            yield supervisor
        finally:
            await supervisor.aclose()
    finally:
        await run_to_end(asyncio.to_thread(resources.close))
