"""The records of requests: found at once, and kept when the database or gglib fails."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from tests.faults import ask, faulty_server, header_id, nothing_left
from tests.serving import WAIT_SECONDS, Served, serving


@contextmanager
def locked_database(server: Served) -> Generator[None]:
    """Another program writes to the database for as long as the block runs."""
    path = server.shell.data_dir / "gglib.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout=10000")
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def shown(server: Served, generation_id: str) -> dict[str, Any]:
    answer = await to_thread.run_sync(server.get, f"/v1/generation?id={generation_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def stored(server: Served) -> list[str]:
    found = await to_thread.run_sync(server.shell.json, "generations")
    return [each["id"] for each in found]


async def until_stored(server: Served, ids: list[str]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while await stored(server) != ids:  # noqa: ASYNC110 - another process writes
            await asyncio.sleep(0.05)


async def test_a_client_finds_its_record_as_soon_as_it_has_its_answer(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        answer = await ask(server)
        assert answer.status == 200
        record = await shown(server, header_id(answer))
        assert await shown(server, answer.json["id"]) == record
        assert record["upstream_id"] == answer.json["id"]
        assert record["tokens"]["completion_tokens"] == answer.json["usage"]["completion_tokens"]
        await nothing_left(server)


async def test_while_the_database_is_locked_answers_go_on_and_records_wait(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        first = header_id(await ask(server))
        await until_stored(server, [first])
        with locked_database(server):
            second = header_id(await ask(server))
            assert (await shown(server, second))["status"] == 200
            assert await stored(server) == [first]
        await until_stored(server, [second, first])
        await nothing_left(server)


@pytest.mark.slow
async def test_records_that_no_database_took_are_taken_in_by_the_next_server(
    tmp_path: Path,
) -> None:
    with faulty_server(tmp_path) as server:
        await until_stored(server, [first := header_id(await ask(server))])
        with locked_database(server):
            second = header_id(await ask(server))
            assert await to_thread.run_sync(server.stop) == 0
        waiting = server.shell.data_dir / "unwritten-generations.jsonl"
        assert second in await to_thread.run_sync(waiting.read_text)
        assert await stored(server) == [first]
        with serving(server.shell) as again:
            await until_stored(again, [second, first])
        assert not await to_thread.run_sync(waiting.exists)


async def test_what_was_written_outlives_a_kill(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        await until_stored(server, [first := header_id(await ask(server))])
        assert await to_thread.run_sync(server.stop, signal.SIGKILL) == -signal.SIGKILL
        with serving(server.shell) as again:
            assert (await shown(again, first))["id"] == first
