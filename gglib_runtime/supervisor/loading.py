"""Loads engines: one at a time, when there is memory, and once more if that did not suffice.

One at a time, because each measures what memory is free: gglib before the start, and llama.cpp when
it fits a model to its cards. Two that load together count the same memory twice.

Not here: how an engine is started (`launching`), and who must go for it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import AsyncExitStack
from typing import Protocol

from gglib_core.errors import LaunchFailed, LaunchFailure
from gglib_core.launch_costs import LaunchCost, LaunchCosts
from gglib_core.models import LaunchSpec
from gglib_core.ports import ModelCatalog
from gglib_core.swaps import launch_key
from gglib_runtime.supervisor.failures import refusal_of
from gglib_runtime.supervisor.gpu_memory import GpuMemory
from gglib_runtime.supervisor.launching import Engine, Launcher
from gglib_runtime.supervisor.memory import (
    MemoryReader,
    wait_for_gpu_memory,
    wait_for_memory,
)
from gglib_runtime.supervisor.residency import Residency
from gglib_runtime.supervisor.settings import SupervisorSettings

_log = logging.getLogger(__name__)

_RECENTLY_SECONDS = 5.0
"""Memory of an engine that stopped longer ago is not waited for."""
_RETRY_SECONDS = 0.25
"""Before a load that ran out of memory is tried again."""


class Residents(Protocol):
    """The other engines, as far as a load is concerned with them."""

    def begun(self, residency: Residency) -> None:
        """Its load begins now."""
        ...

    def has_gone(self, model_id: int) -> None:
        """The catalog does not know the model any more."""
        ...

    async def unload_spare(self, residency: Residency) -> bool:
        """Unload those that nobody uses, so that this one has more memory; whether there were."""
        ...


class EngineLoader:
    """Loads the engines of one supervisor."""

    def __init__(
        self,
        launcher: Launcher,
        catalog: ModelCatalog,
        settings: SupervisorSettings,
        memory: MemoryReader,
        gpu: GpuMemory,
        costs: LaunchCosts,
        residents: Residents,
    ) -> None:
        self._launcher = launcher
        self._catalog = catalog
        self._settings = settings
        self._memory = memory
        self._gpu = gpu
        self._costs = costs
        self._residents = residents
        self._turn = asyncio.Lock()
        self._last_ended_at = -math.inf

    def ended(self) -> None:
        """An engine's process is gone, and its memory may come back."""
        self._last_ended_at = time.monotonic()

    async def load(self, residency: Residency, stack: AsyncExitStack) -> Engine | None:
        """The engine, ready and ended with `stack`; None when it was told to stop before.

        Raises LaunchFailed.
        """
        if residency.is_stop_asked:
            return None
        residency.is_loading = True
        try:
            async with residency.loading:
                return await self._load_in_turn(residency, stack)
        except TimeoutError:
            assert residency.is_stop_asked
            return None
        finally:
            residency.is_loading = False

    async def _load_in_turn(self, residency: Residency, stack: AsyncExitStack) -> Engine | None:
        came_at = time.monotonic()
        async with self._turn:
            self._residents.begun(residency)
            try:
                return await self._load_once(residency, stack, came_at)
            except LaunchFailed as error:
                if error.failure is not LaunchFailure.OUT_OF_MEMORY:
                    raise
                if not await self._make_room(residency):
                    raise
            return await self._load_once(residency, stack, came_at)

    async def _load_once(
        self, residency: Residency, stack: AsyncExitStack, came_at: float
    ) -> Engine | None:
        launch, timings = residency.launch, residency.launch.timings
        spec = self._catalog.resolve_for_launch(launch.model_id)
        if spec is None:
            self._residents.has_gone(launch.model_id)
            return None
        if self._is_memory_on_its_way:
            await self._wait_for_memory(residency, spec)
        launched_at = time.monotonic()
        timings.memory_seconds = launched_at - came_at
        try:
            engine = await stack.enter_async_context(self._launcher.open_engine(launch, spec))
        except OSError as error:
            raise launch.failure(*refusal_of(error)) from error
        finally:
            if launch.spawned_at > launched_at:
                timings.spawn_seconds = launch.spawned_at - launched_at
                timings.load_seconds = time.monotonic() - launch.spawned_at
        return engine

    async def _wait_for_memory(self, residency: Residency, spec: LaunchSpec) -> None:
        """Until what the model needed the last time is there, or no more comes."""
        known = self._known_cost(residency)
        limit = self._settings.memory_wait_seconds
        needed = (known and known.memory_bytes) or spec.size_bytes
        await wait_for_memory(needed, self._memory, limit)
        if known is not None and known.gpu_memory_bytes:
            await wait_for_gpu_memory(known.gpu_memory_bytes, self._gpu.free_bytes, limit)

    def _known_cost(self, residency: Residency) -> LaunchCost | None:
        key = launch_key(residency.resident.launched_as)
        return self._costs.memory(key, residency.launch.context)

    @property
    def _is_memory_on_its_way(self) -> bool:
        return time.monotonic() - self._last_ended_at < _RECENTLY_SECONDS

    async def _make_room(self, residency: Residency) -> bool:
        """After a load that ran out of memory: whether another try has a better chance."""
        is_recent = self._is_memory_on_its_way
        if not await self._residents.unload_spare(residency) and not is_recent:
            return False
        _log.info("model %r ran out of memory: it is tried once more", residency.launch.name)
        await asyncio.sleep(_RETRY_SECONDS)
        return True
