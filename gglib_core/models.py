"""The values that describe models: what the catalog knows, and what a launch needs.

Not here: how models are stored (the catalog adapter) or started (the runtime).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_CURRENCY = "USD"


class Capability(StrEnum):
    """What a model can be asked for."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"


class ModelState(StrEnum):
    """What a model's engine process is doing, as shown to people and clients."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    LOADED = "loaded"
    STOPPING = "stopping"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFacts:
    """What the header of a GGUF file says about its model; None where it is silent.

    Source of the key names: the GGUF specification (`general.*`, `<arch>.*`, `tokenizer.*`).
    """

    architecture: str
    name: str | None = None
    parameters: int | None = None
    """Number of weights, counted from the tensor table."""
    quantisation: str | None = None
    """The file type's name as llama.cpp prints it, for example `Q4_K_M`."""
    context_length: int | None = None
    """Tokens that the model was trained for."""
    embedding_length: int | None = None
    pooling: str | None = None
    """`none`, `mean`, `cls`, `last` or `rank`; None when the file sets no pooling type."""
    is_causal: bool = True
    chat_template: str | None = None
    layers: int | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModel:
    """All that a catalog entry says, before the catalog has given it an id."""

    name: str
    paths: tuple[str, ...]
    """Absolute paths of the file's shards in order; one for a file that is not split."""
    size_bytes: int
    """All shards together."""
    facts: GgufFacts
    capabilities: frozenset[Capability]
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    context: int | None = None
    """Tokens that one request may use; None takes the default of `serve`."""
    parallel: int | None = None
    """Requests that the engine decodes at once; None takes the default of `serve`."""
    threads: int | None = None
    gpu_layers: str | None = None
    """A number, `auto` or `all`, as llama-server's `-ngl` takes it."""
    arguments: tuple[str, ...] = ()
    """Further llama-server arguments, one token each."""
    environment: tuple[tuple[str, str], ...] = ()
    idle_seconds: float | None = None
    """Unload after this long without a request; None takes the default of `serve`, 0 is never."""
    max_concurrent: int | None = None
    """Requests passed to the engine at once; None leaves queueing to the engine."""
    is_pinned: bool = False
    """Never stopped to make room for another model."""
    is_preloaded: bool = False
    """Loaded when `serve` starts."""
    engine: str | None = None
    """What runs the model: `simulator`, or None for the llama-server of `serve`."""
    input_cost_per_1k: float = 0.0
    """Money for 1,000 tokens of a prompt."""
    output_cost_per_1k: float = 0.0
    """Money for 1,000 tokens of a completion."""
    currency: str = DEFAULT_CURRENCY
    """ISO 4217."""

    @property
    def path(self) -> str:
        """The file that the engine is given: the first shard."""
        return self.paths[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(NewModel):
    """One entry of the catalog."""

    id: int
    """Never given to a second model; negative for a model of this run only."""
    created: int = 0
    """Unix seconds at which the model was added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """What the runtime needs to start one model, settled except for port, key and context."""

    model_id: int
    name: str
    path: str
    size_bytes: int
    capabilities: frozenset[Capability]
    is_causal: bool = True
    pooling: str | None = None
    parallel: int | None = None
    threads: int | None = None
    gpu_layers: str | None = None
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    idle_seconds: float | None = None
    max_concurrent: int | None = None
    is_pinned: bool = False
    engine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where admitted requests go: one running engine process."""

    launch_id: str
    """Unique to one start of one process; a restarted model is another target."""
    model_id: int
    model_name: str
    host: str
    port: int
    api_key: str = field(repr=False)
    """The engine's own key, random for each launch."""
    context: int
    """Tokens per request that this launch asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningModel:
    """One model's engine as the runtime sees it now; for showing, never for deciding."""

    model_id: int
    name: str
    state: ModelState
    context: int
    leases: int = 0
    """Requests that hold the model at this moment."""
    waiting: int = 0
    """Requests that wait for it."""
    pid: int | None = None
    port: int | None = None
    launch_id: str | None = None
    since_seconds: float = 0.0
    """Time in this state."""
    is_pinned: bool = False
    memory_bytes: int | None = None
    failure: str | None = None
    """Why the last launch failed, in one line; set when the state is `failed`."""
    expected_seconds: float | None = None
    """A fair guess of when those that wait for it, or would, are served; None where it is loaded
    and nobody waits, or failed."""
