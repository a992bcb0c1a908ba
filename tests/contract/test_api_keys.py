"""What every `ApiKeys` promises, held against the in-memory one and the SQL one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from gglib_core.api_keys import ApiKeys, InMemoryApiKeys, NewKey
from gglib_core.errors import InvalidKey, KeyNameTaken, NoSuchKey
from gglib_core.keys import Allowance, Endpoint, mask_of
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.keys.sql_api_keys import SqlApiKeys
from gglib_runtime.keys.store import SqlKeyStore

pytest_plugins = ["tests.databases"]

FULL = NewKey(
    name="full",
    endpoints=frozenset({Endpoint.LOGS}),
    models=("small-*",),
    expires=2_000_000_000.5,
    allowance=Allowance(tokens_per_minute=7, budget_per_day=0.25),
)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ApiKeys]:
    def clock() -> float:
        return 1_800_000_000.9

    if request.param == "memory":
        yield InMemoryApiKeys(clock=clock)
        return
    with open_database(cast("str", request.getfixturevalue(f"{request.param}_url"))) as engine:
        upgrade(engine)
        yield SqlApiKeys(SqlKeyStore(engine, tmp_path / "pepper", clock=clock))


async def test_a_key_is_what_it_was_made_to_be(keys: ApiKeys) -> None:
    made = await keys.create(FULL)
    key = made.key
    assert (key.name, key.endpoints, key.models) == ("full", FULL.endpoints, FULL.models)
    assert (key.expires, key.allowance, key.created) == (FULL.expires, FULL.allowance, 1800000000)
    assert (key.mask, key.is_enabled) == (mask_of(made.secret), True)
    assert await keys.get("full") == key
    assert made.secret not in repr(made)


async def test_keys_are_listed_by_id_and_no_id_comes_twice(keys: ApiKeys) -> None:
    made = [(await keys.create(NewKey(name=name))).key for name in ("z", "a", "m")]
    assert list(await keys.list()) == made
    assert await keys.remove("m") == made[2]
    again = (await keys.create(NewKey(name="m"))).key
    assert again.id > made[2].id > made[1].id > made[0].id
    assert list(await keys.list()) == [*made[:2], again]


async def test_what_is_not_named_stays(keys: ApiKeys) -> None:
    old = (await keys.create(FULL)).key
    changed = await keys.edit("full", name="other", is_enabled=False)
    assert changed == replace(old, name="other", is_enabled=False) == await keys.get("other")
    changed = await keys.edit("other", expires=None, models=())
    assert changed == replace(old, name="other", is_enabled=False, expires=None, models=())


async def test_limits_that_are_not_named_stay(keys: ApiKeys) -> None:
    old = (await keys.create(FULL)).key
    await keys.edit("full", limits={"requests_per_minute": 7})
    changed = await keys.edit("full", limits={"tokens_per_minute": None, "budget_per_day": 2.5})
    assert changed.allowance == replace(
        old.allowance, requests_per_minute=7, tokens_per_minute=None, budget_per_day=2.5
    )
    assert changed == replace(old, allowance=changed.allowance) == await keys.get("full")
    with pytest.raises(InvalidKey):
        await keys.edit("full", limits={"budget_per_day": -1.0})
    assert await keys.get("full") == changed


async def test_changes_at_the_same_time_all_count(keys: ApiKeys) -> None:
    await keys.create(NewKey(name="one"))
    await asyncio.gather(
        keys.edit("one", limits={"requests_per_minute": 7}),
        keys.edit("one", limits={"tokens_per_minute": 8}),
        keys.edit("one", limits={"budget_per_day": 9.0}),
    )
    changed = (await keys.get("one")).allowance
    assert changed == Allowance(requests_per_minute=7, tokens_per_minute=8, budget_per_day=9.0)


async def test_a_new_secret_is_all_that_a_rotation_changes(keys: ApiKeys) -> None:
    old = await keys.create(FULL)
    new = await keys.rotate("full")
    assert new.secret != old.secret
    assert new.key == replace(old.key, mask=mask_of(new.secret)) == await keys.get("full")


async def test_what_is_refused_has_changed_nothing(keys: ApiKeys) -> None:
    made = [(await keys.create(NewKey(name=name))).key for name in ("one", "two")]
    with pytest.raises(KeyNameTaken):
        await keys.create(NewKey(name="one"))
    with pytest.raises(KeyNameTaken):
        await keys.edit("one", name="two", is_enabled=False)
    with pytest.raises(InvalidKey):
        await keys.create(NewKey(name="a b"))
    with pytest.raises(InvalidKey):
        await keys.edit("one", endpoints=frozenset())
    for change in (keys.get, keys.rotate, keys.remove, keys.edit):
        with pytest.raises(NoSuchKey):
            await change("ONE")
    assert list(await keys.list()) == made


async def test_a_name_may_be_given_to_itself(keys: ApiKeys) -> None:
    made = (await keys.create(FULL)).key
    assert await keys.edit("full", name="full") == made
