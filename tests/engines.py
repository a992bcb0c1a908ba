"""The stand-in engine for tests: models that run in it, its processes, and what they recorded.

`simulator_engine()` is what a supervisor starts, `simulator_model()` what it starts it for; the
keys of `sim` are documented in `gglib_runtime/simulator/behaviour.py`, and those of a record in
`gglib_runtime/simulator/records.py`. A request changes its own answer with `{"gglib_sim": {…}}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from gglib_core.models import Capability, GgufFacts, Model
from gglib_runtime.engines.discovery import Engine

SIMULATOR_COMMAND = (sys.executable, "-m", "gglib_runtime.simulator")
KEY = "simulated-key"
WAIT_SECONDS = 20.0
_POLL_SECONDS = 0.005
Record = dict[str, Any]
Sim = Mapping[str, Any] | Path


def simulator_engine() -> Engine:
    return Engine(command=SIMULATOR_COMMAND, source="setting", label="simulator (tests)")


def simulator_environment(sim: Sim, record: Path | None = None) -> dict[str, str]:
    """What makes a simulator behave as `sim` says and record its events in `record`.

    A path instead of a mapping names a file that is read at each start, so that a test can change
    the behaviour between two starts.
    """
    environment = {"GGLIB_SIM": f"@{sim}" if isinstance(sim, Path) else json.dumps(sim)}
    if record is not None:
        environment["GGLIB_SIM_RECORD"] = str(record)
    return environment


def simulator_model(
    id: int,  # noqa: A002 - the field's name
    name: str,
    *,
    sim: Sim | None = None,
    record: Path | None = None,
    **fields: Any,
) -> Model:
    """A catalog entry for a model that the simulator runs; `fields` are those of `Model`."""
    defaults: dict[str, Any] = {
        "paths": (f"/models/{name}.gguf",),
        "size_bytes": 1_000_000,
        "facts": GgufFacts(architecture="llama", context_length=131_072),
        "capabilities": frozenset({Capability.CHAT}),
        "environment": tuple(simulator_environment(sim or {}, record).items()),
    }
    return Model(id=id, name=name, **(defaults | fields))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds, which no event tells."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is asked is outside this process
            await asyncio.sleep(_POLL_SECONDS)


# records


def read_records(path: Path, event: str | None = None) -> list[Record]:
    """The events that simulators have recorded so far, in order; only those named `event`."""
    if not path.exists():
        return []
    whole_lines = path.read_bytes().split(b"\n")[:-1]
    records = [json.loads(line) for line in whole_lines]
    return [record for record in records if event in (None, record["event"])]


async def record_of(path: Path, event: str, count: int = 1, **facts: Any) -> Record:
    """Wait until `count` events of that name with these facts are recorded; the last of them."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = [r for r in read_records(path, event) if facts.items() <= r.items()]
            if len(found) >= count:
                return found[count - 1]
            await asyncio.sleep(_POLL_SECONDS)


def starts_beside_others(path: Path) -> list[Record]:
    """The starts of simulators at which another one in the file still lived."""
    return [record for record in read_records(path, "started") if record["others"]]


def requests_after_term(path: Path) -> list[Record]:
    """Inference requests that reached a simulator which had been told to stop."""
    stopping: set[int] = set()
    late: list[Record] = []
    for record in read_records(path):
        if record["event"] == "term":
            stopping.add(record["pid"])
        elif record["event"] == "request" and record["pid"] in stopping:
            late.append(record)
    return late


# processes


@dataclass(slots=True, kw_only=True)
class RunningSimulator:
    """A simulator that was started for a test."""

    process: asyncio.subprocess.Process
    port: int
    record: Path | None
    key: str = KEY
    lines: list[str] = field(default_factory=list)
    """What it has written to stderr so far."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def wait(self) -> int:
        """Its exit code, once it has ended; a helper may hold its pipes for longer."""
        await until(lambda: self.process.returncode is not None)
        assert self.process.returncode is not None
        return self.process.returncode


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@asynccontextmanager
async def started_simulator(
    *arguments: str,
    sim: Sim | None = None,
    alias: str = "alpha",
    port: int | None = None,
    record: Path | None = None,
    key: str = KEY,
    command: Sequence[str] = SIMULATOR_COMMAND,
) -> AsyncIterator[RunningSimulator]:
    """Start a simulator without waiting for it; it and all its children are gone afterwards.

    `command` may be another engine's, for comparison.
    """
    port = free_port() if port is None else port
    process = await asyncio.create_subprocess_exec(
        *command,
        *("-m", f"/models/{alias}.gguf", "--alias", alias, "--port", str(port), *arguments),
        env=os.environ | simulator_environment(sim or {}, record) | {"LLAMA_API_KEY": key},
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=1 << 20,
    )
    running = RunningSimulator(process=process, port=port, record=record, key=key)
    drain = asyncio.create_task(_drain(running))
    try:
        yield running
    finally:
        end_group(process.pid)
        await process.wait()
        await drain


@asynccontextmanager
async def running_simulator(*arguments: str, **options: Any) -> AsyncIterator[RunningSimulator]:
    """Start a simulator and wait until it is ready; see `started_simulator` for the options."""
    async with started_simulator(*arguments, **options) as running:
        await until_status(running, 200)
        yield running


async def until_status(running: RunningSimulator, wanted: int) -> None:
    """Wait until GET /health answers with that status."""
    async with asyncio.timeout(WAIT_SECONDS):
        while await health_status(running.port) != wanted:
            ended = running.process.returncode
            assert ended is None, f"the simulator ended with {ended}: {running.lines}"
            await asyncio.sleep(_POLL_SECONDS)


async def health_status(port: int) -> int | None:
    """The status that GET /health gets; None where nothing listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    try:
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        line = await reader.readline()
        return int(line.split()[1]) if line else None
    except ConnectionError:
        return None
    finally:
        writer.close()


async def _drain(running: RunningSimulator) -> None:
    assert running.process.stderr is not None
    async for line in running.process.stderr:
        running.lines.append(line.decode(errors="replace").rstrip("\n"))


def end_group(leader: int) -> None:
    """Kill what is left of the process group that `leader` began."""
    try:
        os.killpg(leader, 9)
    except ProcessLookupError:
        return


# leaks


def children() -> list[psutil.Process]:
    """The processes that this one started, directly or not, and that still run.

    Without the database server that lives as long as the tests.
    """
    found = psutil.Process().children(recursive=True)
    return [child for child in found if not _is_database(child)]


def _is_database(process: psutil.Process) -> bool:
    try:
        return process.name() == "postgres"
    except psutil.NoSuchProcess:
        return False


async def no_children_left(before: Iterable[psutil.Process] = ()) -> None:
    """Fail unless all children but those of `before` end at once; kills them before it fails."""
    left = [child for child in children() if child not in set(before)]
    alive = await asyncio.to_thread(_kill_after_grace, left)
    assert not alive, f"processes were left behind: {alive}"


def simulators_left(record: Path) -> list[int]:
    """Simulators in the record file, and their helpers, that still run; orphans too."""
    records: Sequence[Record] = read_records(record)
    pids = {r["pid"] for r in records} | {r["helper"] for r in records if "helper" in r}
    return sorted(pid for pid in pids if _is_running(pid))


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _kill_after_grace(processes: list[psutil.Process]) -> list[str]:
    _, alive = psutil.wait_procs(processes, timeout=1.0)
    names = [repr(process) for process in alive]
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=WAIT_SECONDS)
    return names
