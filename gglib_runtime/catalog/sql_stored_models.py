"""The database's models for the event loop: each call in a worker thread.

Not here: what the calls do (`store`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar, Unpack

from anyio import to_thread

from gglib_core.catalog import nearest_names
from gglib_core.errors import NoSuchModel
from gglib_core.models import Model, NewModel
from gglib_core.stored_models import ModelChanges
from gglib_runtime.catalog.store import SqlModelStore

T = TypeVar("T")


class SqlStoredModels:
    """Fills `StoredModels`."""

    def __init__(
        self, store: SqlModelStore, *, after_change: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """`after_change` has those who follow the database look at once."""
        self._store = store
        self._after_change = after_change

    async def list(self) -> Sequence[Model]:
        return await to_thread.run_sync(self._store.list)

    async def find(self, name: str) -> Model:
        return await to_thread.run_sync(self._find, name)

    async def add(self, new: NewModel, *, allow_same_file: bool = False) -> Model:
        return await self._changed(partial(self._store.add, new, allow_same_file=allow_same_file))

    async def edit(self, model_id: int, /, **changes: Unpack[ModelChanges]) -> Model:
        return await self._changed(partial(self._store.edit, model_id, **changes))

    async def remove(self, model_id: int) -> Model:
        return await self._changed(partial(self._store.remove, model_id))

    def _find(self, name: str) -> Model:
        snapshot = self._store.snapshot()
        model = snapshot.resolve_model(name)
        if model is None:
            raise NoSuchModel(name, nearest_names(name, snapshot.list_models()))
        return model

    async def _changed(self, change: Callable[[], T]) -> T:
        result = await to_thread.run_sync(change)
        if self._after_change is not None:
            await self._after_change()
        return result
