"""Faults of processes: engines that die, that are wedged, and gglib itself."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psutil

from gglib_runtime.chaos.experiment import Experiment, expect_error, expect_no_clean_end
from gglib_runtime.chaos.outcome import expect
from gglib_runtime.chaos.stage import CHAT, MODEL, OTHER, Stage, chat, fault, until

if TYPE_CHECKING:
    from gglib_runtime.settings import Settings

_STREAMS = 4
_WEDGE_SECONDS, _NOTICE_SECONDS = 2.0, 10.0
"""How long an engine is silent here, and in how much more it is noticed."""
_PAUSE_SECONDS = 3.0
_START_SECONDS, _END_SECONDS = 20.0, 10.0
"""In which engines are started, and those that gglib leaves behind have ended."""
_RUN_SECONDS = 0.5
"""What a request has to run for not to be taken for one that met a dying engine."""
_LOST = "upstream_lost"
_WEDGED = "no sign of life"


async def _killed_in_streams(stage: Stage) -> str:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(stage.streaming()) for _ in range(_STREAMS)]
        killed = stage.engine()
        killed.kill()
        ends = [await expect_no_clean_end(client, _LOST) for client in clients]
    await stage.answers_again()
    expect(stage.engine().pid != killed.pid, "the same process answers")
    told = sum(end != "cut" for end in ends)
    return f"{told} of {_STREAMS} clients were told, the others cut; the model was loaded anew"


async def _killed_before_head(stage: Stage) -> str:
    answer = await stage.ask()
    expect(answer.status == 200, f"the model did not load: {answer}")
    asking = asyncio.create_task(stage.ask(first_token_seconds=60))
    await stage.under_way(1)
    await asyncio.sleep(_RUN_SECONDS)
    stage.engine().kill()
    return expect_error(await asking, 502, _LOST)


async def _crash(stage: Stage) -> str:
    return expect_error(await stage.ask(**fault("crash")), 502, _LOST)


async def _killed_while_loading(stage: Stage) -> str:
    asking = asyncio.create_task(stage.ask())
    none = "no engine was started"
    await until(lambda: len(stage.engines()), 1, none, _START_SECONDS)
    await until(lambda: _is_simulator(stage.engine()), True, none, _START_SECONDS)
    stage.engine().kill()
    answer = await asking
    seen = expect_error(answer, 503, "model_load_failed")
    failure = answer.error.get("gglib", {}).get("failure")
    expect(failure == "killed", f"the failure's class is {failure}")
    expect(answer.headers.get("retry-after"), "there is no Retry-After")
    return f"{seen}, class {failure}, Retry-After {answer.headers['retry-after']}"


def _is_simulator(process: psutil.Process) -> bool:
    """Whether the process is past the moment in which it was still a copy of gglib."""
    return "gglib_runtime.simulator" in process.cmdline()


async def _killed_with_a_queue(stage: Stage) -> str:
    answer = await stage.ask()
    expect(answer.status == 200, f"the model did not load: {answer}")
    async with stage.streaming() as client, stage.client() as queued:
        killed = stage.engine()
        queued.request("POST", CHAT, chat())
        await stage.under_way(2)
        killed.kill()
        await expect_no_clean_end(client, _LOST)
        waited = await queued.answer()
    expect(waited.status == 200, f"the request that waited got {waited}")
    return "the request that waited was answered by a new process"


async def _killed_with_another_waiting(stage: Stage) -> str:
    async with stage.streaming() as client, stage.client() as queued:
        queued.request("POST", CHAT, chat(OTHER))
        await stage.under_way(2)
        stage.engine().kill()
        await expect_no_clean_end(client, _LOST)
        waited = await queued.answer()
    expect(waited.status == 200, f"the request for the other model got {waited}")
    return "the other model was loaded and answered"


async def _neighbour(stage: Stage) -> str:
    async with stage.streaming(OTHER, tokens=300) as neighbour:
        other = stage.engine()
        async with stage.streaming() as client:
            (killed,) = (each for each in stage.engines() if each.pid != other.pid)
            killed.kill()
            await expect_no_clean_end(client, _LOST)
        answer = await neighbour.answer()
    expect(answer.is_whole and not answer.error, f"the other model's client got {answer}")
    return "the other model's stream came to its end"


async def _load_fails(stage: Stage) -> str:
    answer = await stage.ask()
    seen = expect_error(answer, 503, "model_load_failed")
    failure = answer.error.get("gglib", {}).get("failure")
    expect(failure == "out_of_memory", f"the failure's class is {failure}")
    return f"{seen}, class {failure}"


async def _gglib_killed(stage: Stage) -> str:
    async with stage.streaming():
        engines = stage.engines()
        stage.process.kill()
        await stage.process.wait()
    outlived = "an engine outlived gglib"
    await until(lambda: any(map(_runs, engines)), False, outlived, _END_SECONDS)
    return f"{len(engines)} engine ended with it"


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# wedged engines


async def _wedged(stage: Stage) -> str:
    answer = await stage.ask()
    expect(answer.status == 200, f"the model did not load: {answer}")
    wedged = stage.engine()
    answer = await stage.ask(**fault("stall"))
    expect_error(answer, 502, _LOST)
    expect(_WEDGED in str(answer.error.get("message")), "the client was not told why")
    await until(lambda: _runs(wedged), False, "the wedged engine still runs")
    return f"{answer}, {_WEDGED}; the engine was ended"


async def _stopped_engine(stage: Stage) -> str:
    async with stage.streaming() as client:
        engine = stage.engine()
        engine.send_signal(signal.SIGSTOP)
        end = await expect_no_clean_end(client, _LOST)
        await until(lambda: _runs(engine), False, "the stopped engine still runs")
    return f"{end}; the engine was ended"


def _no_wedge(*time_outs: str) -> Callable[[Settings], str | None]:
    """Where nothing is taken for wedged, or one of `time_outs` gives up before."""

    def void(settings: Settings) -> str | None:
        if not settings.wedge_seconds:
            return "wedge_seconds is 0: nothing is recycled"
        noticed = settings.wedge_seconds + _NOTICE_SECONDS
        for key in (*time_outs, "request_timeout_seconds"):
            if 0 < getattr(settings, key) <= noticed:
                return f"{key} gives up before wedge_seconds have passed"
        return None

    return void


# gglib and its clients


async def _paused(stage: Stage) -> str:
    async with stage.streaming(tokens=100, token_seconds=0.02) as client:
        stage.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(_PAUSE_SECONDS)
        stage.process.send_signal(signal.SIGCONT)
        answer = await client.answer()
    expect(answer.is_whole and not answer.error, f"the stream ended with {answer}")
    return f"the stream went on after {_PAUSE_SECONDS:.0f} seconds"


async def _abandoned(stage: Stage) -> str:
    answer = await stage.ask()
    expect(answer.status == 200, f"the model did not load: {answer}")
    engine = stage.engine()
    for _ in range(_STREAMS):
        async with stage.streaming():
            pass
        async with stage.client() as leaving:
            leaving.request("POST", CHAT, chat(first_token_seconds=60))
            await stage.under_way(1)
    await stage.under_way(0)
    expect(stage.engine().pid == engine.pid, "the engine was replaced")
    return f"{2 * _STREAMS} clients left and nothing of them is kept"


def _one_resident(settings: Settings) -> str | None:
    return "max_resident is 1: models take turns" if settings.max_resident == 1 else None


_PAIR: dict[str, dict[str, Any]] = {MODEL: {}, OTHER: {}}
EXPERIMENTS = (
    Experiment(
        name="killed-in-streams",
        fault="the engine is killed while it streams to several clients",
        promise="an error event or a cut for each; the next request loads it anew",
        run=_killed_in_streams,
    ),
    Experiment(
        name="killed-before-head",
        fault="the engine is killed before the first byte of a request that has run for a while",
        promise="502 `upstream_lost`; it is not sent to another process",
        run=_killed_before_head,
    ),
    Experiment(
        name="crash",
        fault="every engine dies of the request",
        promise="502 `upstream_lost`, after one more engine at most",
        run=_crash,
    ),
    Experiment(
        name="killed-while-loading",
        fault="the engine is killed while it loads",
        promise="503 `model_load_failed`, class `killed`, with `Retry-After`",
        run=_killed_while_loading,
        sims={MODEL: {"load_seconds": 3}},
    ),
    Experiment(
        name="load-fails",
        fault="the engine runs out of memory while it loads",
        promise="503 `model_load_failed`, class `out_of_memory`",
        run=_load_fails,
        sims={MODEL: {"fail_load": "out_of_memory"}},
        is_settled=False,
    ),
    Experiment(
        name="killed-with-a-queue",
        fault="the engine is killed while a request waits for a slot of it",
        promise="the request loads it again and is answered",
        run=_killed_with_a_queue,
        sims={MODEL: {"max_concurrent": 1}},
    ),
    Experiment(
        name="killed-with-another-waiting",
        fault="the engine is killed while another model waits for its place",
        promise="the other model gets the place",
        run=_killed_with_another_waiting,
        sims=_PAIR,
        void=lambda settings: (
            "max_resident is above 1: nobody waits for a place"
            if settings.max_resident > 1
            else None
        ),
    ),
    Experiment(
        name="neighbour",
        fault="the engine of another model is killed",
        promise="the clients of this one notice nothing",
        run=_neighbour,
        sims=_PAIR,
        void=_one_resident,
    ),
    Experiment(
        name="gglib-killed",
        fault="gglib itself is killed",
        promise="no engine outlives it",
        run=_gglib_killed,
        is_settled=False,
    ),
    Experiment(
        name="wedged",
        fault="the engine gives no sign of life",
        promise="its requests get 502 that says so; it is ended, and loaded anew",
        run=_wedged,
        shortened={"wedge_seconds": _WEDGE_SECONDS},
        void=_no_wedge("first_byte_timeout_seconds"),
    ),
    Experiment(
        name="stopped-engine",
        fault="the engine's process is stopped",
        promise="an error event or a cut; it is ended, and loaded anew",
        run=_stopped_engine,
        shortened={"wedge_seconds": _WEDGE_SECONDS},
        void=_no_wedge("chunk_timeout_seconds"),
    ),
    Experiment(
        name="paused",
        fault="gglib is stopped for a while and goes on",
        promise="that time does not count: the stream goes on",
        run=_paused,
    ),
    Experiment(
        name="abandoned",
        fault="clients leave inside streams and before the first byte",
        promise="nothing of them is kept, and the engine goes on",
        run=_abandoned,
    ),
)
