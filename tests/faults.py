"""A `gglib serve` that things go wrong around: simulated models, clients, and what is left at last.

`faulty_server` runs it; the models are the simulator's, and a request makes its own trouble with
`fault`. `nothing_left` is what must be true after each of them.
"""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.command_line import REPOSITORY, Shell
from tests.engines import until
from tests.gguf_files import tiny_bytes
from tests.raw_http import Answer, RawConnection, ask_once, open_raw
from tests.serving import Served, serving

CHAT = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"
_SLOW_TOKENS = {"tokens": 100_000, "token_seconds": 0.01}
Sims = Mapping[str, Mapping[str, Any]]


def simulating_shell(home: Path, models: Sims, **environ: str) -> Shell:
    """A user whose llama-server is the simulator, with these models and their behaviours."""
    home.mkdir(parents=True, exist_ok=True)
    shell = Shell(home)
    shell.environ |= environ
    engine = home / "engine"
    simulator = f"{sys.executable} -m gglib_runtime.simulator"
    engine.write_text(f'#!/bin/sh\nexec env PYTHONPATH={REPOSITORY} {simulator} "$@"\n')
    engine.chmod(engine.stat().st_mode | stat.S_IXUSR)
    shell.environ["GGLIB_LLAMA_SERVER"] = str(engine)
    for name, sim in models.items():
        path = home / f"{name}.gguf"
        path.write_bytes(tiny_bytes("tiny-a"))
        shell.output("model", "add", path, "--env", f"GGLIB_SIM={json.dumps(sim)}")
    return shell


@contextmanager
def faulty_server(
    home: Path, *arguments: str, models: Sims | None = None, **options: Any
) -> Generator[Served]:
    """Serve `models` (one named alpha, if none are given); nothing of it is left afterwards."""
    shell = simulating_shell(home, models or {"alpha": {}})
    with serving(shell, *arguments, **options) as server:
        yield server


# Clients


def port_of(server: Served) -> int:
    return int(server.url.rpartition(":")[2])


def fault(kind: str, **more: Any) -> dict[str, Any]:
    """What a request does to its own answer."""
    return {"faults": [{"kind": kind, **more}]}


def body(model: str = "alpha", *, stream: bool = False, **sim: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hello"}]
    return {"model": model, "messages": messages, "stream": stream, "gglib_sim": sim}


async def ask(server: Served, model: str = "alpha", **sim: Any) -> Answer:
    """One whole answer on a connection of its own."""
    return await ask_once(port_of(server), "POST", CHAT, body(model, **sim))


def header_id(answer: Answer) -> str:
    """Of the request's record, as its answer's head says."""
    return dict(answer.headers)["x-gglib-generation-id"]


async def stream_bytes(connection: RawConnection) -> bytes:
    """The rest of a streamed answer, until its last chunk."""
    data = b""
    while piece := await connection.chunk():
        data += piece
    return data


@asynccontextmanager
async def streaming(
    server: Served, model: str = "alpha", **sim: Any
) -> AsyncIterator[RawConnection]:
    """A client inside a stream that lasts, of which it has read the head and a first piece."""
    async with open_raw(port_of(server)) as connection:
        connection.request("POST", CHAT, body(model, stream=True, **(_SLOW_TOKENS | sim)))
        assert await connection.chunk_after_head()
        yield connection


@asynccontextmanager
async def undisturbed(server: Served, model: str = "alpha") -> AsyncIterator[None]:
    """Another client's stream, which has to go on through the whole block."""
    async with streaming(server, model) as connection:
        yield
        for _ in range(3):
            assert (await connection.chunk()).startswith(b"data: ")
        assert not connection.reader.at_eof()


def error_of(data: bytes) -> dict[str, Any]:
    """The error that a stream ended with, as its last event and with nothing behind it."""
    events = data.split(b"\n\n")
    assert events.pop() == b"", "the stream was cut inside an event"
    assert DONE not in data
    error = json.loads(events[-1].removeprefix(b"data: "))["error"]
    assert error["gglib"]["source"] == "gglib"
    return error


async def ends_in_an_error(connection: RawConnection) -> dict[str, Any]:
    """Read a stream to its end, which is an error event on a connection that goes on."""
    error = error_of(await stream_bytes(connection))
    assert (await connection.ask("GET", "/health")).status == 200
    return error


async def ends_with_no_clean_end(connection: RawConnection) -> dict[str, Any] | None:
    """Read a stream to its end: an error event at an event's border, else a cut."""
    data = b""
    try:
        while piece := await connection.chunk():
            data += piece
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        assert DONE not in data
        return None
    return error_of(data)


# What is left


def engine_of(server: Served) -> psutil.Process:
    """The one engine that runs."""
    (engine,) = server.engines()
    return engine


async def status_of(server: Served) -> list[dict[str, Any]]:
    """The models as `gglib status --json` shows them."""
    shown = await asyncio.to_thread(server.shell.json, "status")
    return shown["models"]


async def under_way(server: Served, wanted: int) -> None:
    """Wait until so many requests hold a lease or wait for one."""
    async with asyncio.timeout(20):
        while wanted != sum(each["leases"] + each["waiting"] for each in await status_of(server)):  # noqa: ASYNC110 - another process is asked
            await asyncio.sleep(0.02)


async def answers_again(server: Served, model: str = "alpha") -> None:
    """Wait until the model can be had.

    A load that failed is remembered for a while, and who meets an engine in the moment of its
    death is told so.
    """
    async with asyncio.timeout(30):
        while (await ask(server, model)).status != 200:  # noqa: ASYNC110 - another process is asked
            await asyncio.sleep(0.2)


async def nothing_left(server: Served, model: str = "alpha") -> None:
    """No lease, nobody waiting, no connection, and no engine once it is unloaded; yet it works."""
    await under_way(server, 0)
    await answers_again(server, model)
    await asyncio.to_thread(server.shell.output, "unload")
    await until(lambda: not server.engines())
    process = psutil.Process(server.process.pid)
    await until(lambda: not _established(process))


def _established(process: psutil.Process) -> list[Any]:
    return [each for each in process.net_connections("tcp") if each.status != psutil.CONN_LISTEN]
