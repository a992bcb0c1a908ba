"""What every `StoredModels` promises, held against the in-memory one and the SQL one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from gglib_core.errors import InvalidModel, NameTaken, NoSuchModel
from gglib_core.stored_models import InMemoryStoredModels, StoredModels
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.sql_stored_models import SqlStoredModels
from gglib_runtime.catalog.store import SqlModelStore
from tests.catalog_entries import FULL, new_model

pytest_plugins = ["tests.databases"]


def clock() -> float:
    return 1_800_000_000.9


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def models(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoredModels]:
    if request.param == "memory":
        yield InMemoryStoredModels(clock=clock)
        return
    with open_database(cast("str", request.getfixturevalue(f"{request.param}_url"))) as engine:
        upgrade(engine)
        yield SqlStoredModels(SqlModelStore(engine, clock=clock))


async def test_a_model_is_what_it_was_added_as(models: StoredModels) -> None:
    new = new_model("full", **FULL)
    added = await models.add(new)
    assert {f.name: getattr(added, f.name) for f in dataclasses.fields(new)} == {
        f.name: getattr(new, f.name) for f in dataclasses.fields(new)
    }
    assert added.created == 1_800_000_000
    assert list(await models.list()) == [added]


async def test_a_model_is_found_by_name_alias_id_and_other_capitals(models: StoredModels) -> None:
    added = await models.add(new_model("Alpha", aliases=("first",)))
    for name in ("Alpha", "first", str(added.id), "ALPHA"):
        assert await models.find(name) == added
    with pytest.raises(NoSuchModel, match="Did you mean 'Alpha'"):
        await models.find("Alphaa")


async def test_no_id_comes_twice(models: StoredModels) -> None:
    one, two = [await models.add(new_model(name)) for name in ("one", "two")]
    assert await models.remove(two.id) == two
    three = await models.add(new_model("three"))
    assert three.id > two.id > one.id
    assert list(await models.list()) == [one, three]


async def test_what_is_not_named_stays(models: StoredModels) -> None:
    old = await models.add(new_model("full", **FULL))
    new = await models.edit(old.id, name="other", context=None)
    assert new == replace(old, name="other", context=None) == await models.find("other")


async def test_a_file_is_taken_twice_only_where_that_is_meant(models: StoredModels) -> None:
    await models.add(new_model("one", paths=("/models/x.gguf",)))
    again = new_model("two", paths=("/models/x.gguf",))
    with pytest.raises(InvalidModel) as caught:
        await models.add(again)
    assert [name for name, _ in caught.value.problems] == ["path"]
    assert (await models.add(again, allow_same_file=True)).path == "/models/x.gguf"


async def test_what_is_refused_has_changed_nothing(models: StoredModels) -> None:
    added = [await models.add(new_model(name, aliases=(f"{name}-alias",))) for name in ("a", "b")]
    with pytest.raises(NameTaken):
        await models.add(new_model("c", aliases=("a-alias",)))
    with pytest.raises(NameTaken):
        await models.edit(added[0].id, name="b", parallel=2)
    with pytest.raises(InvalidModel):
        await models.add(new_model("7"))
    with pytest.raises(InvalidModel):
        await models.edit(added[0].id, parallel=0)
    for change in (models.edit, models.remove):
        with pytest.raises(NoSuchModel):
            await change(4711)
    assert list(await models.list()) == added


async def test_everything_that_is_wrong_is_named_at_once(models: StoredModels) -> None:
    with pytest.raises(InvalidModel) as caught:
        await models.add(new_model("7", parallel=0, tags=("t", "t"), currency="money"))
    assert [name for name, _ in caught.value.problems] == ["name", "parallel", "tags", "currency"]
    for _, issue in caught.value.problems:
        assert issue in str(caught.value)
