"""Starts one engine and sees it ready: command, port, key, process, pidfile, proof.

A port that was taken by somebody else is exchanged for another. Not here: when to launch, and when
to stop.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import secrets
import shlex
import shutil
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gglib_core.activity import EngineActivity
from gglib_core.errors import LaunchFailed, LaunchFailure
from gglib_core.models import LaunchSpec, Target
from gglib_runtime.engines.simulated import NAME as SIMULATOR
from gglib_runtime.engines.simulated import simulator_command
from gglib_runtime.supervisor.child import Child, open_child
from gglib_runtime.supervisor.command import (
    HOST,
    EngineAddress,
    LaunchDefaults,
    build_command,
    build_environment,
)
from gglib_runtime.supervisor.failures import classify
from gglib_runtime.supervisor.logs import EngineLogs
from gglib_runtime.supervisor.orphan_guard import OrphanGuard
from gglib_runtime.supervisor.pidfile import LAUNCH_VARIABLE, recorded
from gglib_runtime.supervisor.ports import LoopbackPorts
from gglib_runtime.supervisor.progress import Output
from gglib_runtime.supervisor.readiness import (
    Clues,
    EngineExited,
    Expected,
    NotOurs,
    NotReady,
    wait_until_ready,
)
from gglib_runtime.supervisor.settings import SupervisorSettings
from gglib_runtime.supervisor.timings import SwapTimings

_log = logging.getLogger(__name__)

_PORTS_TRIED = {LaunchFailure.PORT_TAKEN: 3, LaunchFailure.IDENTITY: 2}
"""An engine that ignores its key does so on every port."""
_ERROR_LINES = 20
_MISSING = os.strerror(errno.ENOENT)
_TAIL_LINES = 60
_EXIT_SECONDS = 1.0
"""How long a child that shares its port with a stranger may take to say that it cannot bind."""


@dataclass(slots=True, eq=False)
class Launch:
    """One start of one model; what is known of it grows while it proceeds."""

    model_id: int
    name: str
    context: int
    path: str = ""
    """The model's file."""
    launch_id: str = field(default_factory=lambda: secrets.token_hex(6))
    pid: int | None = None
    port: int | None = None
    spawned_at: float = 0.0
    """By `time.monotonic`; of the last attempt."""
    swap_id: str = ""
    """What the ledger calls it."""
    on_first_answer: Callable[[], None] = lambda: None
    timings: SwapTimings = field(default_factory=SwapTimings)
    activity: EngineActivity = field(init=False)
    tail: deque[str] = field(default_factory=lambda: deque[str](maxlen=_TAIL_LINES))
    """The last lines of this launch's output."""

    def __post_init__(self) -> None:
        self.activity = EngineActivity(self._first_answer_began)

    def _first_answer_began(self, seconds: float) -> None:
        self.timings.first_byte_seconds = seconds
        _log.info("model %r launch %s: first answer (%s)", self.name, self.launch_id, self.timings)
        self.on_first_answer()

    def failure(self, failure: LaunchFailure, detail: str) -> LaunchFailed:
        """The error with which it ends."""
        return LaunchFailed(self.name, failure, detail, tuple(self.tail)[-_ERROR_LINES:])


class Engine:
    """A ready engine; fills `gglib_core.admission_desk.RunningEngine`."""

    __slots__ = ("activity", "child", "end_reason", "output", "swap_id", "target")

    def __init__(self, child: Child, target: Target, output: Output, launch: Launch) -> None:
        self.child = child
        self.target = target
        self.output = output
        self.activity = launch.activity
        self.swap_id = launch.swap_id
        self.end_reason: str | None = None
        """Set by the supervisor once the process has ended of itself, or just before it is killed
        because it is wedged."""

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def is_live(self) -> bool:
        return self.child.is_running and self.end_reason is None


class _TryAnotherPort(Exception):
    """A turn of the loop rather than an error."""

    def __init__(self, error: LaunchFailed) -> None:
        self.error = error


class Launcher:
    """Starts engines of one kind."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        settings: SupervisorSettings,
        *,
        guard: OrphanGuard,
        logs: EngineLogs,
        pidfiles: Path,
    ) -> None:
        self._command = tuple(command)
        self._environ = dict(environ)
        self._settings = settings
        self._defaults = LaunchDefaults(
            parallel=settings.default_parallel, cache_ram_bytes=settings.cache_ram_bytes
        )
        self._guard = guard
        self._logs = logs
        self._pidfiles = pidfiles
        self._ports = LoopbackPorts()

    def _command_for(self, spec: LaunchSpec) -> tuple[str, ...]:
        return simulator_command() if spec.engine == SIMULATOR else self._command

    @asynccontextmanager
    async def open_engine(self, launch: Launch, spec: LaunchSpec) -> AsyncGenerator[Engine]:
        """Start the engine; the block runs once it is ready, and its process ends with the block.

        Raises LaunchFailed; nothing is left then, nor after a cancellation.
        """
        launch.name, launch.path = spec.name, spec.path
        program = self._command_for(spec)[0]
        if shutil.which(program) is None:
            reason = f"there is no program {program}"
            raise launch.failure(LaunchFailure.NO_ENGINE, reason)
        for attempt in itertools.count(1):
            try:
                async with self._open_on_some_port(launch, spec) as engine:
                    yield engine
                    return
            except _TryAnotherPort as again:
                if attempt >= _PORTS_TRIED[again.error.failure]:
                    raise again.error from None
                self._note(launch, f"{again.error.detail}: another port is tried")

    @asynccontextmanager
    async def _open_on_some_port(self, launch: Launch, spec: LaunchSpec) -> AsyncGenerator[Engine]:
        with self._ports.reserve() as port:
            address = EngineAddress(port=port, api_key=secrets.token_hex(16))
            clues = Clues()
            async with self._open_child(launch, spec, address, clues) as child:
                await self._await_ready(launch, child, address, clues)
                yield Engine(child, _target(launch, address), clues, launch)

    @asynccontextmanager
    async def _open_child(
        self, launch: Launch, spec: LaunchSpec, address: EngineAddress, clues: Clues
    ) -> AsyncGenerator[Child]:
        def take(lines: list[str]) -> None:
            launch.tail.extend(lines)
            clues.take(lines)
            self._logs.add(launch.model_id, launch.name, lines)

        launch.tail.clear()
        argv = build_command(
            self._command_for(spec),
            spec,
            context=launch.context,
            address=address,
            defaults=self._defaults,
        )
        environment = build_environment(self._environ, spec, address)
        environment[LAUNCH_VARIABLE] = launch.launch_id
        async with open_child(argv, environment, guard=self._guard, on_lines=take) as child:
            launch.pid, launch.port = child.pid, address.port
            launch.spawned_at = time.monotonic()
            self._note(launch, f"process {child.pid} runs {shlex.join(argv)}")
            child.on_exit(clues.look)
            child.on_exit(lambda: self._note(launch, f"it exited with code {child.exit_code}"))
            with recorded(
                self._pidfiles,
                launch_id=launch.launch_id,
                model=launch.name,
                port=address.port,
                pid=child.pid,
            ):
                yield child

    async def _await_ready(
        self, launch: Launch, child: Child, address: EngineAddress, clues: Clues
    ) -> None:
        expected = Expected(port=address.port, api_key=address.api_key, alias=launch.name)
        stall_seconds = self._settings.load_stall_seconds
        try:
            await wait_until_ready(child, expected, clues, stall_seconds=stall_seconds)
        except EngineExited:
            raise self._exited(launch, child, address.port) from None
        except NotOurs as wrong:
            self._ports.avoid(address.port)
            # A child that came second says so itself, which explains more.
            if await child.exited(_EXIT_SECONDS):
                raise self._exited(launch, child, address.port) from None
            failure = launch.failure(LaunchFailure.IDENTITY, wrong.reason)
            raise _TryAnotherPort(failure) from None
        except NotReady as stalled:
            raise launch.failure(LaunchFailure.STALLED, stalled.reason) from None

    def _exited(self, launch: Launch, child: Child, port: int) -> Exception:
        error = exit_error(launch, child)
        if error.failure is not LaunchFailure.PORT_TAKEN:
            return error
        self._ports.avoid(port)
        return _TryAnotherPort(error)

    def _note(self, launch: Launch, text: str) -> None:
        self._logs.add(launch.model_id, launch.name, [f"[gglib: {text}]"])


def exit_error(launch: Launch, child: Child) -> LaunchFailed:
    """Why a child that has ended did."""
    assert child.exit_code is not None
    failure, detail = classify(child.exit_code, launch.tail)
    if launch.path in detail and _MISSING in detail:
        detail = (
            f"its file {launch.path} is missing. Bring it back, or name the one to use: "
            f"gglib model edit {shlex.quote(launch.name)} --path PATH"
        )
    return launch.failure(failure, detail)


def _target(launch: Launch, address: EngineAddress) -> Target:
    return Target(
        launch_id=launch.launch_id,
        model_id=launch.model_id,
        model_name=launch.name,
        host=HOST,
        port=address.port,
        api_key=address.api_key,
        context=launch.context,
    )
