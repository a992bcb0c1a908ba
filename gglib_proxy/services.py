"""The ports that a server works with; what is left out is done without.

Not here: who fills them, and the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from gglib_core.api_keys import ApiKeys
from gglib_core.configuration import Configuration
from gglib_core.generations import GenerationHistory, InMemoryGenerationLog
from gglib_core.ports import ModelCatalog, ModelLogs, ModelRuntime
from gglib_core.readiness import ReadinessCheck
from gglib_core.server_log import ServerLog, SilentServerLog
from gglib_core.stored_models import ModelFiles, StoredModels
from gglib_core.swaps import InMemorySwapLedger, SwapHistory
from gglib_proxy.books import Books
from gglib_proxy.door.door import OPEN, Door
from gglib_proxy.limits import Limits
from gglib_proxy.meters import Meters


class SilentModelLogs:
    """Fills the port `ModelLogs` for a runtime whose engines print nothing."""

    def recent_lines(self, model_id: int, limit: int) -> Sequence[str]:
        return ()

    async def follow(self, model_id: int) -> AsyncIterator[str]:
        return
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a server works with."""

    catalog: ModelCatalog
    runtime: ModelRuntime
    logs: ModelLogs = field(default_factory=SilentModelLogs)
    """What engines print."""
    door: Door = field(default_factory=lambda: Door(OPEN))
    """Without one, everybody may enter."""
    books: Books = field(default_factory=Books)
    """Without them, nothing is limited or kept."""
    generations: GenerationHistory = field(default_factory=InMemoryGenerationLog)
    """What the log of `books` has taken."""
    swaps: SwapHistory = field(default_factory=InMemorySwapLedger)
    """The launches of the runtime's models."""
    meters: Meters = field(default_factory=Meters)
    """What is shown beside what is measured in the server itself."""
    readiness: Sequence[ReadinessCheck] = ()
    """What has to be well besides the server."""
    configuration: Configuration | None = None
    keys: ApiKeys | None = None
    """For those who administer them."""
    models: StoredModels | None = None
    """The same, of the catalog."""
    files: ModelFiles | None = None
    """Where those models come from."""
    log: ServerLog = field(default_factory=SilentServerLog)
    """What gglib says of itself."""


class Tuning:
    """What may change while a server runs: handed over once, then changed from outside."""

    def __init__(self, limits: Limits | None = None, default_model: str | None = None) -> None:
        self.limits = limits or Limits()
        self.default_model = default_model
        self._listeners: list[Callable[[], None]] = []

    def change(self, limits: Limits, default_model: str | None) -> None:
        """Let these count from now on, for requests that come."""
        self.limits = limits
        self.default_model = default_model
        for listener in self._listeners:
            listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change; it must not fail or block."""
        self._listeners.append(listener)
