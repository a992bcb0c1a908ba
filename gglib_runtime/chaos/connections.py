"""Faults of the connection between gglib and an engine."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gglib_runtime.chaos.experiment import (
    Experiment,
    expect_error,
    expect_error_event,
)
from gglib_runtime.chaos.outcome import expect
from gglib_runtime.chaos.stage import CHAT, MODEL, Stage, chat, fault, until
from gglib_runtime.chaos.wire import DONE

if TYPE_CHECKING:
    from gglib_runtime.settings import Settings

_ASKS = 20
_LOST, _GARBLED = "upstream_lost", "upstream_protocol_error"
Trial = Callable[[Stage], Awaitable[str]]


def _before_the_head(kind: str, status: int, code: str) -> Trial:
    async def run(stage: Stage) -> str:
        return expect_error(await stage.ask(**fault(kind)), status, code)

    return run


def _between_events(kind: str, code: str) -> Trial:
    async def run(stage: Stage) -> str:
        trouble = fault(kind, after_chunks=5)
        async with stage.client() as connection:
            body = chat(stream=True, tokens=50, token_seconds=0.02, **trouble)
            connection.request("POST", CHAT, body)
            await connection.begun()
            return await expect_error_event(connection, code)

    return run


async def _within_an_event(stage: Stage) -> str:
    async with stage.client() as connection:
        connection.request("POST", CHAT, chat(stream=True, **fault("half_event", after_chunks=2)))
        answer = await connection.answer()
    expect(not answer.is_whole, "a stream that broke inside an event was ended as if it were whole")
    expect(DONE not in answer.events, "a stream that failed ended with [DONE]")
    return "cut"


async def _early_end(stage: Stage) -> str:
    async with stage.client() as connection:
        connection.request("POST", CHAT, chat(**fault("malformed")))
        answer = await connection.answer()
    expect(not answer.is_whole, "half an answer was passed off as whole")
    return "cut"


async def _stale_connection(stage: Stage) -> str:
    async with stage.client() as connection:
        for _ in range(_ASKS):
            connection.request("POST", CHAT, chat())
            answer = await connection.answer()
            expect(answer.status == 200, f"a request got {answer}")
    return f"{_ASKS} of {_ASKS} requests were answered"


async def _own_error(stage: Stage) -> str:
    answer = await stage.ask(**fault("status", status=500, message="of its own"))
    expect(answer.status == 500, f"{answer} in place of 500")
    expect(answer.error.get("message") == "of its own", "the engine's message did not come through")
    return str(answer)


async def _refused(stage: Stage) -> str:
    answer = await stage.ask()
    expect(answer.status == 200, f"the model did not load: {answer}")
    engine = stage.engine()
    engine.send_signal(signal.SIGTERM)  # it listens no more, and takes its time
    await until(lambda: len(engine.net_connections("tcp")), 0, "the engine still listens")
    return expect_error(await stage.ask(), 502, "upstream_unreachable")


def _no_limit(key: str) -> Callable[[Settings], str | None]:
    def void(settings: Settings) -> str | None:
        return None if getattr(settings, key) else f"{key} is off in this configuration"

    return void


EXPERIMENTS = (
    Experiment(
        name="refused-connection",
        fault="the engine refuses connections while it stops",
        promise="502 `upstream_unreachable`; once it has gone the next request loads the model",
        run=_refused,
        sims={MODEL: {"stop_seconds": 2}},
    ),
    Experiment(
        name="closed-before-head",
        fault="the engine closes the connection before the first byte",
        promise="502 `upstream_lost`",
        run=_before_the_head("close", 502, _LOST),
    ),
    Experiment(
        name="reset-before-head",
        fault="the engine resets the connection before the first byte",
        promise="502 `upstream_lost`",
        run=_before_the_head("reset", 502, _LOST),
    ),
    Experiment(
        name="garbage-before-head",
        fault="the engine sends what is no HTTP",
        promise="502 `upstream_protocol_error`",
        run=_before_the_head("garbage", 502, _GARBLED),
    ),
    Experiment(
        name="closed-in-stream",
        fault="the engine closes the connection between two events",
        promise="an event `upstream_lost`, no `[DONE]`, and the client's connection goes on",
        run=_between_events("close", _LOST),
    ),
    Experiment(
        name="reset-in-stream",
        fault="the engine resets the connection between two events",
        promise="an event `upstream_lost`, no `[DONE]`, and the client's connection goes on",
        run=_between_events("reset", _LOST),
    ),
    Experiment(
        name="malformed-stream",
        fault="the engine sends a chunk whose size is no number",
        promise="an event `upstream_protocol_error`, and the client's connection goes on",
        run=_between_events("malformed", _GARBLED),
    ),
    Experiment(
        name="half-event",
        fault="the engine's stream ends within an event",
        promise="the client's connection is cut; no `[DONE]`, no last chunk",
        run=_within_an_event,
    ),
    Experiment(
        name="half-answer",
        fault="a whole answer ends early",
        promise="the client's connection is cut before the length that was announced",
        run=_early_end,
    ),
    Experiment(
        name="stale-connection",
        fault="the engine closes a kept connection as a request is written",
        promise="the request is sent once more; no request is lost",
        run=_stale_connection,
        sims={MODEL: {"close_idle": "on_next_request"}},
    ),
    Experiment(
        name="engine-error",
        fault="the engine answers with an error of its own",
        promise="it is passed on as it is",
        run=_own_error,
    ),
    Experiment(
        name="silent-before-head",
        fault="the engine does not begin to answer",
        promise="504 `upstream_timeout` after `first_byte_timeout_seconds`",
        run=_before_the_head("stall", 504, "upstream_timeout"),
        shortened={"first_byte_timeout_seconds": 1},
        void=_no_limit("first_byte_timeout_seconds"),
    ),
    Experiment(
        name="silent-in-stream",
        fault="the engine stops within a stream",
        promise="an event `upstream_timeout` after `chunk_timeout_seconds`",
        run=_between_events("stall", "upstream_timeout"),
        shortened={"chunk_timeout_seconds": 1},
        void=_no_limit("chunk_timeout_seconds"),
    ),
)
