"""The database's API keys for the event loop: each call in a worker thread.

Not here: what the calls do (`store`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Unpack

from anyio import to_thread

from gglib_core.api_keys import KeyChanges, MadeKey, NewKey
from gglib_core.keys import ApiKey
from gglib_runtime.keys.store import SqlKeyStore


class SqlApiKeys:
    """Fills `ApiKeys`. May raise ConfigError for the pepper."""

    def __init__(self, store: SqlKeyStore) -> None:
        self._store = store

    async def list(self) -> Sequence[ApiKey]:
        return await to_thread.run_sync(self._store.list)

    async def get(self, name: str) -> ApiKey:
        return await to_thread.run_sync(self._store.get, name)

    async def create(self, new: NewKey) -> MadeKey:
        return await to_thread.run_sync(self._store.create, new)

    async def edit(self, name: str, /, **changes: Unpack[KeyChanges]) -> ApiKey:
        return await to_thread.run_sync(partial(self._store.edit, name, **changes))

    async def rotate(self, name: str) -> MadeKey:
        return await to_thread.run_sync(self._store.rotate, name)

    async def remove(self, name: str) -> ApiKey:
        return await to_thread.run_sync(self._store.remove, name)
