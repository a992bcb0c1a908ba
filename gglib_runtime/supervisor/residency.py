"""One model's stay: the states its process goes through, and the order to stop it.

Not here: who decides, and who starts and ends the process.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import StrEnum

from gglib_core.admission import Resident
from gglib_core.errors import LaunchFailed
from gglib_core.swap_account import SwapAccount
from gglib_runtime.supervisor.launching import Engine, Launch


class ProcessState(StrEnum):
    """What a model's engine process is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"


TRANSITIONS: dict[ProcessState, frozenset[ProcessState]] = {
    ProcessState.STOPPED: frozenset({ProcessState.STARTING}),
    ProcessState.STARTING: frozenset(
        {ProcessState.READY, ProcessState.STOPPING, ProcessState.FAILED}
    ),
    ProcessState.READY: frozenset({ProcessState.STOPPING, ProcessState.FAILED}),
    ProcessState.STOPPING: frozenset({ProcessState.STOPPED}),
    ProcessState.FAILED: frozenset(),
}
"""A failed residency is over; the model's next launch is another one."""


@dataclass(slots=True, eq=False)
class Residency:
    """From the decision to launch until nothing is left; written by the supervisor alone."""

    resident: Resident
    launch: Launch
    account: SwapAccount
    state: ProcessState = ProcessState.STOPPED
    changed_at: float = 0.0
    engine: Engine | None = None
    ready_at: float = 0.0
    """By `time.monotonic`."""
    recycled: LaunchFailed | None = None
    """Why the engine was killed although it had requests."""
    is_stop_asked: bool = False
    stop_asked_at: float = 0.0
    drained_at: float = 0.0
    """When the last lease before the stop was released."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """A stop was asked, or the ready engine has died."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    loading: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    """The scope of everything before readiness: it expires when a stop is asked."""
    is_loading: bool = False

    @property
    def model_id(self) -> int:
        return self.resident.model.id

    def ask_stop(self) -> None:
        """Let the residency's task end the process."""
        self.is_stop_asked = True
        self.stop_asked_at = time.monotonic()
        self.news.set()
        if self.is_loading:
            self.loading.reschedule(0)
