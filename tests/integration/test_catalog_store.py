"""Adding, changing and removing models in a database."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gglib_core.errors import DatabaseError, InvalidModel, NameTaken, NoSuchModel
from gglib_core.models import Capability, GgufFacts, NewModel
from gglib_core.stored_models import ModelChanges
from gglib_runtime.catalog.database import open_database, writing
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.store import SqlModelStore
from tests.catalog_entries import FULL, new_model

pytest_plugins = ["tests.databases"]


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    with open_database(database_url) as engine:
        upgrade(engine)
        yield engine


@pytest.fixture
def store(engine: sa.Engine) -> SqlModelStore:
    return SqlModelStore(engine, clock=lambda: 1_800_000_000.9)


def test_every_property_comes_back_as_it_was_given(store: SqlModelStore) -> None:
    new = new_model("full", **FULL)
    added = store.add(new)
    given = {field.name: getattr(new, field.name) for field in dataclasses.fields(NewModel)}
    returned = {name: getattr(added, name) for name in given}
    assert returned == given
    assert added.created == 1_800_000_000
    assert store.get(added.id) == added
    assert store.list() == (added,)


def test_what_is_not_said_stays_unsaid(store: SqlModelStore) -> None:
    plain = store.add(new_model())
    assert store.get(plain.id) == plain
    assert (plain.context, plain.idle_seconds, plain.aliases) == (None, None, ())


def test_each_property_can_be_changed_alone(store: SqlModelStore) -> None:
    plain = store.add(new_model())
    expected = plain
    for name, value in FULL.items():
        changes: Any = {name: value}
        expected = dataclasses.replace(expected, **changes)
        assert store.edit(plain.id, **changes) == expected
        assert store.get(plain.id) == expected
    renamed = store.edit(plain.id, name="renamed")
    assert renamed == dataclasses.replace(expected, name="renamed")


def test_every_property_is_among_the_changes() -> None:
    assert set(ModelChanges.__annotations__) == {f.name for f in dataclasses.fields(NewModel)}


def test_an_alias_can_become_the_name_and_the_name_an_alias(store: SqlModelStore) -> None:
    alpha = store.add(new_model("alpha", aliases=("a", "b")))
    store.edit(alpha.id, name="b", aliases=("alpha",))
    snapshot = store.snapshot()
    assert set(snapshot.names) == {"b", "alpha"}
    assert snapshot.list_models()[0].aliases == ("alpha",)


@pytest.mark.parametrize("taken", ["alpha", "a"])
def test_a_name_belongs_to_one_model_as_name_or_alias(store: SqlModelStore, taken: str) -> None:
    store.add(new_model("alpha", aliases=("a",)))
    beta = store.add(new_model("beta"))
    before = store.snapshot()
    changes: list[Any] = [{"name": taken}, {"aliases": ("b", taken)}]
    for change in changes:
        with pytest.raises(NameTaken, match=f"'{taken}' is taken by the model 'alpha'"):
            store.edit(beta.id, **change)
        with pytest.raises(NameTaken, match=f"'{taken}' is taken by the model 'alpha'"):
            store.add(new_model(**({"name": "gamma", "paths": ("/gamma.gguf",)} | change)))
    assert store.list() == before.list_models()
    assert store.snapshot().revision == before.revision


def test_a_removed_models_names_are_free_and_its_id_is_not(store: SqlModelStore) -> None:
    first = store.add(new_model("alpha", aliases=("a",)))
    assert store.remove(first.id) == first
    second = store.add(new_model("alpha", aliases=("a",)))
    assert second.id > first.id


def test_what_is_not_there_cannot_be_changed(store: SqlModelStore) -> None:
    for call in (store.get, store.remove, store.edit):
        with pytest.raises(NoSuchModel, match="99"):
            call(99)
    assert store.snapshot().revision == 0


def test_what_no_engine_could_use_is_refused_and_changes_nothing(store: SqlModelStore) -> None:
    with pytest.raises(InvalidModel, match="context"):
        store.add(new_model(context=0))
    alpha = store.add(new_model())
    with pytest.raises(InvalidModel, match="--port"):
        store.edit(alpha.id, arguments=("--port=1",))
    assert store.get(alpha.id) == alpha
    assert store.snapshot().revision == 1


def test_each_change_is_a_revision(store: SqlModelStore) -> None:
    seen = [store.snapshot().revision]
    alpha = store.add(new_model())
    seen.append(store.snapshot().revision)
    store.edit(alpha.id, is_pinned=True)
    seen.append(store.snapshot().revision)
    store.remove(alpha.id)
    seen.append(store.snapshot().revision)
    assert seen == [0, 1, 2, 3]


def test_a_file_is_in_the_catalog_once_unless_a_second_entry_is_meant(
    store: SqlModelStore, tmp_path: Path
) -> None:
    file, link = tmp_path / "file.gguf", tmp_path / "link.gguf"
    file.touch()
    link.symlink_to(file)
    first = store.add(new_model("first", paths=(str(file),)))
    again = new_model("again", paths=(str(link),))
    with pytest.raises(InvalidModel, match="already, as 'first'"):
        store.add(again)
    second = store.add(again, allow_same_file=True)
    assert store.find_file(str(link)) == store.find_file(str(file)) == first
    store.remove(first.id)
    assert store.find_file(str(file)) == second
    assert store.find_file(str(tmp_path / "other.gguf")) is None


def test_a_file_that_moved_is_known_by_its_new_path(store: SqlModelStore, tmp_path: Path) -> None:
    alpha = store.add(new_model(paths=("/old.gguf",)))
    moved = store.edit(alpha.id, paths=(str(tmp_path / "new.gguf"),))
    assert store.find_file(str(tmp_path / "new.gguf")) == moved
    assert store.find_file("/old.gguf") is None


def test_of_many_who_want_a_name_at_once_one_gets_it(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        store = SqlModelStore(engine)
        start = threading.Barrier(4)
        added: list[int] = []
        refused: list[str] = []

        def add(number: int) -> None:
            start.wait(10)
            try:
                model = store.add(new_model(f"model-{number}", aliases=("wanted",)))
            except NameTaken as error:
                refused.append(error.name)
            else:
                added.append(model.id)

        threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(added) == 1
        assert refused == ["wanted"] * 3
        assert store.snapshot().revision == 1


def test_facts_of_a_newer_reader_are_passed_over_and_missing_ones_unknown(
    engine: sa.Engine, store: SqlModelStore
) -> None:
    alpha = store.add(new_model(facts=GgufFacts(architecture="llama", layers=2)))
    with writing(engine) as connection:
        connection.exec_driver_sql(
            """UPDATE models SET facts = '{"architecture": "llama", "experts": 8}'"""
        )
    assert store.get(alpha.id).facts == GgufFacts(architecture="llama")


@pytest.mark.parametrize(
    "damage",
    [
        """UPDATE models SET facts = '{"layers": 2}'""",
        """UPDATE models SET facts = '[]'""",
        """UPDATE models SET capabilities = '["telepathy"]'""",
        """DELETE FROM model_names""",
    ],
)
def test_an_entry_that_was_tampered_with_is_one_clear_error(
    engine: sa.Engine, store: SqlModelStore, damage: str
) -> None:
    alpha = store.add(new_model(capabilities=frozenset({Capability.CHAT})))
    with writing(engine) as connection:
        connection.exec_driver_sql(damage)
    with pytest.raises(DatabaseError, match="cannot be read"):
        store.snapshot()
    with pytest.raises(DatabaseError, match="cannot be read"):
        store.get(alpha.id)
