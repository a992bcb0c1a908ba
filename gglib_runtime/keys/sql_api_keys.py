"""The database's API keys for the event loop: each call in a worker thread.

Not here: what the calls do (`store`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar, Unpack

from anyio import to_thread

from gglib_core.api_keys import KeyChanges, MadeKey, NewKey
from gglib_core.keys import ApiKey
from gglib_runtime.keys.store import SqlKeyStore

T = TypeVar("T")


class SqlApiKeys:
    """Fills `ApiKeys`. May raise OwnFileUnusable for the pepper."""

    def __init__(
        self, store: SqlKeyStore, *, after_change: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """`after_change` has those who follow the database look at once."""
        self._store = store
        self._after_change = after_change

    async def list(self) -> Sequence[ApiKey]:
        return await to_thread.run_sync(self._store.list)

    async def get(self, name: str) -> ApiKey:
        return await to_thread.run_sync(self._store.get, name)

    async def create(self, new: NewKey) -> MadeKey:
        return await self._changed(partial(self._store.create, new))

    async def edit(self, name: str, /, **changes: Unpack[KeyChanges]) -> ApiKey:
        return await self._changed(partial(self._store.edit, name, **changes))

    async def rotate(self, name: str) -> MadeKey:
        return await self._changed(partial(self._store.rotate, name))

    async def remove(self, name: str) -> ApiKey:
        return await self._changed(partial(self._store.remove, name))

    async def _changed(self, change: Callable[[], T]) -> T:
        result = await to_thread.run_sync(change)
        if self._after_change is not None:
            await self._after_change()
        return result
