"""What every `ModelCatalog` promises, held against the in-memory catalog and the SQL one."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import anyio
import pytest
from anyio import to_thread

from gglib_core.catalog import InMemoryModelCatalog, catalog_entry
from gglib_core.models import Model, NewModel
from gglib_core.ports import ModelCatalog
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.sql_catalog import open_sql_catalog
from gglib_runtime.catalog.store import SqlModelStore
from tests.catalog_entries import new_model

pytest_plugins = ["tests.databases"]


class ListenedCatalog(ModelCatalog, Protocol):
    def add_listener(self, listener: Callable[[], None]) -> Callable[[], None]: ...


class Subject(Protocol):
    """A catalog under test, and a way to change what it shows."""

    @property
    def catalog(self) -> ListenedCatalog: ...
    async def add(self, new: NewModel) -> Model: ...
    async def remove(self, model: Model) -> None: ...


class InMemorySubject:
    def __init__(self) -> None:
        self.catalog = InMemoryModelCatalog()
        self._ids = itertools.count(1)

    async def add(self, new: NewModel) -> Model:
        added = catalog_entry(new, model_id=next(self._ids), created=0)
        self.catalog.replace([added, *self.catalog.list_models()])
        return added

    async def remove(self, model: Model) -> None:
        self.catalog.replace(m for m in self.catalog.list_models() if m.id != model.id)


class SqlSubject:
    def __init__(self, catalog: ListenedCatalog, store: SqlModelStore) -> None:
        self.catalog = catalog
        self._store = store

    async def add(self, new: NewModel) -> Model:
        async with change_seen(self.catalog):
            return await to_thread.run_sync(self._store.add, new)

    async def remove(self, model: Model) -> None:
        async with change_seen(self.catalog):
            await to_thread.run_sync(self._store.remove, model.id)


@asynccontextmanager
async def change_seen(catalog: ListenedCatalog) -> AsyncGenerator[None]:
    """Leaves its block when the catalog has taken over what was changed in it."""
    seen = anyio.Event()
    remove_listener = catalog.add_listener(seen.set)
    yield
    with anyio.fail_after(10):
        await seen.wait()
    remove_listener()


@asynccontextmanager
async def sql_subject(url: str) -> AsyncGenerator[Subject]:
    with open_database(url) as engine:
        upgrade(engine)
        async with open_sql_catalog(engine, poll_seconds=0.01) as catalog:
            yield SqlSubject(catalog, SqlModelStore(engine))


@asynccontextmanager
async def in_memory_subject() -> AsyncGenerator[Subject]:
    yield InMemorySubject()


Opening = Callable[[], AbstractAsyncContextManager[Subject]]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_subject(request: pytest.FixtureRequest) -> Opening:
    if request.param == "memory":
        return in_memory_subject
    url = request.getfixturevalue(f"{request.param}_url")
    return lambda: sql_subject(url)


async def test_models_are_listed_by_id(open_subject: Opening) -> None:
    async with open_subject() as subject:
        added = [await subject.add(new_model(name)) for name in ("zeta", "alpha", "mid")]
        assert list(subject.catalog.list_models()) == added
        assert [model.id for model in added] == sorted(model.id for model in added)


async def test_a_catalog_may_be_empty(open_subject: Opening) -> None:
    async with open_subject() as subject:
        assert list(subject.catalog.list_models()) == []
        assert subject.catalog.resolve_model("alpha") is None
        assert subject.catalog.resolve_for_launch(1) is None


async def test_a_model_is_found_by_name_alias_and_id(open_subject: Opening) -> None:
    async with open_subject() as subject:
        alpha = await subject.add(new_model("org/alpha", aliases=("a", "first")))
        await subject.add(new_model("beta"))
        for name in ("org/alpha", "a", "first", str(alpha.id)):
            assert subject.catalog.resolve_model(name) == alpha


async def test_letter_case_matters_only_where_nothing_matches_exactly(
    open_subject: Opening,
) -> None:
    async with open_subject() as subject:
        upper = await subject.add(new_model("ALPHA"))
        lower = await subject.add(new_model("alpha"))
        beta = await subject.add(new_model("Beta", aliases=("STRASSE",)))
        assert subject.catalog.resolve_model("ALPHA") == upper
        assert subject.catalog.resolve_model("alpha") == lower
        assert subject.catalog.resolve_model("bETA") == beta
        assert subject.catalog.resolve_model("straße") == beta


async def test_a_name_that_two_models_have_but_for_case_is_none_of_them(
    open_subject: Opening,
) -> None:
    async with open_subject() as subject:
        await subject.add(new_model("ALPHA"))
        await subject.add(new_model("beta", aliases=("alpha",)))
        assert subject.catalog.resolve_model("Alpha") is None


@pytest.mark.parametrize("name", ["", "alph", "alpha ", "99", "-1", "\u0661", "9" * 5000, "1.0"])
async def test_what_no_model_is_called_is_not_found(open_subject: Opening, name: str) -> None:
    async with open_subject() as subject:
        await subject.add(new_model("alpha"))
        assert subject.catalog.resolve_model(name) is None


async def test_a_launch_is_described_by_id(open_subject: Opening) -> None:
    async with open_subject() as subject:
        alpha = await subject.add(new_model("alpha", parallel=2, arguments=("--temp", "0")))
        spec = subject.catalog.resolve_for_launch(alpha.id)
        assert spec is not None
        assert (spec.model_id, spec.name, spec.path) == (alpha.id, "alpha", alpha.path)
        assert (spec.parallel, spec.arguments) == (2, ("--temp", "0"))
        assert subject.catalog.resolve_for_launch(alpha.id + 1) is None


async def test_a_removed_model_is_gone_by_every_name(open_subject: Opening) -> None:
    async with open_subject() as subject:
        alpha = await subject.add(new_model("alpha", aliases=("a",)))
        beta = await subject.add(new_model("beta"))
        await subject.remove(alpha)
        assert list(subject.catalog.list_models()) == [beta]
        for name in ("alpha", "a", "ALPHA", str(alpha.id)):
            assert subject.catalog.resolve_model(name) is None
        assert subject.catalog.resolve_for_launch(alpha.id) is None


async def test_the_revision_grows_with_each_change_and_only_then(open_subject: Opening) -> None:
    async with open_subject() as subject:
        seen = [subject.catalog.revision, subject.catalog.revision]
        assert seen[0] == seen[1]
        alpha = await subject.add(new_model("alpha"))
        seen.append(subject.catalog.revision)
        await subject.remove(alpha)
        seen.append(subject.catalog.revision)
        assert seen[1] < seen[2] < seen[3]


async def test_what_was_listed_stays_as_it_was(open_subject: Opening) -> None:
    async with open_subject() as subject:
        alpha = await subject.add(new_model("alpha"))
        before = subject.catalog.list_models()
        await subject.add(new_model("beta"))
        assert list(before) == [alpha]


async def test_listeners_are_called_when_everything_has_changed(open_subject: Opening) -> None:
    async with open_subject() as subject:
        heard: list[tuple[int, list[str], bool]] = []

        def listen() -> None:
            names = [model.name for model in subject.catalog.list_models()]
            is_found = subject.catalog.resolve_model("alpha") is not None
            heard.append((subject.catalog.revision, names, is_found))

        remove_listener = subject.catalog.add_listener(listen)
        alpha = await subject.add(new_model("alpha"))
        assert heard == [(subject.catalog.revision, ["alpha"], True)]
        await subject.remove(alpha)
        assert heard[1:] == [(subject.catalog.revision, [], False)]
        remove_listener()
        remove_listener()
        await subject.add(new_model("beta"))
        assert len(heard) == 2
