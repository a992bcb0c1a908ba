"""How `gglib serve` ends when somebody is in a hurry."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.faults import ask, faulty_server
from tests.serving import WAIT_SECONDS, Served, wait_until


async def test_a_second_signal_does_not_wait_for_an_engine_that_ignores_the_first(
    tmp_path: Path,
) -> None:
    stubborn = {"alpha": {"ignore_term": True}}
    with faulty_server(tmp_path, "--set=stop_grace_seconds=3600", models=stubborn) as server:
        assert (await ask(server)).status == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "-> stopping" in server.log.read_text(encoding="utf-8"))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(WAIT_SECONDS) == 0


async def test_it_is_said_for_what_a_server_waits_and_how_to_hurry_it(tmp_path: Path) -> None:
    slow = {"alpha": {"first_token_seconds": 3600}}
    with faulty_server(tmp_path, models=slow) as server:
        asked = asyncio.create_task(ask(server))
        await asyncio.to_thread(wait_until, lambda: "-> ready" in said(server))
        server.process.send_signal(signal.SIGTERM)
        waits = "answers that run on: 1, for 30 s at most; a second signal cuts them"
        await asyncio.to_thread(wait_until, lambda: waits in said(server))
        server.process.send_signal(signal.SIGTERM)
        assert (await asked).status == 503
        assert await asyncio.to_thread(server.process.wait, WAIT_SECONDS) == 0
        assert "answers that are cut at shutdown: 1" in said(server)


async def test_answers_that_have_no_time_to_end_are_not_said_to_be_waited_for(
    tmp_path: Path,
) -> None:
    slow = {"alpha": {"first_token_seconds": 3600}}
    with faulty_server(tmp_path, "--set=drain_seconds=0", models=slow) as server:
        asked = asyncio.create_task(ask(server))
        await asyncio.to_thread(wait_until, lambda: "-> ready" in said(server))
        server.process.send_signal(signal.SIGTERM)
        assert (await asked).status == 503
        assert await asyncio.to_thread(server.process.wait, WAIT_SECONDS) == 0
        assert "answers that are cut at shutdown: 1" in said(server)
        assert "answers that run on" not in said(server)


def said(server: Served) -> str:
    return server.log.read_text(encoding="utf-8")
