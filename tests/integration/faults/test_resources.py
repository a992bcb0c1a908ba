"""Files, disk space and pages run out: clear errors meanwhile, and no trace afterwards."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from gglib_core.errors import DatabaseError
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.sql_catalog import open_sql_catalog
from gglib_runtime.catalog.store import SqlModelStore
from tests.catalog_entries import new_model
from tests.engines import until
from tests.faults import (
    CHAT,
    answers_again,
    ask,
    body,
    faulty_server,
    nothing_left,
    port_of,
    streaming,
)
from tests.raw_http import open_raw
from tests.serving import Served

needs_prlimit = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits of another process can be set on Linux"
)
_SPIN_SECONDS = 1.0


@contextmanager
def limited(server: Served, which: int, value: int) -> Generator[None]:
    """A soft limit of the server process, for the length of the block."""
    before = resource.prlimit(server.process.pid, which)
    resource.prlimit(server.process.pid, which, (value, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, which, before)


def files_of(server: Served) -> set[int]:
    return {int(each.name) for each in Path(f"/proc/{server.process.pid}/fd").iterdir()}


@contextmanager
def files_left(server: Served, count: int) -> Generator[None]:
    """Let the server open so many more files and no more."""
    used, limit = files_of(server), 0
    while limit - len([each for each in used if each < limit]) < count or limit < 3:
        limit += 1
    with limited(server, resource.RLIMIT_NOFILE, limit):
        yield


async def is_at_rest(server: Served) -> bool:
    """Whether it uses less than half a processor while nobody asks it for anything."""
    process = psutil.Process(server.process.pid)
    before = process.cpu_times()
    await asyncio.sleep(_SPIN_SECONDS)
    after = process.cpu_times()
    return after.user + after.system - before.user - before.system < _SPIN_SECONDS / 2


@needs_prlimit
async def test_without_a_file_for_the_engines_connection_the_client_is_told(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        async with streaming(server) as neighbour, open_raw(port_of(server)) as client:
            assert (await client.ask("GET", "/health")).status == 200
            with files_left(server, 0):
                answer = await client.ask("POST", CHAT, body())
                error = answer.json["error"]
                assert (answer.status, error["code"]) == (503, "out_of_files")
                assert int(answer.headers["retry-after"]) >= 1
                assert "Too many open files" in error["message"]
                assert (await neighbour.chunk()).startswith(b"data: ")
                assert (await client.ask("GET", "/health")).status == 200
            assert (await client.ask("POST", CHAT, body())).status == 200
        await nothing_left(server)


@needs_prlimit
@pytest.mark.slow
async def test_without_files_to_start_an_engine_the_launch_fails_with_its_class(
    tmp_path: Path,
) -> None:
    with faulty_server(tmp_path, "--set=load_stall_seconds=2") as server:
        before = len(files_of(server))
        async with open_raw(port_of(server)) as client:
            for left in (0, 2, 4, 6, 8):
                assert (await client.ask("GET", "/health")).status == 200
                with files_left(server, left):
                    answer = await client.ask("POST", CHAT, body())
                    assert await is_at_rest(server)
                if answer.status == 200:
                    break
                error = answer.json["error"]
                assert (answer.status, error["code"]) == (503, "model_load_failed"), error
                assert error["gglib"]["failure"] in ("out_of_files", "stalled"), error
                await until(lambda: not server.engines())
                await answers_again(server)
                await asyncio.to_thread(server.shell.output, "unload")
            assert left >= 2
        await nothing_left(server)
        await until(lambda: len(files_of(server)) <= before + 2)
        assert "Traceback" not in server.log.read_text()


@needs_prlimit
async def test_clients_that_connect_while_files_are_out_are_served_later(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        assert (await ask(server)).status == 200
        async with open_raw(port_of(server)) as kept:
            assert (await kept.ask("GET", "/health")).status == 200
            with files_left(server, 0):
                asking = [asyncio.create_task(ask(server)) for _ in range(20)]
                assert await is_at_rest(server)
                assert (await kept.ask("GET", "/health")).status == 200
            for answer in await asyncio.gather(*asking):
                assert answer.status == 200
        await nothing_left(server)


# The disk


@needs_prlimit
async def test_a_full_disk_under_the_logs_costs_nothing_but_the_logs(tmp_path: Path) -> None:
    chatter = {"chatter_lines": 20, "chatter_line_bytes": 2_000}
    with faulty_server(tmp_path, models={"alpha": chatter}) as server:
        log = server.shell.data_dir / "logs" / "alpha.log"
        assert (await ask(server)).status == 200
        await until(lambda: log.exists() and log.stat().st_size > 0)
        async with streaming(server) as neighbour:
            with limited(server, resource.RLIMIT_FSIZE, 1):
                full = log.stat().st_size
                for _ in range(10):
                    assert (await ask(server)).status == 200
                assert log.stat().st_size == full
                lines = await asyncio.to_thread(server.shell.output, "logs", "alpha", "-n", "5")
                assert len(lines.splitlines()) == 5
                assert (await neighbour.chunk()).startswith(b"data: ")
        assert (await ask(server)).status == 200
        await until(lambda: log.stat().st_size > full)
        await nothing_left(server)


async def test_a_change_that_a_full_disk_refuses_leaves_the_server_alone(tmp_path: Path) -> None:
    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    with faulty_server(tmp_path) as server:
        async with streaming(server) as neighbour:
            path = tmp_path / "alpha.gguf"
            added = await asyncio.to_thread(
                lambda: server.shell.process(
                    "model", "add", path, "--name", "beta", "--allow-same-file", preexec_fn=fill
                )
            )
            assert added.returncode != 0
            assert added.stderr.count("\n") == 1, added.stderr
            assert (await neighbour.chunk()).startswith(b"data: ")
            assert (await ask(server)).status == 200
        assert [each["name"] for each in server.shell.json("model", "list")] == ["alpha"]
        await nothing_left(server)


def fill(store: SqlModelStore) -> None:
    for number in range(1000):
        store.add(new_model(f"more-{number}"))


async def test_a_database_that_cannot_grow_is_still_read(tmp_path: Path) -> None:
    with open_database(tmp_path / "catalog.db") as engine:
        upgrade(engine)
        store = SqlModelStore(engine)
        store.add(new_model("alpha"))
        with engine.connect() as connection:
            pages = connection.execute(sa.text("PRAGMA page_count")).scalar_one()

        @sa.event.listens_for(engine, "checkout")
        def keep_small(raw: sa.engine.interfaces.DBAPIConnection, *_: object) -> None:
            raw.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]

        async with open_sql_catalog(engine) as catalog:
            with pytest.raises(DatabaseError, match="the disk is full"):
                fill(store)
            kept = len(store.list())
            assert kept >= 1
            assert catalog.resolve_model("alpha") is not None
            assert catalog.resolve_for_launch(1) is not None
            store.edit(1, name="renamed")
            await until(lambda: catalog.resolve_model("renamed") is not None)


async def test_a_server_whose_database_is_gone_goes_on_with_what_it_knows(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        for path in server.shell.data_dir.glob("*.db*"):
            path.rename(path.with_name(f"away-{path.name}"))
        assert (await ask(server)).status == 200
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, 60) == 0
