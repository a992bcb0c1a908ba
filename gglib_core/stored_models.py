"""The keeping of models, as those who administer them see it: the ports, and one in memory.

Not here: what a server knows of its models (`gglib_core.ports.ModelCatalog`), and what a model may
be (`gglib_core.validation`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypedDict, Unpack

from gglib_core.catalog import InMemoryModelCatalog, catalog_entry, nearest_names
from gglib_core.errors import InvalidModel, NoSuchModel
from gglib_core.models import Capability, GgufFacts, Model, NewModel
from gglib_core.validation import check_model


class ModelChanges(TypedDict, total=False):
    """What may be changed of an entry: everything that `NewModel` says."""

    name: str
    paths: tuple[str, ...]
    size_bytes: int
    facts: GgufFacts
    capabilities: frozenset[Capability]
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    context: int | None
    parallel: int | None
    threads: int | None
    gpu_layers: str | None
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    idle_seconds: float | None
    max_concurrent: int | None
    is_pinned: bool
    is_preloaded: bool
    engine: str | None
    input_cost_per_1k: float
    output_cost_per_1k: float
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """What a model's file says of it."""

    stem: str
    """The model's name by default."""
    paths: tuple[str, ...]
    """Absolute paths of the shards in order; one for a file that is not split."""
    size_bytes: int
    """All shards together."""
    facts: GgufFacts
    capabilities: frozenset[Capability]


class ModelFiles(Protocol):
    """The files that models are in, on the machine that gglib runs on."""

    async def describe(self, path: str, *, engine: str | None = None) -> ModelFile:
        """Read what the file at the absolute `path`, any shard of a split model, says of it.

        `engine` is what shall run the model: the simulator needs no file, and a path that leads to
        none is a mere name then. Raises GgufError.
        """
        ...

    def default_capabilities(self, facts: GgufFacts) -> frozenset[Capability]:
        """What a model of these facts can do, unless its owner says otherwise. Never waits."""
        ...


class StoredModels(Protocol):
    """All models that are kept.

    A method that raises has changed nothing; all may raise DatabaseError. Changes count for
    requests within a second or two. To be called on the event loop.
    """

    async def list(self) -> Sequence[Model]:
        """All models, by id."""
        ...

    async def find(self, name: str) -> Model:
        """The model that is meant, as `ModelCatalog.resolve_model` finds it. Raises NoSuchModel."""
        ...

    async def add(self, new: NewModel, *, allow_same_file: bool = False) -> Model:
        """Take `new` in under an id that no model had before.

        A file that is kept already is refused, unless `allow_same_file` says that a second entry
        for it is meant. Raises InvalidModel, NameTaken.
        """
        ...

    async def edit(self, model_id: int, /, **changes: Unpack[ModelChanges]) -> Model:
        """Change an entry; what is not named stays. Raises NoSuchModel, InvalidModel, NameTaken."""
        ...

    async def remove(self, model_id: int) -> Model:
        """Take an entry out, and return it; its files stay where they are. Raises NoSuchModel."""
        ...


class InMemoryStoredModels:
    """Fills `StoredModels`; each change is in `catalog` at once."""

    def __init__(
        self,
        catalog: InMemoryModelCatalog | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.catalog = InMemoryModelCatalog() if catalog is None else catalog
        self._clock = clock
        highest = max((model.id for model in self.catalog.list_models()), default=0)
        self._ids = itertools.count(highest + 1)

    async def list(self) -> Sequence[Model]:
        return self.catalog.list_models()

    async def find(self, name: str) -> Model:
        model = self.catalog.resolve_model(name)
        if model is None:
            raise NoSuchModel(name, nearest_names(name, await self.list()))
        return model

    async def add(self, new: NewModel, *, allow_same_file: bool = False) -> Model:
        check_model(new)
        for each in await self.list():
            if each.path == new.path and not allow_same_file:
                raise InvalidModel.for_known_file(new.path, each.name)
        model = catalog_entry(new, model_id=next(self._ids), created=int(self._clock()))
        self.catalog.replace([*(await self.list()), model])
        return model

    async def edit(self, model_id: int, /, **changes: Unpack[ModelChanges]) -> Model:
        model = replace(await self._existing(model_id), **changes)
        check_model(model)
        self.catalog.replace([*(await self._others(model_id)), model])
        return model

    async def remove(self, model_id: int) -> Model:
        model = await self._existing(model_id)
        self.catalog.replace(await self._others(model_id))
        return model

    async def _existing(self, model_id: int) -> Model:
        found = [model for model in await self.list() if model.id == model_id]
        if not found:
            raise NoSuchModel(str(model_id))
        return found[0]

    async def _others(self, model_id: int) -> Sequence[Model]:
        return [model for model in await self.list() if model.id != model_id]
