"""A supervisor for tests, with the stand-in engine, and a check that nothing is left of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gglib_core.admission import AdmissionPolicy
from gglib_core.catalog import InMemoryModelCatalog
from gglib_core.launch_costs import LaunchCosts
from gglib_core.models import Model, RunningModel
from gglib_core.swaps import SwapLedger
from gglib_runtime.paths import DataPaths
from gglib_runtime.supervisor import Supervisor, SupervisorSettings, open_supervisor
from gglib_runtime.supervisor.gpu_memory import GpuMemory
from gglib_runtime.supervisor.memory import MemoryReader
from tests.engines import SIMULATOR_COMMAND, WAIT_SECONDS, children, no_children_left

QUICK = SupervisorSettings(stop_grace_seconds=2.0)


@dataclass(slots=True, kw_only=True)
class Supervision:
    """A running supervisor and what belongs to it."""

    supervisor: Supervisor
    catalog: InMemoryModelCatalog
    paths: DataPaths

    def shown(self, name: str) -> RunningModel | None:
        """The model of that name as `current` has it."""
        return shown(self.supervisor.current(), name)


def shown(models: Sequence[RunningModel], name: str) -> RunningModel | None:
    return next((each for each in models if each.name == name), None)


@asynccontextmanager
async def supervising(
    directory: Path,
    *models: Model,
    policy: AdmissionPolicy | None = None,
    settings: SupervisorSettings = QUICK,
    command: Sequence[str] = SIMULATOR_COMMAND,
    environ: Mapping[str, str] | None = None,
    memory: MemoryReader = lambda: None,
    gpu: GpuMemory | None = None,
    ledger: SwapLedger | None = None,
    costs: LaunchCosts | None = None,
) -> AsyncIterator[Supervision]:
    """A supervisor of `models`; afterwards no child, task or pidfile may be left."""
    processes, tasks = children(), asyncio.all_tasks()
    catalog = InMemoryModelCatalog(models)
    paths = DataPaths(directory / "data")
    async with open_supervisor(
        settings,
        policy=policy or AdmissionPolicy(),
        catalog=catalog,
        engine_command=command,
        paths=paths,
        environ=environ,
        memory=memory,
        gpu=gpu,
        ledger=ledger,
        costs=costs,
    ) as supervisor:
        yield Supervision(supervisor=supervisor, catalog=catalog, paths=paths)
    await no_children_left(processes)
    left = asyncio.all_tasks() - tasks
    assert not left, f"tasks were left behind: {left}"
    assert list(paths.children.iterdir()) == []


async def eventually(condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.002)


async def pass_turns(count: int = 10) -> None:
    """Let everything that can run now do so."""
    for _ in range(count):
        await asyncio.sleep(0)
