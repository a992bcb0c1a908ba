"""What the control plane is given: the ports, and what it says of the server.

Not here: Quart. The composition builds this before it has imported that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from gglib_core.api_keys import ApiKeys
from gglib_core.configuration import Configuration
from gglib_core.generations import GenerationHistory, InMemoryGenerationLog
from gglib_core.ports import ModelCatalog, ModelLogs, ModelRuntime
from gglib_core.rate_limiting import RateLimiter
from gglib_core.readiness import ReadinessCheck
from gglib_core.server_log import ServerLog, SilentServerLog
from gglib_core.stored_models import ModelFiles, StoredModels
from gglib_core.swaps import InMemorySwapLedger, SwapHistory
from gglib_proxy.meters import Meters
from gglib_proxy.tally import Tally
from gglib_proxy.traffic import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What the server says of itself."""

    version: str
    pid: int
    url: str
    """Of the public endpoint, without a path."""
    engine: str
    """What runs the models and where it was found."""
    started: float
    """What `time.monotonic` said when the server started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Administration:
    """What administrators of a running server work with."""

    traffic: Traffic
    tally: Tally
    limiter: RateLimiter
    configuration: Configuration | None = None
    keys: ApiKeys | None = None
    models: StoredModels | None = None
    files: ModelFiles | None = None
    """Of models; needed where there are `models`."""
    log: ServerLog = field(default_factory=SilentServerLog)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlContext:
    """What the routes of the control plane work with."""

    catalog: ModelCatalog
    runtime: ModelRuntime
    logs: ModelLogs
    default_ctx: int
    """Tokens per request of a model that sets no context of its own."""
    info: ServerInfo
    stop: asyncio.Event
    """Ends every answer that waits or has no end of its own; `serve_control` takes the same."""
    administration: Administration | None = None
    """None where there is nothing to administer, as in a test."""
    meters: Meters = field(default_factory=Meters)
    readiness: Sequence[ReadinessCheck] = ()
    """All have to pass before gglib calls itself ready."""
    generations: GenerationHistory = field(default_factory=InMemoryGenerationLog)
    """The records of requests, which those who made them may see."""
    swaps: SwapHistory = field(default_factory=InMemorySwapLedger)
    """The launches of models, and what each of them cost."""
