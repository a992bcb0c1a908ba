"""The shipped scenarios, as a client meets them; `flaky` and `outage` have tests of their own."""

from __future__ import annotations

import asyncio

from gglib_runtime.simulator.behaviour import Behaviour
from gglib_runtime.simulator.direction import Direction
from tests.raw_http import open_raw
from tests.simulating import CHAT, KEY, Simulated, chat, simulating

DONE = b"data: [DONE]\n\n"


async def streamed(simulated: Simulated) -> bytes | None:
    """All that a stream brings; None if its connection ends before the stream does."""
    async with open_raw(simulated.port) as connection:
        asked = chat(stream=True, stream_options={"include_usage": True})
        try:
            answer = await connection.ask("POST", CHAT, asked, key=KEY)
        except (ValueError, EOFError, ConnectionError):  # where a chunk should have been
            return None
        return b"".join(answer.chunks)


async def test_broken_streams_break_in_each_way_in_turn() -> None:
    async with simulating("--scenario", "broken-streams") as simulated:
        found = [await streamed(simulated) for _ in range(8)]
        injected = (await simulated.get("/admin/stats")).json["errors_injected"]
    close, reset, before_done, half_event, cut, malformed, miscounted, whole = found
    assert [close, reset, before_done, half_event] == [None] * 4
    assert cut is not None
    assert DONE not in cut
    assert malformed is not None
    assert b"dta;" in malformed
    assert miscounted is not None
    assert whole is not None
    assert miscounted.endswith(DONE)
    assert b'"completion_tokens":8,' in whole
    assert b'"completion_tokens":57,' in miscounted
    assert injected == dict.fromkeys(
        ("close", "reset", "before_done", "half_event", "truncated_json", "malformed_sse",
         "wrong_usage"), 1
    )  # fmt: skip


async def test_rate_limited_lets_three_in_and_tells_the_fourth_when_to_come() -> None:
    async with simulating("--scenario", "rate-limited") as simulated:
        answers = [await simulated.chat() for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 6
        assert (await simulated.chat(key="another")).status == 200


async def test_a_cold_start_is_alive_and_not_ready() -> None:
    async with simulating("--scenario", "cold-start") as simulated:
        paths = ("/live", "/ready", "/health", "/v1/models")
        statuses = [(await simulated.get(path, key=KEY)).status for path in paths]
        assert statuses == [200, 503, 503, 503]
        assert (await simulated.chat()).status == 503


async def test_a_circuit_breaker_s_drill_begins_closed() -> None:
    async with simulating("--scenario", "circuit-breaker") as simulated:
        assert (await simulated.chat()).status == 200
        assert (await simulated.get("/admin/stats")).json["phase"] == "closed"


async def test_slow_multiplies_what_the_plan_says() -> None:
    direction = Direction(Behaviour(slowdown=2.0), asyncio.get_running_loop())
    direction.play("slow")
    assert direction.plan.slowdown == 20.0
    direction.stop()
    assert direction.plan.slowdown == 2.0
