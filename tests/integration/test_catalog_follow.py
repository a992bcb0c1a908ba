"""How a running server follows its database, and what it does while that fails."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy import event

from gglib_core.errors import CatalogError, DatabaseError, InvalidModel, NameTaken
from gglib_core.models import NewModel
from gglib_runtime.catalog.database import open_database, writing
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.sql_catalog import SqlModelCatalog, open_sql_catalog
from gglib_runtime.catalog.store import SqlModelStore
from tests.catalog_entries import new_model

pytest_plugins = ["tests.databases"]

ROOT = Path(__file__).parents[2]
LOGGER = "gglib_runtime.catalog.sql_catalog"


@asynccontextmanager
async def followed(
    url: str, extra: Sequence[NewModel] = ()
) -> AsyncGenerator[tuple[SqlModelCatalog, SqlModelStore, sa.Engine]]:
    with open_database(url) as engine:
        upgrade(engine)
        async with open_sql_catalog(engine, poll_seconds=0.01, extra=extra) as catalog:
            yield catalog, SqlModelStore(engine), engine


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - not everything that is waited for has an event
            await anyio.sleep(0.005)


def names(catalog: SqlModelCatalog) -> list[str]:
    return [model.name for model in catalog.list_models()]


ADD = """
import sys
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.store import SqlModelStore
from tests.catalog_entries import new_model

with open_database(sys.argv[1]) as engine:
    SqlModelStore(engine).add(new_model("from-elsewhere"))
"""


async def test_what_another_process_adds_is_seen_at_the_usual_interval(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        async with open_sql_catalog(engine) as catalog:
            seen = anyio.Event()
            catalog.add_listener(seen.set)
            command = [sys.executable, "-c", ADD, database_url]
            await to_thread.run_sync(lambda: subprocess.run(command, cwd=ROOT, check=True))
            with anyio.fail_after(2):
                await seen.wait()
            assert names(catalog) == ["from-elsewhere"]


async def test_nothing_is_read_anew_while_nothing_changes(sqlite_url: str) -> None:
    async with followed(sqlite_url) as (catalog, store, engine):
        await to_thread.run_sync(store.add, new_model())
        await until(lambda: names(catalog) == ["alpha"])
        statements: list[str] = []

        @event.listens_for(engine, "before_cursor_execute")
        def note(*arguments: Any) -> None:
            statements.append(arguments[2])

        revision, models = catalog.revision, catalog.list_models()
        await until(lambda: len(statements) > 8)
        assert not any("models" in statement for statement in statements)
        assert catalog.revision == revision
        assert catalog.list_models() is models


async def test_while_the_database_fails_the_models_stay_and_it_is_said_once(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gglib_runtime.catalog.following")
    async with followed(database_url) as (catalog, store, engine):
        await to_thread.run_sync(store.add, new_model())
        await until(lambda: names(catalog) == ["alpha"])
        failures: list[object] = []
        event.listen(engine, "handle_error", failures.append)
        for round_ in (1, 2):
            failures.clear()
            with writing(engine) as connection:
                connection.exec_driver_sql("ALTER TABLE revision RENAME TO revision_away")
            await until(lambda: len(failures) >= 3)
            assert names(catalog) == ["alpha"]
            with writing(engine) as connection:
                connection.exec_driver_sql("ALTER TABLE revision_away RENAME TO revision")
            await until(lambda: caplog.records[-1].levelname == "INFO")
            levels = [record.levelname for record in caplog.records]
            assert levels == ["WARNING", "INFO"] * round_
        assert "revision" in caplog.records[0].getMessage()


async def test_a_restored_backup_is_taken_over_and_the_revision_still_grows(
    sqlite_url: str, tmp_path: Path
) -> None:
    path, backup = tmp_path / "gglib.db", tmp_path / "backup.db"
    async with followed(sqlite_url) as (catalog, store, _):
        await to_thread.run_sync(store.add, new_model("kept"))
        with sqlite3.connect(path) as source, sqlite3.connect(backup) as target:
            source.backup(target)
        source.close()
        target.close()
        await to_thread.run_sync(store.add, new_model("later"))
        await until(lambda: names(catalog) == ["kept", "later"])
        revision = catalog.revision
        for leftover in ("gglib.db-wal", "gglib.db-shm"):
            (tmp_path / leftover).unlink()
        backup.replace(path)
        await until(lambda: names(catalog) == ["kept"])
        assert catalog.revision > revision


async def test_a_database_that_cannot_be_read_at_the_start_is_an_error(sqlite_url: str) -> None:
    with open_database(sqlite_url) as engine, pytest.raises(DatabaseError, match="no such table"):
        async with open_sql_catalog(engine):
            pytest.fail("the catalog was opened")


async def test_what_the_block_raises_comes_out_as_it_is(sqlite_url: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with followed(sqlite_url):
            _ = 1 / 0


async def test_following_ends_with_the_block(sqlite_url: str) -> None:
    with open_database(sqlite_url) as engine:
        upgrade(engine)
        async with open_sql_catalog(engine, poll_seconds=0.001) as catalog:
            heard: list[int] = []
            catalog.add_listener(lambda: heard.append(catalog.revision))
        SqlModelStore(engine).add(new_model())
        await anyio.lowlevel.checkpoint()
        assert heard == []
        assert names(catalog) == []


async def test_a_cancelled_block_ends_its_following(sqlite_url: str) -> None:
    with anyio.move_on_after(5) as scope:
        async with followed(sqlite_url):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_models_of_this_run_stand_beside_the_catalogs_and_are_written_nowhere(
    database_url: str,
) -> None:
    extra = [new_model("beta", aliases=("b",)), new_model("gamma")]
    async with followed(database_url, extra) as (catalog, store, _):
        alpha = await to_thread.run_sync(store.add, new_model("alpha"))
        await until(lambda: "alpha" in names(catalog))
        gamma, beta, *stored = catalog.list_models()
        assert (gamma.id, beta.id) == (-2, -1)
        assert stored == [alpha]
        for model in (beta, gamma):
            assert catalog.resolve_model(model.name) == model
            spec = catalog.resolve_for_launch(model.id)
            assert spec is not None
            assert spec.name == model.name
        assert catalog.resolve_model("b") == catalog.resolve_model("beta")
        assert store.list() == (alpha,)


async def test_a_model_of_this_run_may_not_take_another_files_name(sqlite_url: str) -> None:
    with open_database(sqlite_url) as engine:
        upgrade(engine)
        SqlModelStore(engine).add(new_model("alpha", aliases=("a",)))
    extra = new_model("a", paths=("/elsewhere/a.gguf",))
    with pytest.raises(NameTaken, match="'a' is taken by the model 'alpha'"):
        async with followed(sqlite_url, [extra]):
            pytest.fail("the catalog was opened")


@pytest.mark.parametrize(
    ("extra", "error"),
    [
        ([new_model("a", paths=("/1",)), new_model("a", paths=("/2",))], NameTaken),
        ([new_model("7")], InvalidModel),
    ],
)
async def test_models_of_this_run_are_checked_like_others(
    sqlite_url: str, extra: list[NewModel], error: type[CatalogError]
) -> None:
    with pytest.raises(error):
        async with followed(sqlite_url, extra):
            pytest.fail("the catalog was opened")


async def test_a_file_that_is_named_twice_counts_once(sqlite_url: str) -> None:
    async with followed(sqlite_url, [new_model("a"), new_model("a")]) as (catalog, _, _):
        assert names(catalog) == ["a"]


async def test_the_catalogs_own_entry_stands_for_the_same_file_while_it_is_there(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    with open_database(sqlite_url) as engine:
        upgrade(engine)
        alpha = SqlModelStore(engine).add(new_model("alpha", parallel=7))
    async with followed(sqlite_url, [new_model("alpha")]) as (catalog, store, _):
        assert catalog.list_models() == (alpha,)
        await to_thread.run_sync(store.remove, alpha.id)
        await until(lambda: [model.id for model in catalog.list_models()] == [-1])
        again = await to_thread.run_sync(store.add, new_model("ALPHA", aliases=("alpha",)))
        await until(lambda: catalog.list_models() == (again,))
        taken_over = [record.getMessage() for record in caplog.records]
        assert len(taken_over) == 2
        assert all("'alpha'" in message for message in taken_over)
