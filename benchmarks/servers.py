"""The servers that are measured: gglib, and engines without it, as children of the benchmark."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil

_READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A process that answers on a port."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Of the process alone, without its children."""
        times = self.process.cpu_times()
        return times.user + times.system

    def rss_bytes(self) -> int:
        return self.process.memory_info().rss

    def peak_bytes(self) -> int:
        """The most memory that it has held since `forget_peak`; Linux alone tells."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return 1024 * int(found[1])

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


class Peak:
    """The most memory that a server was seen to hold while `peak_of` ran."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.bytes = server.rss_bytes()

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self.bytes = max(self.bytes, self._server.rss_bytes())


@asynccontextmanager
async def peak_of(server: Server) -> AsyncGenerator[Peak]:
    peak = Peak(server)
    watching = asyncio.create_task(peak.watch())
    try:
        yield peak
    finally:
        watching.cancel()


async def health_seconds(command: list[str], port: int) -> float:
    """How long a command takes to its first answer on the port; it is ended then."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not await answers(port):  # noqa: ASYNC110 -- only asking tells
                await asyncio.sleep(0.002)
        return time.perf_counter() - started
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def engine_script(directory: Path, module: str) -> Path:
    """A program that runs `module` of gglib as an engine."""
    path = directory / f"{module.rpartition('.')[2]}.sh"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
    path.chmod(0o755)
    return path


def serve_command(
    data_dir: Path, engine: Path, models: list[Path], port: int, module: str = "gglib_runtime"
) -> list[str]:
    return [
        *(sys.executable, "-m", module, "serve", *map(str, models), "--port", str(port)),
        *("--data-dir", str(data_dir), "--llama-server", str(engine)),
    ]


@asynccontextmanager
async def gglib(
    data_dir: Path,
    engine: Path,
    models: list[Path],
    *,
    settings: Mapping[str, object] | None = None,
    log: Path | None = None,
    module: str = "gglib_runtime",
) -> AsyncGenerator[Server]:
    """`gglib serve` on a port of its own, with these files as models, when all of it has started.

    With `log` it writes there what it tells of its work, else nothing but warnings to the terminal.
    """
    options = [f"--set={key}={value}" for key, value in (settings or {}).items()]
    command = [*serve_command(data_dir, engine, models, 0, module), *options]
    with log.open("w") if log else nullcontext() as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--log-level", "info" if log else "warning"),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        async with _serving(process) as server:
            yield server


@asynccontextmanager
async def _serving(process: asyncio.subprocess.Process) -> AsyncGenerator[Server]:
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_READY_SECONDS):
            line = (await process.stdout.readline()).decode()
        found = re.search(r":(\d+)$", line.strip())
        if found is None:
            raise RuntimeError(f"gglib did not start: {line!r}")
        port = int(found[1])
        if not await answers(port, "/v1/models"):  # waits until the control plane has started
            raise RuntimeError("gglib's control plane did not start")
        yield Server(port=port, process=psutil.Process(process.pid))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def engine_flags(model: Path, *, alias: str, port: int) -> list[str]:
    """The flags that gglib gives an engine, for one that is started without it."""
    return [
        *("--host", "127.0.0.1", "--port", str(port), "-m", str(model), "--alias", alias),
        *("-c", "16384", "-np", "4", "--threads-http", "512", "--cache-ram", "512", "--no-webui"),
    ]


@asynccontextmanager
async def engine_alone(engine: Path, model: Path, *, alias: str) -> AsyncGenerator[Server]:
    """An engine started by hand, from its start to its readiness and end."""
    port = free_port()
    command = [str(engine), *engine_flags(model, alias=alias, port=port)]
    async with program(command, port) as server:
        yield server


@asynccontextmanager
async def program(command: list[str], port: int) -> AsyncGenerator[Server]:
    """Any program that will answer `/health` on `port`."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not await answers(port):  # noqa: ASYNC110 -- only asking tells
                await asyncio.sleep(0.002)
        yield Server(port=port, process=_busiest(process.pid))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _busiest(pid: int) -> psutil.Process:
    """A process, or its child: nginx works in a child of the process that was started."""
    process = psutil.Process(pid)
    return next(iter(process.children()), process)


async def answers(port: int, path: str = "/health") -> bool:
    """Whether whoever listens there says 200."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.transport.abort()
