"""A `gglib serve` to make faults in: the user's settings, its own directory, simulated engines.

Not here: the faults.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from gglib_runtime.chaos.outcome import Broken
from gglib_runtime.chaos.wire import WAIT_SECONDS, Answer, Connection, open_connection
from gglib_runtime.cli.failures import CommandFailed
from gglib_runtime.paths import DataPaths

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings

CHAT = "/v1/chat/completions"
MODEL, OTHER = "alpha", "beta"
SERVE = (sys.executable, "-m", "gglib_runtime", "serve")
SLOW = {"tokens": 100_000, "token_seconds": 0.01}
"""What makes an answer last."""
_LISTENS = re.compile(rb"listens on (https?://\S+)")
_POLL_SECONDS = 0.02
_STOP_SECONDS = 60.0
_OWN: dict[str, object] = {
    "host": "127.0.0.1",
    "port": 0,
    "no_auth": "true",
    "requests_per_minute": 0,
    "tokens_per_minute": 0,
    "concurrent_requests": 0,
    "budget_per_day": 0,
    "budget_per_month": 0,
    "limits": "",
    "max_connections_per_peer": 0,
    "otel_enabled": "false",
}
"""Settings that are not the user's: where it listens, and limits that the experiments would hit."""
Sims = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True, kw_only=True)
class Stage:
    """The server under trial, and what can be done to it."""

    url: str
    paths: DataPaths
    process: asyncio.subprocess.Process
    seen_engines: list[psutil.Process] = field(default_factory=list[psutil.Process])
    """All engines that were looked at, for none to be left at the end."""

    # clients

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Connection]:
        async with open_connection(self.url) as connection:
            yield connection

    async def ask(self, model: str = MODEL, **sim: Any) -> Answer:  # noqa: ANN401
        """One whole answer, on a connection of its own."""
        async with self.client() as connection:
            connection.request("POST", CHAT, chat(model, **sim))
            return await connection.answer()

    @asynccontextmanager
    async def streaming(self, model: str = MODEL, **sim: Any) -> AsyncGenerator[Connection]:  # noqa: ANN401
        """A client inside a stream that lasts."""
        async with self.client() as connection:
            connection.request("POST", CHAT, chat(model, stream=True, **(SLOW | sim)))
            await connection.begun()
            yield connection

    # engines

    def engines(self) -> list[psutil.Process]:
        """The engine processes that run now."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.seen_engines += [each for each in found if each not in self.seen_engines]
        return found

    def engine(self) -> psutil.Process:
        """The one engine; raises Broken if there are more or less."""
        found = self.engines()
        if len(found) != 1:
            raise Broken(f"{len(found)} engines run where one should")
        return found[0]

    # the server

    async def under_way(self, wanted: int) -> None:
        """Wait until so many requests hold a model or wait for one."""

        def count() -> int:
            return sum(each["leases"] + each["waiting"] for each in self._status()["models"])

        await until(count, wanted, f"requests are not {wanted}")

    async def answers_again(self, model: str = MODEL) -> None:
        """Wait until the model can be had; a load that failed is remembered for a while."""
        async with _patience(f"{model} did not answer again"):
            while (await self.ask(model)).status != 200:  # noqa: ASYNC110 - a process is asked
                await asyncio.sleep(10 * _POLL_SECONDS)

    async def settle(self) -> None:
        """Check what must be true after every fault; raises Broken."""
        await self.under_way(0)
        await self.answers_again()
        await asyncio.to_thread(self._unload)
        await until(lambda: len(self.engines()), 0, "an engine is left after unloading")

    def _status(self) -> dict[str, Any]:
        from gglib_runtime.cli.server import find_server

        return find_server(self.paths).status()

    def _unload(self) -> None:
        from gglib_runtime.cli.server import find_server

        find_server(self.paths).unload(None)


def chat(model: str = MODEL, *, stream: bool = False, **sim: Any) -> dict[str, Any]:  # noqa: ANN401
    """A request, with what it asks of the simulator."""
    messages = [{"role": "user", "content": "hello"}]
    return {"model": model, "messages": messages, "stream": stream, "gglib_sim": sim}


def fault(kind: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """What a request does to its own answer."""
    return {"faults": [{"kind": kind, **more}]}


async def until(
    value: Callable[[], object], wanted: object, otherwise: str, seconds: float = WAIT_SECONDS
) -> None:
    """Wait until `value` is what is wanted, which no event tells; raises Broken."""
    async with _patience(otherwise, seconds):
        while await asyncio.to_thread(value) != wanted:  # noqa: ASYNC110 - processes are asked
            await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def _patience(otherwise: str, seconds: float = WAIT_SECONDS) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Broken(f"{otherwise}, after {seconds:.0f} seconds") from None


# its life


@asynccontextmanager
async def open_stage(
    loaded: LoadedSettings,
    directory: Path,
    model: Path,
    sims: Sims,
    changes: Mapping[str, object],
    command: Sequence[str] = SERVE,
) -> AsyncGenerator[Stage]:
    """A server with the user's settings but `changes`, and models that behave as `sims` say.

    It keeps everything in `directory`; all its models are the file `model`, by other names. Raises
    CommandFailed if it does not start. Nothing of it runs afterwards.
    """
    paths = DataPaths(directory / "data")
    engine = _prepare(loaded, paths, directory, model, sims)
    places = {"data_dir": paths.root, "llama_server": engine, "database_url": _database(paths)}
    own: dict[str, object] = {**_OWN, **places, **changes}
    arguments = [*_users_arguments(loaded), *(f"--set={key}={own[key]}" for key in own)]
    log = directory / "serve.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(*command, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env={k: v for k, v in os.environ.items() if not k.startswith("GGLIB_SIM")},
            start_new_session=True,
        )
    stage = Stage(url="", paths=paths, process=process)
    try:
        stage.url = await _listening(process, log)
        yield stage
    finally:
        stage.engines()
        await _stop(stage)


def _database(paths: DataPaths) -> str:
    return f"sqlite:///{paths.database}"


def _prepare(
    loaded: LoadedSettings, paths: DataPaths, directory: Path, model: Path, sims: Sims
) -> Path:
    """Fill the catalog, take over what admins have set; the path of the engine."""
    paths.create()
    if loaded.settings.paths.admin_settings.exists():
        shutil.copy(loaded.settings.paths.admin_settings, paths.admin_settings)
    for name, sim in sims.items():
        file = directory / f"{name}.gguf"
        os.link(model, file)
        _add_model(paths, file, sim)
    engine = directory / "engine"
    engine.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gglib_runtime.simulator "$@"\n')
    engine.chmod(0o700)
    return engine


def _add_model(paths: DataPaths, file: Path, sim: Mapping[str, Any]) -> None:
    from gglib_core.models import NewModel
    from gglib_runtime.catalog.database import open_database
    from gglib_runtime.catalog.migration import upgrade
    from gglib_runtime.catalog.store import SqlModelStore
    from gglib_runtime.gguf.description import describe_model

    described = describe_model(file)
    behaviour = dict(sim)
    concurrent = behaviour.pop("max_concurrent", None)
    with open_database(_database(paths)) as database:
        upgrade(database)
        SqlModelStore(database).add(
            NewModel(
                name=file.stem,
                paths=described.paths,
                size_bytes=described.size_bytes,
                facts=described.facts,
                capabilities=described.capabilities,
                environment=(("GGLIB_SIM", json.dumps(behaviour)),),
                max_concurrent=concurrent,
            )
        )


def _users_arguments(loaded: LoadedSettings) -> list[str]:
    """Where the user's settings come from, for the child to read them again."""
    file = [] if loaded.config_file is None else ["--config", str(loaded.config_file)]
    return [*file, *(f"--set={each}" for each in loaded.sources.assignments)]


async def _listening(process: asyncio.subprocess.Process, log: Path) -> str:
    """The URL that the server announces."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            async for line in process.stdout:
                if found := _LISTENS.search(line):
                    return found[1].decode()
    except TimeoutError:
        pass
    raise CommandFailed(f"A server with these settings did not start: {_last_lines(log)}")


def _last_lines(log: Path) -> str:
    return " ".join(log.read_text(errors="replace").strip().splitlines()[-3:])


async def _stop(stage: Stage) -> None:
    """End the server and, should any be left, its engines."""
    process = stage.process
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    for engine in stage.seen_engines:
        with suppress(psutil.NoSuchProcess):
            engine.kill()
