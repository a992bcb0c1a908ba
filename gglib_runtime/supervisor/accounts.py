"""Keeps the accounts of launches: what each waited for, took, and held; and learns from them.

Not here: the launches, and where accounts go when they are settled (the ledger).
"""

from __future__ import annotations

import time

from gglib_core.admission import Resident
from gglib_core.errors import LaunchFailed
from gglib_core.launch_costs import LaunchCosts
from gglib_core.swap_account import SwapAccount
from gglib_core.swaps import SwapLedger
from gglib_runtime.supervisor.gpu_memory import GpuMemory
from gglib_runtime.supervisor.launching import Engine, Launch
from gglib_runtime.supervisor.residency import Residency
from gglib_runtime.supervisor.resident_memory import ResidentMemory
from gglib_runtime.supervisor.timings import SwapTimings


class LaunchAccounts:
    """The accounts of one supervisor's launches."""

    def __init__(
        self, ledger: SwapLedger, costs: LaunchCosts, gpu: GpuMemory, memory: ResidentMemory
    ) -> None:
        self._ledger = ledger
        self._costs = costs
        self._gpu = gpu
        self._memory = memory

    def open(self, resident: Resident, launch: Launch) -> SwapAccount:
        """The launch has been decided upon."""
        account = SwapAccount(self._ledger, resident, launch.launch_id)
        launch.swap_id = account.swap_id
        launch.on_first_answer = lambda: account.note(**launch.timings.facts)
        return account

    def ready(self, residency: Residency, engine: Engine) -> None:
        """The engine takes requests; `learn` follows."""
        residency.account.note(memory_bytes=self._memory.of(engine.pid))
        residency.account.ready(**residency.launch.timings.facts)

    async def learn(self, residency: Residency, engine: Engine) -> None:
        """Remember what the launch costs, for the next one of its kind; takes a moment."""
        held = await self._gpu.held_bytes(engine.pid)
        if held is not None and engine.is_live:
            residency.account.note(gpu_memory_bytes=held)
        if (cost := residency.account.swap.cost) is not None:
            self._costs.learn_memory(cost)

    def ended(self, residency: Residency, error: LaunchFailed | None, *, is_shutdown: bool) -> None:
        """Nothing is left of the launch's process."""
        residency.account.note(**residency.launch.timings.facts)
        is_as_ordered = residency.is_stop_asked
        residency.account.ended(None if is_as_ordered else error, is_shutdown=is_shutdown)


def note_wait(
    timings: SwapTimings, asked_at: float, victim: Residency | None, quantum_seconds: float
) -> None:
    """What the first request, which came at `asked_at`, waited for up to now.

    `victim` is who has just left the place, if the launch comes of that.
    """
    now = decided_at = time.monotonic()
    drain_seconds = 0.0
    if victim is not None and victim.is_stop_asked:
        decided_at = victim.stop_asked_at
        timings.stop_seconds = now - decided_at
        turn_over_at = victim.ready_at + quantum_seconds
        drain_seconds = max(0.0, victim.drained_at - max(asked_at, turn_over_at))
    timings.drain_seconds = drain_seconds
    timings.queue_seconds = max(0.0, decided_at - asked_at - drain_seconds)
