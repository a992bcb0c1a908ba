"""The SQL ledger: what is recorded reaches the database, and leaves it when it is old."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
import sqlalchemy as sa

from gglib_core.errors import DatabaseError, InvalidModel
from gglib_core.swaps import SwapOutcome
from gglib_runtime.catalog.database import open_database, reading, writing
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.retention import Retention
from gglib_runtime.swaps import rows, sql_ledger
from gglib_runtime.swaps.sql_ledger import (
    SqlSwapLedger,
    learned_costs,
    open_sql_swap_ledger,
    purge,
)
from gglib_runtime.swaps.tables import swaps
from tests.freezable_database import freezable
from tests.supervision import eventually
from tests.swaps import FULL, a_swap, swap_id

pytest_plugins = ["tests.databases"]


def written(engine: sa.Engine) -> list[str]:
    with reading(engine) as connection:
        return [row.id for row in connection.execute(sa.select(swaps.c.id).order_by(swaps.c.id))]


async def test_what_is_recorded_is_written_without_being_asked_for(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        async with open_sql_swap_ledger(engine, retention=Retention(seconds=0)) as ledger:
            ledger.record(FULL)
            await eventually(lambda: written(engine))


async def test_nothing_is_lost_at_the_end_of_the_block(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        async with open_sql_swap_ledger(engine, retention=Retention(seconds=0)) as ledger:
            for number in range(100):
                ledger.record(a_swap(number))
        assert written(engine) == [swap_id(number) for number in range(100)]


async def test_nothing_is_lost_when_the_block_is_cancelled(sqlite_url: str) -> None:
    with open_database(sqlite_url) as engine:
        upgrade(engine)
        has_recorded = asyncio.Event()

        async def live() -> None:
            async with open_sql_swap_ledger(engine, retention=Retention(seconds=0)) as ledger:
                ledger.record(FULL)
                has_recorded.set()
                await asyncio.Event().wait()

        living = asyncio.create_task(live())
        await has_recorded.wait()
        living.cancel()
        await asyncio.wait([living])
        assert living.cancelled()
        assert written(engine) == [FULL.id]


async def test_what_the_block_raises_leaves_it_as_it_is(sqlite_url: str) -> None:
    with open_database(sqlite_url) as engine:
        upgrade(engine)
        with pytest.raises(InvalidModel):
            async with open_sql_swap_ledger(engine, retention=Retention(seconds=60)):
                raise InvalidModel("as asked")


async def test_a_database_that_cannot_be_written_gets_its_swaps_later(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write, tries = rows.write_swaps, 0

    def fail_twice(*given: object) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise DatabaseError("The disk is full.")
        write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(rows, "write_swaps", fail_twice)
    with open_database(sqlite_url) as engine:
        upgrade(engine)
        async with open_sql_swap_ledger(
            engine, retention=Retention(seconds=0), retry_seconds=0
        ) as ledger:
            ledger.record(FULL)
            await eventually(lambda: written(engine))
    told = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "The disk is full" in told[0]


async def test_swaps_that_can_never_be_written_are_told_of(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*given: object) -> None:
        raise DatabaseError("The disk is full.")

    monkeypatch.setattr(rows, "write_swaps", fail)
    with open_database(sqlite_url) as engine:
        upgrade(engine)
        async with open_sql_swap_ledger(engine, retention=Retention(seconds=0)) as ledger:
            ledger.record(FULL)
            assert await ledger.find(FULL.id) == FULL
    assert "1 swaps are lost" in caplog.text


async def test_no_more_are_kept_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sql_ledger, "PENDING_LIMIT", 2)
    with open_database(tmp_path / "gglib.db") as engine:
        ledger = SqlSwapLedger(engine)
        for number in (1, 2, 2, 3):
            ledger.record(a_swap(number))
        assert await ledger.find(swap_id(2)) == a_swap(2)
        assert f"{swap_id(1)} is lost" in caplog.text


async def test_what_is_recorded_anew_while_it_is_written_is_written_anew(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = rows.write_swaps
    with open_database(sqlite_url) as engine:
        upgrade(engine)
        ledger = SqlSwapLedger(engine)
        later = a_swap(1, served=9)

        def write_slowly(*given: object) -> None:
            write(*given)  # type: ignore[arg-type]
            ledger.record(later)
            monkeypatch.setattr(rows, "write_swaps", write)

        monkeypatch.setattr(rows, "write_swaps", write_slowly)
        ledger.record(a_swap(1))
        assert await ledger.flush()
        assert (await ledger.page(limit=1)).swaps[0] == later


async def test_old_swaps_are_deleted_and_young_ones_stay(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        with writing(engine) as connection:
            rows.write_swaps(connection, [a_swap(number) for number in range(10)])
        now = 1000.0 + 9
        async with open_sql_swap_ledger(engine, retention=Retention(seconds=3), clock=lambda: now):
            await eventually(lambda: len(written(engine)) == 4)
        assert written(engine) == [swap_id(number) for number in (6, 7, 8, 9)]


def test_they_are_deleted_in_small_steps(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        with writing(engine) as connection:
            rows.write_swaps(connection, [a_swap(number) for number in range(5)])
        steps = [purge(engine, 1004.0, step=2) for _ in range(3)]
        assert steps == [True, True, False]
        assert written(engine) == [swap_id(4)]


async def test_without_a_retention_nothing_is_deleted(sqlite_url: str) -> None:
    with open_database(sqlite_url) as engine:
        upgrade(engine)
        async with open_sql_swap_ledger(
            engine, retention=Retention(seconds=0), clock=lambda: 1e12
        ) as ledger:
            ledger.record(FULL)
        assert written(engine) == [FULL.id]


async def test_launches_that_went_well_teach_what_the_next_will_cost(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        taught = [
            a_swap(1, spawn_seconds=1.0, load_seconds=9.0, memory_bytes=100),
            a_swap(2, spawn_seconds=0.0, load_seconds=20.0, memory_bytes=200),
            a_swap(3, load_seconds=99.0, outcome=SwapOutcome.FAILED),
            a_swap(4, load_seconds=7.0, launch_key="another", context=8192),
        ]
        with writing(engine) as connection:
            rows.write_swaps(connection, taught)
        costs = await learned_costs(engine)
        assert costs.load_seconds("key-of-alpha") == 15.0
        assert costs.load_seconds("another") == 7.0
        assert costs.load_seconds("unknown") is None
        known = costs.memory("key-of-alpha", 4096)
        assert known is not None
        assert known.memory_bytes == 200
        assert costs.memory("key-of-alpha", 8192) is None


@pytest.mark.slow
async def test_a_database_that_does_not_answer_keeps_nobody_from_ending(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with freezable(postgres_url) as database:
        with open_database(f"{database.url}&connect_timeout=2") as engine:
            upgrade(engine)
            async with open_sql_swap_ledger(
                engine, retention=Retention(seconds=0), last_seconds=0.05
            ) as ledger:
                await ledger.page(limit=1)  # has a connection from now on
                database.freeze()
                ledger.record(FULL)
                assert await asyncio.to_thread(database.wait_until_asked, 20)
        assert not database.is_patience_over
    assert "1 swaps are lost: the database cannot be written" in caplog.text
