"""How generations reach their database: when it fails, fills up or is slow, and at the end."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy import event
from sqlalchemy.engine import Engine

from gglib_core.generations import Generation, GenerationFilter
from gglib_runtime.catalog.database import open_database, reading, writing
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.generations.history import SqlGenerationHistory, find_generation, read_page
from gglib_runtime.generations.log import ROWS_IN_A_BATCH, SqlGenerationLog
from gglib_runtime.generations.pace import STEP_ROWS, Pace
from gglib_runtime.generations.rows import PURGED_AT_ONCE, insert_missing, insert_rows, purge
from gglib_runtime.generations.tables import generations
from gglib_runtime.generations.unwritten import UnwrittenGenerations
from gglib_runtime.generations.writer import open_generation_log
from gglib_runtime.retention import Retention
from tests.generations import generation

pytest_plugins = ["tests.databases"]

EVERYTHING = GenerationFilter()
BOUND_SECONDS = 20
SQLITE_DEFAULT_VALUES = 32_766
"""What a statement may be given at most, where SQLite was built as it comes."""
LOSS_SECONDS = 1.0
"""What docs/reliability.md says that a killed gglib loses at most."""


@pytest.fixture
def database(tmp_path: Path) -> Generator[Engine]:
    with open_database(tmp_path / "gglib.db", busy_seconds=0.01) as engine:
        upgrade(engine)
        yield engine


@pytest.fixture
def unwritten(tmp_path: Path) -> Path:
    return tmp_path / "unwritten.jsonl"


def some(count: int) -> list[Generation]:
    now = int(time.time() * 1000)
    return [generation(id=f"gen-{number}", created_ms=now + number) for number in range(count)]


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def ids_in(engine: Engine) -> list[str]:
    query = sa.select(generations.c.id).order_by(generations.c.seq)
    with reading(engine) as connection:
        return list(connection.execute(query).scalars())


@asynccontextmanager
async def locked(engine: Engine) -> AsyncGenerator[None]:
    """Somebody else writes to the database for as long as the block runs."""
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE revision SET number = number + 1")
        yield


async def written(log: SqlGenerationLog) -> bool:
    async with asyncio.timeout(BOUND_SECONDS):
        return await log.flush(BOUND_SECONDS)


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while text not in caplog.text:  # noqa: ASYNC110 - it comes from another thread
            await asyncio.sleep(0.005)


async def test_the_end_of_the_log_waits_until_everything_is_written(
    database: Engine, unwritten: Path
) -> None:
    rows = some(2345)
    async with open_generation_log(database, unwritten=unwritten) as log:
        for row in rows:
            log.record(row)
    assert ids_in(database) == [row.id for row in rows]
    assert content(unwritten) is None


async def test_everything_is_written_also_when_the_server_fails(
    database: Engine, unwritten: Path
) -> None:
    async def serve() -> None:
        async with open_generation_log(database, unwritten=unwritten) as log:
            log.record(generation())
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await serve()
    assert len(ids_in(database)) == 1


async def test_everything_is_written_also_when_the_server_is_cancelled(
    database: Engine, unwritten: Path
) -> None:
    is_open = asyncio.Event()

    async def serve() -> None:
        async with open_generation_log(database, unwritten=unwritten) as log:
            log.record(generation())
            is_open.set()
            await asyncio.Event().wait()

    serving = asyncio.create_task(serve())
    await is_open.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert len(ids_in(database)) == 1


@pytest.mark.parametrize("reason", ["asked for", "full batch", "closed"])
async def test_rows_are_written_at_once_where_somebody_waits(
    database: Engine, unwritten: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr("gglib_runtime.generations.log.BATCH_SECONDS", 3600)
    rows = some(ROWS_IN_A_BATCH if reason == "full batch" else 1)
    async with asyncio.timeout(BOUND_SECONDS):
        async with open_generation_log(database, unwritten=unwritten) as log:
            for row in rows:
                log.record(row)
            if reason == "asked for":
                assert await log.flush(BOUND_SECONDS)
            if reason == "full batch":
                await until(lambda: len(ids_in(database)) == len(rows))
        assert len(ids_in(database)) == len(rows)


async def test_rows_are_taken_while_others_come() -> None:
    log = SqlGenerationLog()
    rows = some(2 * ROWS_IN_A_BATCH)
    is_over = threading.Event()

    def add_and_drop() -> None:  # both ends change, as nowhere else
        for row in rows:
            log.record(row)
        while not is_over.is_set():
            log.record(rows[0])
            log.drop(1)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=add_and_drop)
    thread.start()
    try:
        await until(lambda: log.waiting >= len(rows))
        for _ in range(20_000):
            assert len(log.oldest()) == ROWS_IN_A_BATCH
    finally:
        is_over.set()
        thread.join()
        sys.setswitchinterval(before)


async def test_a_bug_does_not_end_the_thread_that_writes(
    database: Engine,
    unwritten: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gglib_runtime.generations.writer._LONGEST_PAUSE_SECONDS", 0.01)
    oldest, failures = SqlGenerationLog.oldest, [RuntimeError("a bug")]

    def fail_once(log: SqlGenerationLog) -> list[Generation]:
        if failures:
            raise failures.pop()
        return oldest(log)

    monkeypatch.setattr(SqlGenerationLog, "oldest", fail_once)
    async with open_generation_log(database, unwritten=unwritten) as log:
        log.record(some(1)[0])
        assert await written(log)
    assert not failures
    assert "A bug in the writing of generations" in caplog.text


async def test_rows_wait_for_a_locked_database_and_none_is_dropped(
    database: Engine, unwritten: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = some(7)
    async with open_generation_log(database, unwritten=unwritten, capacity=5) as log:
        history = SqlGenerationHistory(database, log)
        async with locked(database):
            for row in rows[:4]:
                log.record(row)
            assert not log.is_full
            for row in rows[4:]:  # those that were admitted before it was full
                log.record(row)
            assert log.is_full
            waiting = asyncio.create_task(log.wait_for_room())
            await logged(caplog, "cannot be written, and wait in memory")
            assert "is locked" in caplog.text
            assert not waiting.done()
            assert await history.find("gen-6") == rows[6]
        async with asyncio.timeout(BOUND_SECONDS):
            await waiting
        assert not log.is_full
        assert await written(log)
        assert "can be written again" in caplog.text
    assert ids_in(database) == [row.id for row in rows]


async def test_who_gives_up_waiting_leaves_nothing_behind(
    database: Engine, unwritten: Path
) -> None:
    async with open_generation_log(database, unwritten=unwritten, capacity=1) as log:
        async with locked(database):
            log.record(generation())
            waiting = [asyncio.create_task(log.wait_for_room()) for _ in range(2)]
            assert not await log.flush(0.01)
            assert repr(log) == "<SqlGenerationLog 1 waiting, 0 written, 2 waiting for that>"
            waiting[0].cancel()
            await asyncio.gather(waiting[0], return_exceptions=True)
            assert repr(log) == "<SqlGenerationLog 1 waiting, 0 written, 1 waiting for that>"
        async with asyncio.timeout(BOUND_SECONDS):
            await waiting[1]
    assert waiting[0].cancelled()
    assert repr(log) == "<SqlGenerationLog 0 waiting, 1 written, 0 waiting for that>"


async def test_a_page_does_not_wait_for_ever_for_what_cannot_be_written(
    database: Engine, unwritten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gglib_runtime.generations.history.FLUSH_SECONDS", 0.01)
    async with open_generation_log(database, unwritten=unwritten) as log:
        history = SqlGenerationHistory(database, log)
        async with locked(database):
            log.record(generation())
            page = await history.page(EVERYTHING, limit=10)
    assert list(page.generations) == []


async def test_rows_wait_while_the_disk_is_full(
    database: Engine, unwritten: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = some(500)

    @event.listens_for(database, "connect")
    def _(connection: Any, _: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        limit = 1_000_000 if is_freed.is_set() else pages + 2
        connection.execute(f"PRAGMA max_page_count={limit}")

    is_freed = asyncio.Event()
    database.dispose()
    async with open_generation_log(database, unwritten=unwritten) as log:
        for row in rows:
            log.record(row)
        await logged(caplog, "the disk is full")
        assert ids_in(database) == []
        is_freed.set()
        database.dispose()
        assert await written(log)
    assert ids_in(database) == [row.id for row in rows]


async def test_rows_wait_for_their_table(
    database_url: str, unwritten: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = some(3)
    with open_database(database_url) as engine:
        upgrade(engine)
        rename(engine, "generations", "elsewhere")
        async with open_generation_log(engine, unwritten=unwritten) as log:
            for row in rows:
                log.record(row)
            await logged(caplog, "cannot be written, and wait in memory")
            rename(engine, "elsewhere", "generations")
            assert await written(log)
        assert sorted(ids_in(engine)) == [row.id for row in rows]


def rename(engine: Engine, old: str, new: str) -> None:
    with writing(engine) as connection:
        connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")


async def test_what_cannot_be_written_at_the_end_is_taken_in_by_the_next_start(
    database: Engine, unwritten: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = some(1200)
    async with (
        locked(database),
        open_generation_log(database, unwritten=unwritten, drain_seconds=0.1) as log,
    ):
        for row in rows:
            log.record(row)
    assert ids_in(database) == []
    assert str(unwritten) in caplog.text
    assert mode(unwritten) == 0o600

    caplog.set_level(logging.INFO)
    async with open_generation_log(database, unwritten=unwritten):
        await logged(caplog, "1200 generations were taken from")
    assert ids_in(database) == [row.id for row in rows]
    assert content(unwritten) is None
    with reading(database) as connection:
        stored = connection.execute(sa.select(generations).order_by(generations.c.seq)).all()
    assert [tuple(row[1:]) for row in stored] == [tuple(row) for row in rows]


async def test_a_damaged_line_of_that_file_keeps_no_other_from_the_database(
    database: Engine, unwritten: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        locked(database),
        open_generation_log(database, unwritten=unwritten, drain_seconds=0.1) as log,
    ):
        for row in some(2):
            log.record(row)
    first, second = (content(unwritten) or b"").splitlines(keepends=True)
    damaged = b'{"id": 1}\nno JSON\n[]\n\xff\n\n'
    await to_thread.run_sync(unwritten.write_bytes, first + damaged + second + second[:50])
    async with open_generation_log(database, unwritten=unwritten):
        await logged(caplog, "has 5 lines that cannot be read")
    assert ids_in(database) == ["gen-0", "gen-1"]


async def test_a_database_that_does_not_answer_keeps_nobody_from_ending(
    database: Engine,
    unwritten: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gglib_runtime.generations.writer._SILENCE_SECONDS", 0.0)
    rows = some(3)
    with silent(database) as is_asked:
        async with open_generation_log(database, unwritten=unwritten, drain_seconds=0.1) as log:
            writer = thread_that_writes()
            for row in rows:
                log.record(row)
            await until(is_asked.is_set)
        assert f"3 generations were not written; the next start takes them from {unwritten}" in (
            caplog.text
        )
    await to_thread.run_sync(writer.join, BOUND_SECONDS)
    assert not writer.is_alive()
    assert "A bug" not in caplog.text

    caplog.set_level(logging.INFO)
    async with open_generation_log(database, unwritten=unwritten):
        await logged(caplog, "3 generations were taken from")
    assert ids_in(database) == [row.id for row in rows]


@contextmanager
def silent(engine: Engine) -> Generator[threading.Event]:
    """The database takes questions and answers none for as long as the block runs."""
    is_asked, is_over = threading.Event(), threading.Event()

    @event.listens_for(engine, "before_cursor_execute")
    def wait(*_: Any) -> None:
        is_asked.set()
        is_over.wait(BOUND_SECONDS)

    try:
        yield is_asked
    finally:
        is_over.set()


def thread_that_writes() -> threading.Thread:
    (found,) = [each for each in threading.enumerate() if each.name == "generations"]
    return found


async def test_a_row_that_no_file_takes_as_it_is_is_put_aside_with_the_others(
    database: Engine, unwritten: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        locked(database),
        open_generation_log(database, unwritten=unwritten, drain_seconds=0.1) as log,
    ):
        log.record(generation(id="first"))
        for number, fields in enumerate(POISON):
            log.record(generation(id=f"bad-{number}", **fields))
    caplog.set_level(logging.INFO)
    async with open_generation_log(database, unwritten=unwritten, retention=Retention(seconds=0)):
        await logged(caplog, "5 generations were taken from")
    assert ids_in(database) == ["first", "bad-0", "bad-1", "bad-2", "bad-3"]


async def test_a_line_that_was_cut_by_a_full_disk_takes_no_other_along(
    database: Engine, unwritten: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = some(4)
    await to_thread.run_sync(UnwrittenGenerations(unwritten).append, rows[:2])
    await to_thread.run_sync(os.truncate, unwritten, len(content(unwritten) or b"") - 9)
    async with (
        locked(database),
        open_generation_log(database, unwritten=unwritten, drain_seconds=0.1) as log,
    ):
        for row in rows[2:]:
            log.record(row)
    caplog.set_level(logging.INFO)
    async with open_generation_log(database, unwritten=unwritten):
        await logged(caplog, "3 generations were taken from")
    assert ids_in(database) == ["gen-0", "gen-2", "gen-3"]


async def test_it_is_said_how_many_rows_are_lost_where_no_file_takes_them(
    database: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = tmp_path / "missing" / "unwritten.jsonl"
    async with (
        locked(database),
        open_generation_log(database, unwritten=missing, drain_seconds=0.1) as log,
    ):
        for row in some(3):
            log.record(row)
    assert "3 generations are lost: " in caplog.text
    assert str(missing) in caplog.text


POISON = (
    {"upstream_id": "a\0b"},
    {"finish_reason": "\udcff"},
    {"prompt_tokens": 2**80},
    {"tokens_per_second": float("inf"), "total_ms": float("nan")},
)


@pytest.mark.parametrize("fields", POISON, ids=lambda fields: next(iter(fields)))
async def test_a_row_that_no_database_takes_as_it_is_keeps_none_waiting(
    database_url: str, unwritten: Path, fields: dict[str, Any]
) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        async with open_generation_log(engine, unwritten=unwritten) as log:
            log.record(generation(id="first"))
            log.record(generation(id="bad", **fields))
            log.record(generation(id="last"))
            assert await written(log)
        assert ids_in(engine) == ["first", "bad", "last"]


async def test_a_row_that_is_refused_for_good_is_put_aside(
    database_url: str, unwritten: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        async with open_generation_log(engine, unwritten=unwritten) as log:
            log.record(generation(id="first"))
            log.record(generation(id="bad", model=None))
            log.record(generation(id="last"))
            assert await written(log)
        assert ids_in(engine) == ["first", "last"]
    refused = unwritten.with_suffix(".refused.jsonl")
    assert b'"id":"bad"' in (content(refused) or b"")
    assert f"refuses 1 generations: see {refused}" in caplog.text
    assert content(unwritten) is None


def test_a_batch_that_has_arrived_in_part_is_completed(database_url: str) -> None:
    rows = some(300)
    with open_database(database_url) as engine:
        upgrade(engine)
        insert_rows(engine, rows[:120])
        assert insert_missing(engine, rows) == []
        assert sorted(ids_in(engine)) == sorted(row.id for row in rows)


def test_a_whole_batch_goes_into_one_statement(database: Engine) -> None:
    @event.listens_for(database, "connect")
    def _(connection: sqlite3.Connection, _: object) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, SQLITE_DEFAULT_VALUES)

    database.dispose()
    rows = some(ROWS_IN_A_BATCH)
    insert_rows(database, rows, EagerPace())
    assert ids_in(database) == [row.id for row in rows]


class EagerPace(Pace):
    """Takes the largest steps from the first."""

    def __init__(self) -> None:
        super().__init__(rest=lambda: None)

    def rows(self, left: int) -> int:
        assert left == STEP_ROWS[-1]
        return left


async def test_old_rows_are_purged_and_no_others(database_url: str, unwritten: Path) -> None:
    old = [generation(id=f"old-{number}", created_ms=number) for number in range(2500)]
    new = [generation(id=f"new-{number}", created_ms=100_000) for number in range(3)]
    with open_database(database_url) as engine:
        upgrade(engine)
        insert_rows(engine, [*old, *new])
        async with open_generation_log(
            engine, unwritten=unwritten, retention=Retention(seconds=50), clock=lambda: 150.0
        ):
            await until(lambda: len(ids_in(engine)) == 3)
        assert ids_in(engine) == ["new-0", "new-1", "new-2"]


async def test_nothing_is_purged_where_everything_is_kept(
    database: Engine, unwritten: Path, caplog: pytest.LogCaptureFixture
) -> None:
    insert_rows(database, [generation(id=f"old-{number}", created_ms=1) for number in range(3)])
    await to_thread.run_sync(unwritten.write_bytes, b"")  # taking it in is the chore before
    caplog.set_level(logging.INFO)
    async with open_generation_log(database, unwritten=unwritten, retention=Retention(seconds=0)):
        await logged(caplog, "0 generations were taken from")
    assert len(ids_in(database)) == 3


def test_a_purge_takes_little_at_once(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        rows = some(PURGED_AT_ONCE + 1)
        insert_rows(engine, rows)
        later_ms = rows[-1].created_ms + 1
        assert purge(engine, later_ms) == PURGED_AT_ONCE
        assert ids_in(engine) == [rows[-1].id]
        assert purge(engine, later_ms) == 1
        assert purge(engine, later_ms) == 0


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while not await to_thread.run_sync(is_true):  # noqa: ASYNC110 - a database is asked
            await asyncio.sleep(0.01)


@contextmanager
def statements(engine: Engine) -> Generator[list[tuple[str, Any]]]:
    """The statements that SQLAlchemy runs meanwhile, with what they are given."""
    seen: list[tuple[str, Any]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        seen.append((statement, parameters))

    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def plan(engine: Engine, seen: Sequence[tuple[str, Any]]) -> str:
    statement, parameters = seen[-1]
    with reading(engine) as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    return "\n".join(row[-1] for row in rows)


def test_an_upstreams_id_is_found_through_its_index(database: Engine) -> None:
    with statements(database) as seen:
        find_generation(database, "chatcmpl-none", 3)
    assert "SEARCH generations USING INDEX ix_generations_upstream_id" in plan(database, seen)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (EVERYTHING, "ix_generations_created_ms"),
        (GenerationFilter(since_ms=5), "ix_generations_created_ms"),
        (GenerationFilter(key_id=3), "ix_generations_key_id"),
        (GenerationFilter(key_id=3, since_ms=5, model="x"), "ix_generations_key_id"),
    ],
)
def test_a_page_is_read_through_an_index_in_its_order(
    database: Engine, wanted: GenerationFilter, index: str
) -> None:
    with statements(database) as seen:
        read_page(database, wanted, 10, "1-1")
    used = plan(database, seen)
    assert index in used
    assert "TEMP B-TREE FOR ORDER" not in used.replace("RIGHT PART OF ", "")


def test_a_killed_process_loses_what_it_recorded_last_at_most(tmp_path: Path) -> None:
    path = tmp_path / "gglib.db"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.generations_process", path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    recorded: dict[str, float] = {}
    try:
        started = None
        for line in process.stdout:
            name, _, moment = line.partition(" ")
            recorded[name] = float(moment)
            started = started or recorded[name]
            if recorded[name] - started > 2.5 * LOSS_SECONDS:
                break
    finally:
        process.kill()
        killed = time.time()
        rest = process.stdout.read()
        process.stdout.close()
        process.wait()
    recorded |= {name: float(moment) for name, moment in map(str.split, rest.splitlines())}
    with open_database(path) as engine:
        kept = set(ids_in(engine))
    due = {name for name, moment in recorded.items() if moment < killed - LOSS_SECONDS}
    assert len(due) > 10
    assert due <= kept
