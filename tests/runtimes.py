"""The runtimes that contracts are held against: the in-memory one and the supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from gglib_core.admission import AdmissionPolicy
from gglib_core.errors import LaunchFailed, LaunchFailure
from gglib_core.in_memory_runtime import InMemoryModelRuntime
from gglib_core.models import Model, ModelState, RunningModel
from gglib_core.ports import Lease, ModelRuntime
from gglib_core.swaps import InMemorySwapLedger
from tests.engines import WAIT_SECONDS, simulator_model
from tests.supervision import shown, supervising


class Subject(Protocol):
    """A runtime, and the hands that its tests need on the engines behind it."""

    runtime: ModelRuntime
    ledger: InMemorySwapLedger
    alpha: Model
    beta: Model
    pinned: Model
    slow: Model
    """Does not become ready before `let_load`."""
    broken: Model
    """Fails to load, for a reason that will not go away."""

    def let_load(self) -> None: ...

    def crash(self, model: Model) -> None: ...

    def begin_shutdown(self) -> None: ...


def _models(slow: dict[str, Any], broken: dict[str, Any]) -> dict[str, Model]:
    return {
        "alpha": simulator_model(1, "alpha"),
        "beta": simulator_model(2, "beta"),
        "pinned": simulator_model(3, "pinned", is_pinned=True),
        "slow": simulator_model(4, "slow", sim=slow),
        "broken": simulator_model(5, "broken", sim=broken),
    }


class InMemorySubject:
    def __init__(self, policy: AdmissionPolicy) -> None:
        self.__dict__.update(_models({}, {}))
        self._may_load = asyncio.Event()
        self.ledger = InMemorySwapLedger()
        self.runtime = InMemoryModelRuntime(
            "127.0.0.1", 1, policy=policy, loading=self._loading, ledger=self.ledger
        )

    async def _loading(self, model: Model) -> None:
        if model.name == "broken":
            raise LaunchFailed(model.name, LaunchFailure.BAD_FILE, "as asked", ("the last line",))
        if model.name == "slow":
            await self._may_load.wait()

    def let_load(self) -> None:
        self._may_load.set()

    def crash(self, model: Model) -> None:
        error = LaunchFailed(model.name, LaunchFailure.CRASHED, "as asked")
        self.runtime.crash(model.id, error)

    def begin_shutdown(self) -> None:
        self.runtime.begin_shutdown()


class SupervisorSubject:
    def __init__(self, directory: Path) -> None:
        self._may_load = directory / "may_load"
        slow = {"load_until": str(self._may_load)}
        self.models = _models(slow, {"fail_load": "bad_file"})
        self.__dict__.update(self.models)
        self.ledger = InMemorySwapLedger()
        self.runtime: Any = None

    def let_load(self) -> None:
        self._may_load.touch()

    def crash(self, model: Model) -> None:
        running = shown(self.runtime.current(), model.name)
        assert running is not None
        assert running.pid is not None
        os.kill(running.pid, signal.SIGKILL)

    def begin_shutdown(self) -> None:
        self.runtime.begin_shutdown()


@asynccontextmanager
async def in_memory(directory: Path, policy: AdmissionPolicy) -> AsyncIterator[Subject]:
    subject = InMemorySubject(policy)
    yield subject
    await subject.runtime.aclose()


@asynccontextmanager
async def supervised(directory: Path, policy: AdmissionPolicy) -> AsyncIterator[Subject]:
    subject = SupervisorSubject(directory)
    async with supervising(
        directory, *subject.models.values(), policy=policy, ledger=subject.ledger
    ) as supervision:
        subject.runtime = supervision.supervisor
        yield subject


Opener = Callable[..., AbstractAsyncContextManager[Subject]]


RUNTIMES = (in_memory, supervised)


def opener(
    runtime: Callable[[Path, AdmissionPolicy], AbstractAsyncContextManager[Subject]],
    directory: Path,
) -> Opener:
    """Opens that runtime, with the given fields of the policy."""

    def open_subject(**policy: Any) -> AbstractAsyncContextManager[Subject]:
        return runtime(directory, AdmissionPolicy(**policy))

    return open_subject


async def admit(subject: Subject, model: Model, context: int = 512) -> Lease:
    async with asyncio.timeout(WAIT_SECONDS):
        return await subject.runtime.admit(model, context=context)


def of(subject: Subject, model: Model) -> RunningModel | None:
    return shown(subject.runtime.current(), model.name)


def state_of(subject: Subject, model: Model) -> ModelState | None:
    running = of(subject, model)
    return None if running is None else running.state


async def ends(work: asyncio.Task[Any]) -> Any:
    async with asyncio.timeout(WAIT_SECONDS):
        return await work
