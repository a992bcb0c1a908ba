"""Models in the admin API: all that is known of one, and what is sent to add or change one.

Not here: who stores them, and what a model may be.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gglib_core.models import DEFAULT_CURRENCY, Capability, GgufFacts, Model, NewModel
from gglib_core.stored_models import ModelFile
from gglib_core.validation import ENGINES

Context = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
EngineName = Annotated[str, Meta(extra_json_schema={"enum": list(ENGINES)})]
Currency = Annotated[str, Meta(extra_json_schema={"pattern": "^[A-Z]{3}$"})]
Price = Annotated[float, Meta(ge=0, le=1_000_000)]


class ModelDocument(msgspec.Struct, kw_only=True):
    """All that the catalog knows of a model."""

    id: int
    """Negative for a model of this run only."""
    name: str
    aliases: list[str]
    paths: list[str]
    """The files that it is in, on the machine that gglib runs on."""
    size_bytes: int
    facts: GgufFacts
    """What the file's header says."""
    capabilities: list[Capability]
    tags: list[str]
    context: int | None
    """Tokens that one request may use; None for the server's default."""
    parallel: int | None
    threads: int | None
    gpu_layers: str | None
    arguments: list[str]
    """Further arguments for the engine."""
    environment: dict[str, str]
    idle_seconds: float | None
    max_concurrent: int | None
    is_pinned: bool
    is_preloaded: bool
    engine: str | None
    input_cost_per_1k: float
    output_cost_per_1k: float
    currency: str
    created: int
    """Unix seconds."""


class ModelDocuments(msgspec.Struct, kw_only=True):
    """All models, by id."""

    data: list[ModelDocument]
    object: str = "list"


class NewModelBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A model file on the machine that gglib runs on, and how it shall be served."""

    path: str
    """Absolute; of a split model, any of its files."""
    name: str | None = None
    """The file's own by default."""
    aliases: list[str] = []
    tags: list[str] = []
    capabilities: list[Capability] | None = None
    """What the file says by default."""
    context: Context | None = None
    parallel: Count | None = None
    threads: Count | None = None
    gpu_layers: str | int | None = None
    arguments: list[str] = []
    environment: dict[str, str] = {}
    idle_seconds: Seconds | None = None
    max_concurrent: Count | None = None
    is_pinned: bool = False
    is_preloaded: bool = False
    engine: EngineName | None = None
    """`simulator`, for which a path that leads to no file is a mere name."""
    input_cost_per_1k: Price = 0.0
    output_cost_per_1k: Price = 0.0
    currency: Currency = DEFAULT_CURRENCY

    def new_model(self, file: ModelFile) -> NewModel:
        """The same for those who store it."""
        return NewModel(
            name=file.stem if self.name is None else self.name,
            paths=file.paths,
            size_bytes=file.size_bytes,
            facts=file.facts,
            capabilities=(
                file.capabilities if self.capabilities is None else frozenset(self.capabilities)
            ),
            aliases=tuple(dict.fromkeys(self.aliases)),
            tags=tuple(dict.fromkeys(self.tags)),
            context=self.context,
            parallel=self.parallel,
            threads=self.threads,
            gpu_layers=_text(self.gpu_layers),
            arguments=tuple(self.arguments),
            environment=tuple(self.environment.items()),
            idle_seconds=self.idle_seconds,
            max_concurrent=self.max_concurrent,
            is_pinned=self.is_pinned,
            is_preloaded=self.is_preloaded,
            engine=self.engine,
            input_cost_per_1k=self.input_cost_per_1k,
            output_cost_per_1k=self.output_cost_per_1k,
            currency=self.currency,
        )


class ModelChangesBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall change of a model; what is left out stays, null is as in a new one."""

    path: str | UnsetType = UNSET
    """Another file, whose header is read."""
    name: str | UnsetType = UNSET
    aliases: list[str] | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
    capabilities: list[Capability] | UnsetType | None = UNSET
    context: Context | UnsetType | None = UNSET
    parallel: Count | UnsetType | None = UNSET
    threads: Count | UnsetType | None = UNSET
    gpu_layers: str | int | UnsetType | None = UNSET
    arguments: list[str] | UnsetType | None = UNSET
    environment: dict[str, str] | UnsetType | None = UNSET
    idle_seconds: Seconds | UnsetType | None = UNSET
    max_concurrent: Count | UnsetType | None = UNSET
    is_pinned: bool | UnsetType = UNSET
    is_preloaded: bool | UnsetType = UNSET
    engine: EngineName | UnsetType | None = UNSET
    input_cost_per_1k: Price | UnsetType = UNSET
    output_cost_per_1k: Price | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET

    def properties(self) -> dict[str, Any]:
        """Those that are named and follow from this alone, by the names of `ModelChanges`."""
        named = {name: getattr(self, name) for name in self.__struct_fields__}
        changes: dict[str, Any] = {
            name: value for name, value in named.items() if value is not UNSET
        }
        for name in ("path", "capabilities"):
            changes.pop(name, None)
        for name in ("aliases", "tags"):
            if name in changes:
                changes[name] = tuple(dict.fromkeys(changes[name] or ()))
        if "arguments" in changes:
            changes["arguments"] = tuple(changes["arguments"] or ())
        if "environment" in changes:
            changes["environment"] = tuple(dict[str, str](changes["environment"] or {}).items())
        if "gpu_layers" in changes:
            changes["gpu_layers"] = _text(changes["gpu_layers"])
        return changes


def model_document(model: Model) -> ModelDocument:
    """All that is known of a model."""
    return ModelDocument(
        id=model.id,
        name=model.name,
        aliases=list(model.aliases),
        paths=list(model.paths),
        size_bytes=model.size_bytes,
        facts=model.facts,
        capabilities=sorted(model.capabilities),
        tags=list(model.tags),
        context=model.context,
        parallel=model.parallel,
        threads=model.threads,
        gpu_layers=model.gpu_layers,
        arguments=list(model.arguments),
        environment=dict(model.environment),
        idle_seconds=model.idle_seconds,
        max_concurrent=model.max_concurrent,
        is_pinned=model.is_pinned,
        is_preloaded=model.is_preloaded,
        engine=model.engine,
        input_cost_per_1k=model.input_cost_per_1k,
        output_cost_per_1k=model.output_cost_per_1k,
        currency=model.currency,
        created=model.created,
    )


def _text(layers: str | int | None) -> str | None:
    return None if layers is None else str(layers)
