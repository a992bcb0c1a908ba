"""Engines that are killed: whoever used them is told, and the next request loads them again."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from tests.engines import until
from tests.faults import (
    CHAT,
    answers_again,
    ask,
    body,
    ends_in_an_error,
    ends_with_no_clean_end,
    engine_of,
    faulty_server,
    nothing_left,
    port_of,
    simulating_shell,
    streaming,
    under_way,
    undisturbed,
)
from tests.raw_http import open_raw
from tests.serving import serving

STREAMS = 4


async def test_every_stream_of_a_killed_engine_ends_without_a_clean_end(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(streaming(server)) for _ in range(STREAMS)]
            killed = engine_of(server)
            killed.kill()
            errors = [await ends_with_no_clean_end(client) for client in clients]
            told = [error for error in errors if error is not None]
            assert told, "between two events every client is told"
            assert {error["code"] for error in told} == {"upstream_lost"}
            await answers_again(server)
            assert engine_of(server).pid != killed.pid
        await nothing_left(server)


async def test_the_other_models_clients_notice_nothing(tmp_path: Path) -> None:
    models = {"alpha": {}, "beta": {}}
    with faulty_server(tmp_path, "--max-resident", "2", models=models) as server:
        async with undisturbed(server, "beta"):
            (beta,) = server.engines()
            async with streaming(server, "alpha") as client:
                (alpha,) = (each for each in server.engines() if each.pid != beta.pid)
                alpha.kill()
                await ends_with_no_clean_end(client)
            await answers_again(server)
        await nothing_left(server)


async def test_a_waiting_client_is_told_when_the_engine_is_killed_before_the_first_byte(
    tmp_path: Path,
) -> None:
    """One that was sent in the moment of the death would be asked of the next engine."""
    with faulty_server(tmp_path, "--set=stream_grace_seconds=0.5") as server:
        assert (await ask(server)).status == 200
        asking = asyncio.create_task(ask(server, first_token_seconds=60))
        await under_way(server, 1)
        async with open_raw(port_of(server)) as later:
            later.request("POST", CHAT, body(stream=True, first_token_seconds=60))
            assert (await later.chunk_after_head()).startswith(b": ")
            engine_of(server).kill()
            answer = await asking
            assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_lost")
            assert (await ends_in_an_error(later))["code"] == "upstream_lost"
        await nothing_left(server)


async def test_an_engine_that_is_killed_while_it_loads_fails_the_load_with_its_class(
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    with faulty_server(tmp_path, models={"alpha": {"load_until": str(go)}}) as server:
        asking = [asyncio.create_task(ask(server)) for _ in range(3)]
        await until(lambda: len(server.engines()) == 1)
        await until(lambda: "simulator" in " ".join(engine_of(server).cmdline()))
        engine_of(server).kill()
        for answer in await asyncio.gather(*asking):
            error = answer.json["error"]
            assert (answer.status, error["code"]) == (503, "model_load_failed")
            assert error["gglib"]["failure"] == "killed"
            assert int(answer.headers["retry-after"]) >= 1
        go.touch()
        await answers_again(server)
        await nothing_left(server)


async def test_requests_that_wait_for_a_slot_of_a_killed_engine_load_it_again(
    tmp_path: Path,
) -> None:
    shell = simulating_shell(tmp_path, {"alpha": {}})
    shell.output("model", "edit", "alpha", "--max-concurrent", "1")
    with serving(shell) as server:
        assert (await ask(server)).status == 200
        async with streaming(server) as client, open_raw(port_of(server)) as queued:
            killed = engine_of(server)
            queued.request("POST", CHAT, body())
            await under_way(server, 2)
            killed.kill()
            await ends_with_no_clean_end(client)
            assert (await queued.answer()).status == 200
            assert engine_of(server).pid != killed.pid
        await nothing_left(server)


async def test_requests_that_wait_for_the_place_of_a_killed_engine_get_it(tmp_path: Path) -> None:
    models = {"alpha": {}, "beta": {}}
    with faulty_server(tmp_path, models=models) as server:
        async with streaming(server, "alpha") as client, open_raw(port_of(server)) as queued:
            queued.request("POST", CHAT, body("beta"))
            await under_way(server, 2)
            engine_of(server).kill()
            await ends_with_no_clean_end(client)
            assert (await queued.answer()).status == 200
        await nothing_left(server)
