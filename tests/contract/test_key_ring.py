"""What every `KeyRingSource` promises, held against the in-memory one and the SQL one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import anyio
import pytest
from anyio import to_thread

from gglib_core.api_keys import InMemoryApiKeys, NewKey
from gglib_core.keys import InMemoryKeyRing, KeyRingSource, mask_of
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.sql_catalog import open_sql_catalog
from gglib_runtime.keys.ring import SqlKeyRing
from gglib_runtime.keys.store import SqlKeyStore

pytest_plugins = ["tests.databases"]


class Subject(Protocol):
    """A source under test, and a way to change what it has."""

    @property
    def source(self) -> KeyRingSource: ...
    async def create(self, name: str) -> str: ...
    async def disable(self, name: str) -> None: ...
    async def remove(self, name: str) -> None: ...


class InMemorySubject:
    def __init__(self) -> None:
        self.source = InMemoryKeyRing()
        self._keys = InMemoryApiKeys(self.source)

    async def create(self, name: str) -> str:
        return (await self._keys.create(NewKey(name=name))).secret

    async def disable(self, name: str) -> None:
        await self._keys.edit(name, is_enabled=False)

    async def remove(self, name: str) -> None:
        await self._keys.remove(name)


class SqlSubject:
    def __init__(self, source: SqlKeyRing, store: SqlKeyStore) -> None:
        self.source = source
        self._store = store

    async def create(self, name: str) -> str:
        async with change_seen(self.source):
            made = await to_thread.run_sync(self._store.create, NewKey(name=name))
        return made.secret

    async def disable(self, name: str) -> None:
        async with change_seen(self.source):
            await to_thread.run_sync(lambda: self._store.edit(name, is_enabled=False))

    async def remove(self, name: str) -> None:
        async with change_seen(self.source):
            await to_thread.run_sync(self._store.remove, name)


@asynccontextmanager
async def change_seen(source: KeyRingSource) -> AsyncGenerator[None]:
    """Leaves its block when the source has taken over what was changed in it."""
    seen = anyio.Event()
    remove_listener = source.add_listener(seen.set)
    yield
    with anyio.fail_after(10):
        await seen.wait()
    remove_listener()


@asynccontextmanager
async def sql_subject(url: str, pepper_file: Path) -> AsyncGenerator[Subject]:
    with open_database(url) as engine:
        upgrade(engine)
        ring = SqlKeyRing(pepper_file, is_local=True, is_auth_off=False)
        async with open_sql_catalog(engine, poll_seconds=0.01, also=[ring]):
            yield SqlSubject(ring, SqlKeyStore(engine, pepper_file))


@asynccontextmanager
async def in_memory_subject() -> AsyncGenerator[Subject]:
    yield InMemorySubject()


Opening = Callable[[], AbstractAsyncContextManager[Subject]]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_subject(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    if request.param == "memory":
        return in_memory_subject
    url = request.getfixturevalue(f"{request.param}_url")
    return lambda: sql_subject(url, tmp_path / "pepper")


async def test_without_a_key_none_is_needed(open_subject: Opening) -> None:
    async with open_subject() as subject:
        assert subject.source.current.is_open
        assert len(subject.source.current) == 0


async def test_a_key_is_found_by_its_secret_and_by_nothing_else(open_subject: Opening) -> None:
    async with open_subject() as subject:
        one, two = [await subject.create(name) for name in ("one", "two")]
        ring = subject.source.current
        assert not ring.is_open
        assert [key.name for key in ring.keys] == ["one", "two"]
        for name, secret in (("one", one), ("two", two)):
            found = ring.find(secret)
            assert found is not None
            assert (found.name, found.mask) == (name, mask_of(secret))
        for wrong in ("", "gg-", one[:-1], one + "x", one.upper(), one[:11], "\udcff", "é" * 46):
            assert ring.find(wrong) is None


async def test_a_disabled_key_is_found_and_says_so(open_subject: Opening) -> None:
    async with open_subject() as subject:
        secret = await subject.create("one")
        await subject.disable("one")
        ring = subject.source.current
        found = ring.find(secret)
        assert found is not None
        assert not found.is_enabled
        assert not ring.is_open


async def test_a_ring_that_was_asked_for_does_not_change(open_subject: Opening) -> None:
    async with open_subject() as subject:
        before = subject.source.current
        secret = await subject.create("one")
        with_one = subject.source.current
        await subject.remove("one")
        assert before.find(secret) is None
        assert with_one.find(secret) is not None
        assert subject.source.current.find(secret) is None


async def test_listeners_are_told_of_each_change_until_they_are_removed(
    open_subject: Opening,
) -> None:
    async with open_subject() as subject:
        heard: list[int] = []
        remove = subject.source.add_listener(lambda: heard.append(len(subject.source.current)))
        await subject.create("one")
        await subject.create("two")
        await subject.remove("one")
        remove()
        remove()
        await subject.remove("two")
        assert heard == [1, 2, 1]
