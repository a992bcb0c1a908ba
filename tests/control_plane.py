"""What the control plane's tests stand on: fakes for its ports, and ways to reach it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gglib_core.catalog import InMemoryModelCatalog
from gglib_core.generations import GenerationHistory, InMemoryGenerationLog
from gglib_core.models import Model, ModelState, RunningModel, Target
from gglib_core.ports import Lease, ModelLogs, ModelRuntime
from gglib_core.swaps import Requester
from gglib_proxy.control.app import create_app
from gglib_proxy.control.context import ControlContext, ServerInfo
from gglib_proxy.control.server import serve_control
from tests.raw_http import RawConnection

THROUGH_DATA_PLANE = {"x-gglib-peer": "127.0.0.1"}


class FakeModelRuntime:
    """Says what it is told to say, and does nothing but record what is asked of it."""

    def __init__(self) -> None:
        self.running: list[RunningModel] = []
        self.admission_error: Exception | None = None
        self.gate: asyncio.Event | None = None
        """Where set, loads and stops wait for it."""
        self.loaded: list[tuple[str, int]] = []
        self.requester: Requester | None = None
        """Of the last load."""
        self.stopped: list[int | None] = []
        self.was_asked = asyncio.Event()
        self.was_cancelled = asyncio.Event()

    def show(self, model: Model, state: ModelState, **properties: Any) -> None:
        shown = RunningModel(
            model_id=model.id, name=model.name, state=state, context=4096, **properties
        )
        self.running = [each for each in self.running if each.model_id != model.id] + [shown]

    async def admit(
        self,
        model: Model,
        *,
        context: int,
        may_load: bool = True,
        requester: Requester | None = None,
    ) -> Lease:
        raise NotImplementedError("the control plane leases nothing")

    def lease_now(self, model: Model, *, context: int) -> Lease | None:
        raise NotImplementedError("the control plane leases nothing")

    async def load(self, model: Model, *, context: int, requester: Requester | None = None) -> None:
        self.loaded.append((model.name, context))
        self.requester = requester
        await self._pass_gate()
        if self.admission_error is not None:
            raise self.admission_error

    def current(self) -> Sequence[RunningModel]:
        return self.running

    async def stop_current(self, model_id: int | None = None) -> None:
        self.stopped.append(model_id)
        await self._pass_gate()

    def on_stopping(self, listener: Callable[[Target], None]) -> Callable[[], None]:
        return lambda: None

    async def _pass_gate(self) -> None:
        self.was_asked.set()
        if self.gate is None:
            return
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise


class FakeModelLogs:
    """Lines that a test writes."""

    def __init__(self) -> None:
        self.lines: dict[int, list[str]] = {}
        self.followers: list[FakeFollower] = []

    def write(self, model_id: int, line: str) -> None:
        self.lines.setdefault(model_id, []).append(line)
        for follower in self.followers:
            follower.queue.put_nowait(line)

    def recent_lines(self, model_id: int, limit: int) -> Sequence[str]:
        return self.lines.get(model_id, [])[-limit:] if limit else []

    def follow(self, model_id: int) -> FakeFollower:
        self.followers.append(FakeFollower(self))
        return self.followers[-1]


class FakeFollower:
    """Lines from when it was made; known to its logs until it is closed."""

    def __init__(self, logs: FakeModelLogs) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()
        self.was_closed = asyncio.Event()
        self.was_read = asyncio.Event()
        self._logs = logs

    def __aiter__(self) -> FakeFollower:
        return self

    async def __anext__(self) -> str:
        line = await self.queue.get()
        self.was_read.set()
        return line

    async def aclose(self) -> None:
        self._logs.followers.remove(self)
        self.was_closed.set()


def control_context(
    models: Sequence[Model] = (),
    *,
    runtime: ModelRuntime | None = None,
    logs: ModelLogs | None = None,
    stop: asyncio.Event | None = None,
    generations: GenerationHistory | None = None,
) -> ControlContext:
    return ControlContext(
        catalog=InMemoryModelCatalog(models),
        runtime=runtime or FakeModelRuntime(),
        logs=logs or FakeModelLogs(),
        default_ctx=4096,
        info=ServerInfo(
            version="9.8.7",
            pid=4711,
            url="http://127.0.0.1:8080",
            engine="llama-server from PATH",
            started=time.monotonic(),
        ),
        stop=stop or asyncio.Event(),
        generations=generations or InMemoryGenerationLog(),
    )


class ControlServer:
    """A control plane that is being served."""

    def __init__(self, path: str, task: asyncio.Task[None], context: ControlContext) -> None:
        self.path = path
        self.context = context
        self._task = task

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[RawConnection]:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 24)
        try:
            yield RawConnection(reader, writer)
        finally:
            writer.close()

    async def stop(self) -> None:
        self.context.stop.set()
        async with asyncio.timeout(20):
            await self._task

    def cancel(self) -> None:
        self._task.cancel()


@asynccontextmanager
async def open_control(
    directory: Path, context: ControlContext, *, grace_seconds: float = 1.0
) -> AsyncGenerator[ControlServer]:
    """Serve the control plane on a unix socket in the directory; stopped afterwards."""
    path = str(directory / "control.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    app = create_app(context)
    serving = serve_control(app, listener, context.stop, grace_seconds=grace_seconds)
    task = asyncio.create_task(serving)
    try:
        yield ControlServer(path, task, context)
    finally:
        context.stop.set()
        await asyncio.gather(task, return_exceptions=True)
        listener.close()
