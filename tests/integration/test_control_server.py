"""The control plane on its socket: connections, and how they end."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from gglib_core.models import ModelState
from tests.catalog_entries import model
from tests.control_plane import (
    ControlServer,
    FakeFollower,
    FakeModelLogs,
    FakeModelRuntime,
    control_context,
    open_control,
)
from tests.loops import on_each_loop
from tests.raw_http import WAIT_SECONDS, RawConnection

ALPHA = model(1, "alpha")
FOLLOW = "/api/v1/logs/alpha?follow=1"


def gated_runtime() -> FakeModelRuntime:
    runtime = FakeModelRuntime()
    runtime.gate = asyncio.Event()
    return runtime


async def bounded(event: asyncio.Event) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        await event.wait()


@on_each_loop
async def test_requests_share_a_connection_for_as_long_as_they_like(tmp_path: Path) -> None:
    async with (
        open_control(tmp_path, control_context([ALPHA])) as server,
        server.connect() as connection,
    ):
        for _ in range(550):
            assert (await connection.ask("GET", "/v1/models/alpha")).status == 200
            assert (await connection.ask("GET", "/v1/models/nobody")).status == 404
        assert (await connection.ask("HEAD", "/v1/models")).status == 200
        assert (await connection.ask("GET", "/favicon.ico")).status == 204
        assert (await connection.ask("OPTIONS", "/models/load")).status == 200
        load = await connection.ask("POST", "/models/load", {"model": "alpha"})
        assert load.json == {"success": True}


@on_each_loop
async def test_answers_say_what_they_are_and_not_who_served_them(tmp_path: Path) -> None:
    async with (
        open_control(tmp_path, control_context([ALPHA])) as server,
        server.connect() as connection,
    ):
        answer = await connection.ask("GET", "/models")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


@on_each_loop
async def test_a_head_as_large_as_the_data_plane_takes_is_taken(tmp_path: Path) -> None:
    async with (
        open_control(tmp_path, control_context([ALPHA])) as server,
        server.connect() as connection,
    ):
        answer = await connection.ask("GET", "/health", headers={"x-large": "x" * 65_536})
    assert answer.status == 200


@on_each_loop
async def test_a_hundred_clients_are_answered_at_once(tmp_path: Path) -> None:
    models = [model(number, f"org/model-{number}") for number in range(1, 1001)]

    async def ask(server: ControlServer) -> int:
        async with server.connect() as connection:
            return len((await connection.ask("GET", "/v1/models")).json["data"])

    async with open_control(tmp_path, control_context(models)) as server:
        counts = await asyncio.gather(*(ask(server) for _ in range(100)))
    assert set(counts) == {1000}


@on_each_loop
async def test_followed_lines_arrive_as_they_are_written(tmp_path: Path) -> None:
    logs = FakeModelLogs()
    context = control_context([ALPHA], logs=logs)
    async with open_control(tmp_path, context) as server, server.connect() as connection:
        connection.request("GET", FOLLOW)
        head = await connection.head()
        assert head.headers["content-type"] == "text/plain; charset=utf-8"
        for line in ("one", "two"):
            logs.write(1, line)
            assert await connection.chunk() == f"{line}\n".encode()


@on_each_loop
async def test_a_client_that_leaves_ends_its_follower(tmp_path: Path) -> None:
    logs = FakeModelLogs()
    async with open_control(tmp_path, control_context([ALPHA], logs=logs)) as server:
        async with server.connect() as connection:
            connection.request("GET", FOLLOW)
            await connection.head()
            follower = logs.followers[0]
        await bounded(follower.was_closed)
    assert logs.followers == []


@on_each_loop
async def test_nothing_stays_of_clients_that_have_left(tmp_path: Path) -> None:
    async with open_control(tmp_path, control_context([ALPHA])) as server:
        before = asyncio.all_tasks()
        async with server.connect() as asked, server.connect() as half, server.connect():
            await asked.ask("GET", "/health")
            half.send(b"GET /health HTTP/1.1\r\nHo")
            assert asyncio.all_tasks() > before
        serving = asyncio.all_tasks() - before
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(*serving, return_exceptions=True)
        assert asyncio.all_tasks() == before


@on_each_loop
async def test_a_client_that_leaves_gives_up_its_load(tmp_path: Path) -> None:
    runtime = gated_runtime()
    async with open_control(tmp_path, control_context([ALPHA], runtime=runtime)) as server:
        async with server.connect() as connection:
            connection.request("POST", "/models/load", {"model": "alpha"})
            await bounded(runtime.was_asked)
        await bounded(runtime.was_cancelled)


@on_each_loop
async def test_a_stream_that_breaks_does_not_look_complete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class BrokenFollower(FakeFollower):
        async def __anext__(self) -> str:
            raise ZeroDivisionError

    class BrokenLogs(FakeModelLogs):
        def follow(self, model_id: int) -> FakeFollower:
            self.followers.append(BrokenFollower(self))
            return self.followers[-1]

    logs = BrokenLogs()
    logs.write(1, "a line")
    context = control_context([ALPHA], logs=logs)
    with caplog.at_level(logging.CRITICAL):
        async with open_control(tmp_path, context) as server, server.connect() as connection:
            connection.request("GET", FOLLOW)
            assert await connection.chunk_after_head() == b"a line\n"
            assert await connection.rest() == b""
    assert logs.followers == []


@on_each_loop
async def test_stopping_ends_followers_properly(tmp_path: Path) -> None:
    logs = FakeModelLogs()
    logs.write(1, "a line")
    async with (
        open_control(tmp_path, control_context([ALPHA], logs=logs), grace_seconds=600) as server,
        server.connect() as connection,
    ):
        connection.request("GET", FOLLOW)
        assert await connection.chunk_after_head() == b"a line\n"
        await server.stop()
        assert await connection.chunk() == b""
        assert await connection.rest() == b""
    assert logs.followers == []


@on_each_loop
async def test_stopping_answers_those_who_wait(tmp_path: Path) -> None:
    runtime = gated_runtime()
    runtime.show(ALPHA, ModelState.LOADED)
    context = control_context([ALPHA], runtime=runtime)

    async def wait_for(connection: RawConnection, action: str) -> Any:
        answer = await connection.ask("POST", f"/models/{action}", {"model": "alpha"})
        return answer.status, answer.json["error"]["code"], answer.headers["retry-after"]

    async with (
        open_control(tmp_path, context, grace_seconds=600) as server,
        server.connect() as one,
        server.connect() as other,
    ):
        waiting = asyncio.gather(wait_for(one, "load"), wait_for(other, "unload"))
        while len(runtime.loaded) + len(runtime.stopped) < 2:
            await bounded(runtime.was_asked)
            runtime.was_asked.clear()
        await server.stop()
        assert await waiting == [(503, "shutting_down", "5")] * 2


@on_each_loop
async def test_stopping_closes_what_is_idle_or_half_sent(tmp_path: Path) -> None:
    async with (
        open_control(tmp_path, control_context([ALPHA]), grace_seconds=600) as server,
        server.connect() as idle,
        server.connect() as half,
        server.connect() as fresh,
    ):
        await idle.ask("GET", "/health")
        half.send(b"GET /health HTTP/1.1\r\nHo")
        await fresh.ask("GET", "/health")
        await server.stop()
        assert [await each.rest() for each in (idle, half, fresh)] == [b""] * 3


@on_each_loop
async def test_stopping_cuts_a_reader_that_has_stalled(tmp_path: Path) -> None:
    logs = FakeModelLogs()
    context = control_context([ALPHA], logs=logs)
    async with (
        open_control(tmp_path, context, grace_seconds=0.05) as server,
        server.connect() as connection,
    ):
        connection.request("GET", FOLLOW)
        await connection.head()
        follower = logs.followers[0]
        connection.reader._transport.pause_reading()
        logs.write(1, "x" * 4_000_000)  # more than all buffers on the way hold
        await bounded(follower.was_read)
        await server.stop()
        connection.reader._transport.resume_reading()
        assert not (await connection.rest()).endswith(b"0\r\n\r\n")
    assert logs.followers == []


@on_each_loop
async def test_cancelling_is_as_good_as_stopping(tmp_path: Path) -> None:
    logs = FakeModelLogs()
    context = control_context([ALPHA], logs=logs)
    async with (
        open_control(tmp_path, context, grace_seconds=0.05) as server,
        server.connect() as connection,
    ):
        connection.request("GET", FOLLOW)
        await connection.head()
        server.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server.stop()
        await connection.rest()
    assert logs.followers == []


@on_each_loop
async def test_a_stopped_server_takes_no_connection(tmp_path: Path) -> None:
    async with open_control(tmp_path, control_context([ALPHA])) as server:
        await server.stop()
        with pytest.raises(OSError, match="refused"):
            async with server.connect():
                pass
