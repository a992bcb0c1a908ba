"""Where the numbers come from that `/metrics` shows, and all of them at one moment.

Not here: their names and how they are written (`gglib_proxy.control.metric_table`, `exposition`).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gglib_core.engine_counters import EngineCounters, EngineReading
from gglib_core.models import RunningModel
from gglib_core.ports import ModelRuntime
from gglib_proxy.data_plane import DataPlane
from gglib_proxy.swap_tally import SwapTally
from gglib_proxy.tally import Histogram, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is under way in the data plane, and how much may be; 0 is no limit."""

    active_requests: int
    """With engines, or waiting for one."""
    max_concurrent_requests: int
    connections: int
    """Of clients."""
    max_connections: int
    buffered_bytes: int
    max_buffered_bytes: int
    upstream_connections: int
    idle_upstream_connections: int
    is_draining: bool
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of the machine, or as much of it as the process may have."""

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """The numbers at one moment; another thread may read them."""

    version: str
    python: str
    tally: Tally
    swaps: SwapTally
    loop_lag: Histogram | None
    load: Load | None
    running: Sequence[RunningModel]
    queued_generations: int | None
    memory: Memory | None
    engines: Mapping[str, EngineReading]


@dataclass(slots=True, kw_only=True, eq=False)
class Meters:
    """The sources; what is None is not measured. Belongs to one event loop."""

    tally: Tally = field(default_factory=Tally)
    swaps: SwapTally = field(default_factory=SwapTally)
    loop_lag: Histogram | None = None
    load: Callable[[], Load] | None = None
    queued_generations: Callable[[], int] | None = None
    """Records that are not written yet."""
    memory: Callable[[], Memory | None] | None = None
    engines: EngineCounters | None = None

    async def read(self, runtime: ModelRuntime, version: str) -> Measurements:
        """All of them, now."""
        engines: Mapping[str, EngineReading] = {}
        if self.engines is not None:
            engines = await self.engines.read()
        return Measurements(
            version=version,
            python=platform.python_version(),
            tally=self.tally.copy(),
            swaps=self.swaps.copy(),
            loop_lag=None if self.loop_lag is None else self.loop_lag.copy(),
            load=None if self.load is None else self.load(),
            running=tuple(runtime.current()),
            queued_generations=None
            if self.queued_generations is None
            else self.queued_generations(),
            memory=None if self.memory is None else self.memory(),
            engines=engines,
        )


def load_of(plane: DataPlane) -> Load:
    """What is under way in that data plane."""
    limits = plane.limits
    return Load(
        active_requests=len(plane.exchanges),
        max_concurrent_requests=limits.max_concurrent_requests,
        connections=len(plane.connections),
        max_connections=limits.max_connections,
        buffered_bytes=plane.buffered_bytes,
        max_buffered_bytes=limits.max_buffered_bytes,
        upstream_connections=plane.pool.open_count,
        idle_upstream_connections=plane.pool.idle_count,
        is_draining=plane.is_draining,
        is_paused=plane.is_paused,
    )
