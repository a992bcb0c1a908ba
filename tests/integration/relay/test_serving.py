"""Both planes served as a program that embeds gglib does it: with ports in memory alone."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gglib_core.catalog import CatalogSnapshot
from gglib_core.in_memory_runtime import InMemoryModelRuntime
from gglib_core.models import Model
from gglib_proxy import Limits, serve
from gglib_proxy.services import Services, Tuning
from tests.planes import BODY, CHAT, STREAM_BODY, LedgerRuntime
from tests.raw_http import RawConnection, ask_once, open_raw
from tests.upstreams import (
    STREAM_END,
    STREAM_HEAD,
    Peer,
    Script,
    answering,
    chunked,
    event,
    open_upstream,
    response,
    silent,
)

PATH = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def the_interpreter_is_left_as_it_was() -> Iterator[None]:
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    gc.unfreeze()


@dataclass(slots=True, kw_only=True, eq=False)
class Served:
    """A running server."""

    port: int
    task: asyncio.Task[None]
    stop: asyncio.Event
    hurry: asyncio.Event
    ledger: LedgerRuntime
    runtime: InMemoryModelRuntime
    socket_path: str = ""

    def open(self) -> Any:
        return open_raw(self.port)

    async def ended(self) -> None:
        """Wait until `serve` has returned; everything must be back by then."""
        async with asyncio.timeout(20):
            await asyncio.wait((self.task,))
        assert [lease.releases for lease in self.ledger.leases if lease.releases != 1] == []
        assert not Path(self.socket_path).parent.exists()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", self.port)).close()


@asynccontextmanager
async def serving(
    *scripts: Script,
    models: Iterable[Model] = (CHAT,),
    limits: Limits | None = None,
    **hooks: Any,
) -> AsyncIterator[Served]:
    """Serve with an upstream; stopped at the end, and nothing may be left.

    No comment comes before an answer, however slow the machine is.
    """
    before = asyncio.all_tasks()
    limits = replace(limits or Limits(), stream_grace_seconds=1000)
    async with open_upstream(*scripts) as upstream:
        runtime = InMemoryModelRuntime("127.0.0.1", upstream.port, **hooks)
        ledger = LedgerRuntime(runtime)
        listener = socket.create_server(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        stop, hurry, listening = asyncio.Event(), asyncio.Event(), asyncio.Event()
        served = Served(
            port=port,
            stop=stop,
            hurry=hurry,
            ledger=ledger,
            runtime=runtime,
            task=asyncio.ensure_future(asyncio.sleep(0)),
        )

        def on_listening(path: str) -> None:
            served.socket_path = path
            listening.set()

        served.task = asyncio.create_task(
            serve(
                listener,
                Services(runtime=ledger, catalog=CatalogSnapshot(models)),
                default_ctx=4096,
                stop=stop,
                hurry=hurry,
                tuning=Tuning(limits),
                on_listening=on_listening,
            )
        )
        try:
            async with asyncio.timeout(20):
                await listening.wait()
            yield served
        finally:
            stop.set()
            hurry.set()
            await served.ended()
            await runtime.aclose()
        assert listener.fileno() == -1
        if not served.task.cancelled():
            served.task.result()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, left


async def begun(client: RawConnection) -> None:
    """A stream runs: its first event has come."""
    client.request("POST", PATH, STREAM_BODY)
    assert await client.chunk_after_head() == event(1)


class Gate:
    """A stream that goes on when it is told."""

    def __init__(self, first: bytes = event(1)) -> None:
        self.opened = asyncio.Event()
        self.first = first

    async def script(self, peer: Peer) -> None:
        await peer.request()
        peer.send(STREAM_HEAD + chunked(self.first))
        await self.opened.wait()
        peer.send(chunked(event("[DONE]")) + STREAM_END)
        await peer.gone()


# As the seed's example does it


async def test_a_server_without_models_answers_and_stops() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    stop = asyncio.Event()
    runtime = InMemoryModelRuntime("127.0.0.1", 12345)
    server = asyncio.create_task(
        serve(
            listener,
            Services(runtime=runtime, catalog=CatalogSnapshot()),
            default_ctx=4096,
            stop=stop,
        )
    )
    answer = await ask_once(port, "GET", "/health")
    assert (answer.status, answer.json["status"], answer.json["models"]) == (200, "ok", [])
    stop.set()
    await asyncio.wait_for(server, 20)
    await runtime.aclose()


async def test_both_planes_answer() -> None:
    async with serving(answering(response(b'"hello"'))) as served, served.open() as client:
        assert (await client.ask("POST", PATH, BODY)).body == b'"hello"'
        listed = (await client.ask("GET", "/v1/models")).json
        assert [entry["id"] for entry in listed["data"]] == ["chat"]
        assert listed["data"][0]["status"] == "loaded"
        missing = await client.ask("GET", "/nowhere")
        assert (missing.status, missing.json["error"]["gglib"]["source"]) == (404, "gglib")
        health = (await client.ask("GET", "/health")).json
        assert health["models"] == [{"id": "chat", "status": "loaded"}]


def test_importing_the_package_costs_nothing() -> None:
    code = "import sys, gglib_proxy; print({'httptools', 'asyncio', 'quart'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def test_the_package_has_nothing_but_what_it_says() -> None:
    import gglib_proxy

    with pytest.raises(AttributeError, match="nothing"):
        gglib_proxy.nothing  # noqa: B018
    assert all(getattr(gglib_proxy, name) is not None for name in gglib_proxy.__all__)


# The end


async def test_running_answers_end_and_nobody_new_comes_in() -> None:
    gate = Gate()
    async with serving(gate.script) as served, served.open() as client, served.open() as idle:
        await idle.ask("GET", "/health")
        await begun(client)
        served.stop.set()
        assert await idle.rest() == b""
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", served.port)).close()
        gate.opened.set()
        assert await client.chunk() == event("[DONE]")
        assert await client.chunk() == b""
        assert await client.rest() == b""
        await served.ended()


@pytest.mark.parametrize("how", ["time", "hurry", "cancel"])
async def test_a_stream_that_does_not_end_is_ended_with_an_error(how: str) -> None:
    gate = Gate()
    limits = Limits(drain_seconds=0.05 if how == "time" else 1000)
    async with serving(gate.script, limits=limits) as served, served.open() as client:
        await begun(client)
        if how == "cancel":
            served.task.cancel()
        served.stop.set()
        if how == "hurry":
            served.hurry.set()
        assert b'"shutting_down"' in await client.chunk()
        assert await client.chunk() == b""
        assert await client.rest() == b""
        await served.ended()


async def test_a_stream_inside_an_event_is_cut() -> None:
    gate = Gate(b"data: half")
    limits = Limits(drain_seconds=0)
    async with serving(gate.script, limits=limits) as served, served.open() as client:
        client.request("POST", PATH, STREAM_BODY)
        assert await client.chunk_after_head() == b"data: half"
        served.stop.set()
        assert await client.rest() == b""
        await served.ended()


async def test_a_client_that_waits_for_an_answer_is_told() -> None:
    limits = Limits(drain_seconds=0)
    async with serving(silent(), limits=limits) as served, served.open() as client:
        client.request("POST", PATH, BODY)
        while not served.ledger.leases:  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.001)
        served.stop.set()
        answer = await client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (503, "shutting_down")
        assert int(answer.headers["retry-after"]) >= 1
        assert await client.rest() == b""
        await served.ended()


async def test_a_client_that_waits_for_its_model_is_told() -> None:
    loading = asyncio.Event()

    async def load(model: Model) -> None:
        loading.set()
        await asyncio.Event().wait()

    limits = Limits(drain_seconds=0)
    async with serving(limits=limits, loading=load) as served, served.open() as client:
        client.request("POST", PATH, BODY)
        await loading.wait()
        served.stop.set()
        assert (await client.answer()).status == 503
        await served.ended()


async def test_an_answer_of_the_control_plane_that_has_no_end_is_told_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gglib_proxy.server._CLOSE_SECONDS", 1000)
    loading = asyncio.Event()

    async def load(model: Model) -> None:
        loading.set()
        await asyncio.Event().wait()

    async with serving(loading=load) as served, served.open() as client:
        client.request("POST", "/models/load", {"model": "chat"})
        await loading.wait()
        served.stop.set()
        answer = await client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (503, "shutting_down")
        await served.ended()


async def test_the_private_socket_answers_while_others_drain() -> None:
    gate = Gate()
    async with serving(gate.script) as served, served.open() as client:
        await begun(client)
        assert (await client_of(served, "/v1/models")).startswith(b"HTTP/1.1 200")
        served.stop.set()
        while await is_let_in(served.port):  # noqa: ASYNC110 - only trying tells
            await asyncio.sleep(0.001)
        assert (await client_of(served, "/v1/models")).startswith(b"HTTP/1.1 200")
        gate.opened.set()
        assert await client.chunk() == event("[DONE]")
        await served.ended()


async def is_let_in(port: int) -> bool:
    try:
        async with open_raw(port):
            return True
    except OSError:
        return False


async def client_of(served: Served, path: str) -> bytes:
    """Ask over the private socket, as the command line does."""
    async with asyncio.timeout(20):
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(served.socket_path)
                break
            except OSError:
                await asyncio.sleep(0.01)  # the control plane starts behind the data plane
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer


async def test_a_client_that_takes_no_byte_does_not_hold_the_server_up() -> None:
    big = response(b"x" * 20_000_000)
    limits = Limits(drain_seconds=0)
    async with serving(answering(big), limits=limits) as served, served.open() as client:
        client.request("POST", PATH, BODY)
        await client.head()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        served.stop.set()
        await served.ended()
        client.writer.transport.abort()


async def test_a_server_that_is_stopped_at_once_leaves_nothing() -> None:
    async with serving() as served:
        served.stop.set()
        await served.ended()


class Refusing(socket.socket):
    """Cannot be listened on."""

    def listen(self, backlog: int = 0, /) -> None:
        raise OSError("no")


async def test_a_server_that_cannot_listen_closes_its_socket() -> None:
    listener = Refusing()
    listener.bind(("127.0.0.1", 0))
    runtime = InMemoryModelRuntime("127.0.0.1", 1)
    with pytest.raises(OSError, match="no"):
        await serve(
            listener,
            Services(runtime=runtime, catalog=CatalogSnapshot()),
            default_ctx=1,
            stop=asyncio.Event(),
        )
    assert listener.fileno() == -1
    await runtime.aclose()
