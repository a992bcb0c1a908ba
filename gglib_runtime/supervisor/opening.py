"""Opens a supervisor: what it stands on, what earlier runs have left, and its end.

Not here: what it does in between.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager

from gglib_core.admission import AdmissionPolicy
from gglib_core.launch_costs import LaunchCosts
from gglib_core.ports import ModelCatalog
from gglib_core.swaps import InMemorySwapLedger, SwapLedger
from gglib_runtime.paths import DataPaths
from gglib_runtime.supervisor.gpu_memory import GpuMemory
from gglib_runtime.supervisor.launching import Launcher
from gglib_runtime.supervisor.log_files import open_log_writer
from gglib_runtime.supervisor.logs import EngineLogs
from gglib_runtime.supervisor.memory import MemoryReader, available_bytes
from gglib_runtime.supervisor.orphan_guard import open_orphan_guard
from gglib_runtime.supervisor.pidfile import sweep
from gglib_runtime.supervisor.settings import SupervisorSettings
from gglib_runtime.supervisor.shielding import run_to_end
from gglib_runtime.supervisor.supervisor import Supervisor


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
    gpu: GpuMemory | None = None,
    ledger: SwapLedger | None = None,
    costs: LaunchCosts | None = None,
) -> AsyncGenerator[Supervisor]:
    """Run engines for the length of the block; afterwards none is left.

    To be entered on the main thread: engines die with the thread that started them. Ends orphans of
    earlier runs first. `environ` (default: this process's) is what engines inherit. `ledger` gets
    the swaps, until the block's end; `costs` are what earlier launches have taught.
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
        supervisor = Supervisor(
            launcher,
            catalog,
            policy,
            settings,
            logs,
            memory,
            gpu or GpuMemory(),
            ledger or InMemorySwapLedger(),
            costs or LaunchCosts(),
        )
        try:
            supervisor.preload()
            yield supervisor
        finally:
            await supervisor.aclose()
    finally:
        await run_to_end(asyncio.to_thread(resources.close))
