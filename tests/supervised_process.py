"""A small gglib as a process of its own, for tests that kill it: a supervisor and one model.

    python -m tests.supervised_process DIRECTORY STATE

Brings the model into the state, prints a line, and waits to be killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import uvloop

from gglib_core.admission import AdmissionPolicy
from gglib_core.catalog import InMemoryModelCatalog
from gglib_core.models import Model
from gglib_runtime.paths import DataPaths
from gglib_runtime.supervisor import Supervisor, SupervisorSettings, open_supervisor
from tests.engines import SIMULATOR_COMMAND, record_of, simulator_model

RECORD = "record"
Act = Callable[[Supervisor, Model, Path], Awaitable[object]]


async def idle(supervisor: Supervisor, model: Model, record: Path) -> None:
    await supervisor.load(model)


async def load(supervisor: Supervisor, model: Model, record: Path) -> object:
    loading = asyncio.create_task(supervisor.load(model))
    await record_of(record, "loading")
    return loading


async def ask(supervisor: Supervisor, model: Model, record: Path) -> object:
    lease = await supervisor.admit(model, context=512)
    reader, writer = await asyncio.open_connection(lease.target.host, lease.target.port)
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
        % (lease.target.api_key.encode(), len(body), body)
    )
    await record_of(record, "begin")
    return lease, reader, writer


async def stream(supervisor: Supervisor, model: Model, record: Path) -> object:
    lease, reader, writer = await ask(supervisor, model, record)  # type: ignore[misc]
    await reader.readuntil(b"data: ")
    return lease, reader, writer


async def stop(supervisor: Supervisor, model: Model, record: Path) -> object:
    await supervisor.load(model)
    stopping = asyncio.create_task(supervisor.stop_current())
    await record_of(record, "term")
    return stopping


STATES: Mapping[str, tuple[Mapping[str, Any], Act]] = {
    "idle": ({}, idle),
    "loading": ({"never_ready": True}, load),
    "prefilling": ({"first_token_seconds": 60}, ask),
    "streaming": ({"token_seconds": 0.05, "tokens": 10_000}, stream),
    "stopping": ({"stop_seconds": 60}, stop),
}


async def main(directory: Path, state: str) -> None:
    sim, act = STATES[state]
    record = directory / RECORD
    model = simulator_model(1, "alpha", sim=sim, record=record)
    async with open_supervisor(
        SupervisorSettings(stop_grace_seconds=60),
        policy=AdmissionPolicy(),
        catalog=InMemoryModelCatalog([model]),
        engine_command=SIMULATOR_COMMAND,
        paths=DataPaths(directory / "data"),
    ) as supervisor:
        kept = await act(supervisor, model, record)
        print(state, flush=True)  # noqa: T201
        await asyncio.Event().wait()
        del kept


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1]), sys.argv[2]))
