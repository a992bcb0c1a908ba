"""Making and changing API keys in a database, and what becomes of their secrets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from gglib_core.api_keys import LimitChanges, NewKey
from gglib_core.errors import ConfigError, DatabaseError, InvalidKey, KeyNameTaken, NoSuchKey
from gglib_core.keys import Allowance, ApiKey, Endpoint, KeyRing, mask_of
from gglib_runtime.catalog.database import open_database, reading, writing
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.records import read_revision
from gglib_runtime.keys import rows
from gglib_runtime.keys.pepper import make_pepper, read_pepper
from gglib_runtime.keys.store import SqlKeyStore
from gglib_runtime.keys.tables import api_keys

pytest_plugins = ["tests.databases"]

FULL = NewKey(
    name="full",
    endpoints=frozenset({Endpoint.LOGS, Endpoint.ADMIN}),
    models=("small-*", "org/x"),
    expires=2_000_000_000.5,
    allowance=Allowance(requests_per_minute=0, tokens_per_minute=7, budget_per_day=0.25),
)


@pytest.fixture
def pepper_file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "pepper"


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    with open_database(database_url) as engine:
        upgrade(engine)
        yield engine


@pytest.fixture
def store(engine: sa.Engine, pepper_file: Path) -> SqlKeyStore:
    return SqlKeyStore(engine, pepper_file, clock=lambda: 1_800_000_000.9)


def find(engine: sa.Engine, pepper_file: Path, secret: str) -> ApiKey | None:
    with reading(engine) as connection:
        return KeyRing(read_pepper(pepper_file) or b"", rows.read_keys(connection)).find(secret)


def test_a_key_comes_back_as_it_was_made(
    store: SqlKeyStore, engine: sa.Engine, pepper_file: Path
) -> None:
    made = store.create(FULL)
    assert made.key == ApiKey(
        id=1,
        name="full",
        mask=mask_of(made.secret),
        endpoints=FULL.endpoints,
        models=FULL.models,
        expires=FULL.expires,
        allowance=FULL.allowance,
        created=1_800_000_000,
    )
    assert store.get("full") == made.key
    assert list(store.list()) == [made.key]
    assert find(engine, pepper_file, made.secret) == made.key


def test_what_is_stored_does_not_have_the_secret(store: SqlKeyStore, engine: sa.Engine) -> None:
    made = store.create(NewKey(name="one"))
    with reading(engine) as connection:
        (row,) = connection.execute(sa.select(api_keys)).all()
    assert made.secret[14:] not in repr(row)
    assert made.secret not in repr(made)
    assert len(row.digest) == 32


def test_a_key_can_be_changed_and_keeps_its_secret(
    store: SqlKeyStore, engine: sa.Engine, pepper_file: Path
) -> None:
    made = store.create(NewKey(name="one"))
    changed = store.edit(
        "one",
        name="two",
        endpoints=FULL.endpoints,
        models=FULL.models,
        is_enabled=False,
        expires=5.0,
        limits=cast("LimitChanges", asdict(FULL.allowance)),
    )
    assert changed == replace(
        made.key,
        name="two",
        endpoints=FULL.endpoints,
        models=FULL.models,
        is_enabled=False,
        expires=5.0,
        allowance=FULL.allowance,
    )
    assert find(engine, pepper_file, made.secret) == changed == store.get("two")
    assert store.edit("two", expires=None).expires is None


def test_a_rotated_key_has_another_secret_and_is_else_the_same(
    store: SqlKeyStore, engine: sa.Engine, pepper_file: Path
) -> None:
    old = store.create(FULL)
    new = store.rotate("full")
    assert new.secret != old.secret
    assert new.key == replace(old.key, mask=mask_of(new.secret))
    assert find(engine, pepper_file, old.secret) is None
    assert find(engine, pepper_file, new.secret) == new.key


def test_the_id_of_a_removed_key_is_not_given_away_again(store: SqlKeyStore) -> None:
    first = store.create(NewKey(name="one")).key
    assert store.remove("one") == first
    assert list(store.list()) == []
    assert store.create(NewKey(name="one")).key.id > first.id


def test_each_change_counts_the_revision_up_and_a_failed_one_does_not(
    store: SqlKeyStore, engine: sa.Engine
) -> None:
    def revision() -> int:
        with reading(engine) as connection:
            return read_revision(connection)

    store.create(NewKey(name="one"))
    store.edit("one", is_enabled=False)
    store.rotate("one")
    assert revision() == 3
    with pytest.raises(KeyNameTaken, match="There is an API key 'one' already"):
        store.create(NewKey(name="one"))
    with pytest.raises(InvalidKey):
        store.edit("one", endpoints=frozenset())
    for name in ("two", "ONE"):
        with pytest.raises(NoSuchKey, match="gglib key list"):
            store.remove(name)
    store.create(NewKey(name="three"))
    with pytest.raises(KeyNameTaken):
        store.edit("three", name="one")
    assert revision() == 4


def test_the_first_key_can_be_chosen_and_only_the_first(
    store: SqlKeyStore, engine: sa.Engine, pepper_file: Path
) -> None:
    assert store.provide_first("chosen-by-somebody")
    key = find(engine, pepper_file, "chosen-by-somebody")
    assert key is not None
    assert (key.name, key.endpoints) == ("default", {Endpoint.INFERENCE, Endpoint.MODELS})
    assert store.provide_first("chosen-by-somebody")
    assert not store.provide_first("another-that-is-chosen")
    assert list(store.list()) == [key]
    with pytest.raises(InvalidKey):
        store.provide_first("too-short")


def test_of_many_who_make_the_first_key_at_once_one_does(
    store: SqlKeyStore, engine: sa.Engine, pepper_file: Path
) -> None:
    barrier = threading.Barrier(4)
    results: list[bool] = []

    def provide() -> None:
        barrier.wait(10)
        results.append(store.provide_first("chosen-by-somebody"))

    threads = [threading.Thread(target=provide) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
    assert len(store.list()) == 1


def test_a_row_that_makes_no_sense_is_an_error_and_no_open_door(
    store: SqlKeyStore, engine: sa.Engine
) -> None:
    store.create(NewKey(name="one"))
    for values in ({"allowance": {"per_hour": 3}}, {"endpoints": ["everything"]}):
        with writing(engine) as connection:
            connection.execute(api_keys.update().values(**values))
        with pytest.raises(DatabaseError, match="an API key that cannot be read"):
            store.list()


def test_the_pepper_is_made_once_for_this_user_alone(pepper_file: Path) -> None:
    assert read_pepper(pepper_file) is None
    pepper = make_pepper(pepper_file)
    assert len(pepper) == 32
    assert pepper_file.stat().st_mode & 0o777 == 0o600
    assert pepper_file.parent.stat().st_mode & 0o777 == 0o700
    assert make_pepper(pepper_file) == read_pepper(pepper_file) == pepper
    assert list(pepper_file.parent.iterdir()) == [pepper_file]


def test_of_many_peppers_made_at_once_one_counts(pepper_file: Path) -> None:
    barrier = threading.Barrier(8)
    peppers: list[bytes] = []

    def make() -> None:
        barrier.wait(10)
        peppers.append(make_pepper(pepper_file))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(peppers) == 8
    assert set(peppers) == {read_pepper(pepper_file)}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_pepper_that_others_may_read_is_refused(pepper_file: Path, mode: int) -> None:
    make_pepper(pepper_file)
    pepper_file.chmod(mode)
    with pytest.raises(ConfigError, match=f"Run: chmod 600 {pepper_file}"):
        read_pepper(pepper_file)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_pepper_is_refused(pepper_file: Path, content: bytes) -> None:
    make_pepper(pepper_file)
    pepper_file.write_bytes(content)
    with pytest.raises(ConfigError, match="is damaged"):
        make_pepper(pepper_file)


def test_a_pepper_that_cannot_be_read_is_refused(pepper_file: Path) -> None:
    pepper_file.mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        make_pepper(pepper_file)


def test_a_lost_pepper_is_not_replaced_while_there_are_keys(
    store: SqlKeyStore, pepper_file: Path
) -> None:
    store.create(NewKey(name="one"))
    pepper_file.unlink()
    for change in (
        lambda: store.create(NewKey(name="two")),
        lambda: store.rotate("one"),
        lambda: store.provide_first("chosen-by-somebody"),
    ):
        with pytest.raises(ConfigError, match="is missing, and without it no API key"):
            change()
    assert not pepper_file.exists()
    store.remove("one")
    store.create(NewKey(name="two"))
    assert pepper_file.exists()
