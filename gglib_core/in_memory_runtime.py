"""A model runtime without processes: every model "runs" at one address that its owner serves.

For tests, and for programs that embed the proxy in front of an engine of their own. Admission is
the real one; loading and stopping take as long as two hooks say, and no time without them.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gglib_core.activity import EngineActivity
from gglib_core.admission import AdmissionPolicy, Resident, StopReason
from gglib_core.admission_desk import AdmissionDesk, EngineLease
from gglib_core.errors import LaunchFailed
from gglib_core.models import Model, RunningModel, Target
from gglib_core.swap_account import SwapAccount
from gglib_core.swaps import InMemorySwapLedger, Requester, SwapLedger


@dataclass(slots=True, eq=False)
class _InMemoryEngine:
    """One "run" of a model."""

    resident: Resident
    target: Target
    account: SwapAccount
    is_live: bool = True
    activity: EngineActivity = field(init=False)
    end_reason: str | None = None
    is_stopping: bool = False
    task: asyncio.Task[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.activity = EngineActivity(self._first_answer_began)

    def _first_answer_began(self, seconds: float) -> None:
        self.account.note(first_byte_seconds=seconds)

    @property
    def swap_id(self) -> str:
        return self.account.swap_id


class InMemoryModelRuntime:
    """Fills `ModelRuntime` for one event loop; made where that loop runs.

    `loading` is awaited before a model is ready and may raise LaunchFailed; `stopping` before it is
    stopped. With hooks, `aclose` ends their tasks. `ledger` gets the swaps, without durations.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        api_key: str = "in-memory",
        policy: AdmissionPolicy | None = None,
        loading: Callable[[Model], Awaitable[None]] | None = None,
        stopping: Callable[[Target], Awaitable[None]] | None = None,
        ledger: SwapLedger | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._api_key = api_key
        self._loading = loading
        self._stopping = stopping
        self._ledger = ledger or InMemorySwapLedger()
        self._is_closing = False
        self._launches = 0
        self._engines: dict[Resident, _InMemoryEngine] = {}
        self._listeners: list[Callable[[Target], None]] = []
        self._desk = AdmissionDesk(policy or AdmissionPolicy(), self)

    def __repr__(self) -> str:
        return f"<InMemoryModelRuntime {self._host}:{self._port} {self._desk!r}>"

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

    async def load(self, model: Model, *, context: int, requester: Requester | None = None) -> None:
        await self._desk.load(model, context=context, requester=requester)

    def current(self) -> Sequence[RunningModel]:
        return [self._with_address(shown) for shown in self._desk.current()]

    async def stop_current(self, model_id: int | None = None) -> None:
        leaving = [
            engine
            for engine in self._engines.values()
            if model_id is None or engine.resident.model.id == model_id
        ]
        self._desk.unload(model_id)
        for engine in leaving:
            await engine.ended.wait()

    def on_stopping(self, listener: Callable[[Target], None]) -> Callable[[], None]:
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    # Beside the port

    @property
    def launches(self) -> int:
        """How many times a model was loaded."""
        return self._launches

    def catalog_changed(self, models: Iterable[Model]) -> None:
        """`models` are all there are now."""
        self._desk.refreshed(models)

    def crash(self, model_id: int, error: LaunchFailed) -> None:
        """Let the model's engine die of itself, as processes do."""
        for engine in list(self._engines.values()):
            if engine.resident.model.id == model_id and engine.is_live:
                engine.end_reason = error.detail
                self._announce(engine)
                self._end(engine, error)

    def begin_shutdown(self) -> None:
        """Reject those that wait and those that come; leases go on."""
        self._desk.close()

    async def aclose(self) -> None:
        """Shut down, and end what the hooks left running."""
        self._is_closing = True
        self._desk.close()
        tasks = [engine.task for engine in self._engines.values() if engine.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for engine in list(self._engines.values()):
            self._end(engine)

    # Engines, for the desk

    def launch(self, resident: Resident) -> None:
        self._launches += 1
        target = Target(
            launch_id=f"launch-{self._launches}",
            model_id=resident.model.id,
            model_name=resident.model.name,
            host=self._host,
            port=self._port,
            api_key=self._api_key,
            context=resident.context,
        )
        account = SwapAccount(self._ledger, resident, target.launch_id)
        engine = self._engines[resident] = _InMemoryEngine(resident, target, account)
        self._go_on(engine, self._load(engine))

    def stop(self, resident: Resident, reason: StopReason) -> None:
        engine = self._engines[resident]
        engine.is_stopping = True
        if engine.task is not None:
            engine.task.cancel()
        self._announce(engine)
        self._go_on(engine, self._stop(engine))

    def _go_on(self, engine: _InMemoryEngine, work: Awaitable[None]) -> None:
        engine.task = asyncio.ensure_future(work)

    async def _load(self, engine: _InMemoryEngine) -> None:
        try:
            if self._loading is not None:
                await self._loading(engine.resident.model)
        except LaunchFailed as error:
            if not engine.is_stopping:
                self._forget(engine, error)
                self._desk.failed(engine.resident, error)
            return
        if not engine.is_stopping:
            engine.task = None
            engine.account.ready()
            self._desk.ready(engine.resident, engine)

    async def _stop(self, engine: _InMemoryEngine) -> None:
        if self._stopping is not None:
            await self._stopping(engine.target)
        self._end(engine)

    def _end(self, engine: _InMemoryEngine, error: LaunchFailed | None = None) -> None:
        if engine.ended.is_set():
            return
        self._forget(engine, error)
        self._desk.exited(engine.resident, error)

    def _forget(self, engine: _InMemoryEngine, error: LaunchFailed | None) -> None:
        engine.account.ended(error, is_shutdown=self._is_closing)
        engine.is_live = False
        engine.task = None
        del self._engines[engine.resident]
        engine.ended.set()

    def _announce(self, engine: _InMemoryEngine) -> None:
        for listener in tuple(self._listeners):
            listener(engine.target)

    def _with_address(self, shown: RunningModel) -> RunningModel:
        for engine in self._engines.values():
            if engine.resident.model.id == shown.model_id:
                return dataclasses.replace(
                    shown, port=self._port, launch_id=engine.target.launch_id
                )
        return shown
