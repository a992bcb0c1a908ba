"""The control plane as clients see it: through the data plane, with the SDKs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anthropic
import openai
import pytest

from gglib_core.catalog import InMemoryModelCatalog
from gglib_core.errors import LaunchFailed, LaunchFailure
from gglib_core.models import Capability, Model
from gglib_proxy.server import serve
from gglib_proxy.services import Services
from tests.catalog_entries import model
from tests.control_plane import FakeModelLogs, FakeModelRuntime
from tests.raw_http import RawConnection, ask_once, open_raw

CHAT = model(1, "org/Chat-7B", aliases=("gpt-4o",), context=2048)
EMBED = model(2, "embed", capabilities=frozenset({Capability.EMBEDDINGS}))


class Gateway:
    """Both planes, being served."""

    def __init__(self, port: int, socket_path: str, runtime: FakeModelRuntime) -> None:
        self.port = port
        self.socket_path = socket_path
        self.runtime = runtime
        self.url = f"http://127.0.0.1:{port}"

    @asynccontextmanager
    async def connect_privately(self) -> AsyncGenerator[RawConnection]:
        reader, writer = await asyncio.open_unix_connection(self.socket_path)
        try:
            yield RawConnection(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def open_gateway(models: Sequence[Model] = (CHAT, EMBED)) -> AsyncGenerator[Gateway]:
    """Serve both planes on a free port; stopped afterwards."""
    listener = socket.create_server(("127.0.0.1", 0))
    port, runtime, stop = listener.getsockname()[1], FakeModelRuntime(), asyncio.Event()
    path: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(
            listener,
            Services(runtime=runtime, catalog=InMemoryModelCatalog(models), logs=FakeModelLogs()),
            default_ctx=4096,
            stop=stop,
            on_listening=path.set_result,
        )
    )
    try:
        yield Gateway(port, await path, runtime)
    finally:
        stop.set()
        await serving


async def test_the_openai_sdk_lists_and_retrieves_models() -> None:
    async with (
        open_gateway() as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        listed = [entry async for entry in client.models.list()]
        assert [(entry.id, entry.owned_by, entry.object) for entry in listed] == [
            ("org/Chat-7B", "local", "model"),
            ("embed", "local", "model"),
        ]
        for name in ("org/Chat-7B", "gpt-4o", "1"):
            assert await client.models.retrieve(name) == listed[0]
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("org/Chat-8B")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "org/Chat-7B" in caught.value.message


async def test_the_openai_sdk_lists_a_thousand_models() -> None:
    models = [model(number, f"org/model-{number}") for number in range(1, 1001)]
    async with (
        open_gateway(models) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        assert [entry.id async for entry in client.models.list()] == [each.name for each in models]


async def test_the_anthropic_sdk_lists_and_retrieves_models() -> None:
    async with (
        open_gateway() as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client,
    ):
        listed = [entry async for entry in client.models.list(limit=1)]
        assert [(entry.id, entry.type) for entry in listed] == [
            ("org/Chat-7B", "model"),
            ("embed", "model"),
        ]
        assert await client.models.retrieve("gpt-4o") == listed[0]
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.models.retrieve("nothing-like-it")
    body = caught.value.body
    assert isinstance(body, dict)
    assert body["error"]["type"] == "not_found_error"


async def test_an_sdk_is_told_not_to_repeat_a_load_that_cannot_work() -> None:
    async with (
        open_gateway() as gateway,
        openai.AsyncOpenAI(base_url=gateway.url, api_key="none", max_retries=5) as client,
    ):
        gateway.runtime.admission_error = LaunchFailed("embed", LaunchFailure.BAD_FILE, "no GGUF")
        with pytest.raises(openai.InternalServerError, match="no GGUF"):
            await client.post("/models/load", body={"model": "embed"}, cast_to=object)
        assert len(gateway.runtime.loaded) == 1


async def test_models_are_loaded_through_the_data_plane() -> None:
    async with open_gateway() as gateway:
        answer = await ask_once(gateway.port, "POST", "/models/load", {"model": "gpt-4o"})
        assert (answer.status, answer.json) == (200, {"success": True})
        assert gateway.runtime.loaded == [("org/Chat-7B", 2048)]


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/logs/embed", "//api/v1/status"])
@pytest.mark.parametrize("headers", [{}, {"x-gglib-peer": ""}, {"Connection": "x-gglib-peer"}])
async def test_what_is_the_owners_cannot_be_had_by_clients(
    path: str, headers: dict[str, str]
) -> None:
    async with open_gateway() as gateway:
        answer = await ask_once(gateway.port, "GET", path, headers=headers)
        assert answer.status == 404
        assert answer.json["error"]["code"] == "not_found"


async def test_the_owner_has_it_over_the_private_socket() -> None:
    async with open_gateway() as gateway, open_raw(gateway.port) as public:
        assert (await public.ask("GET", "/v1/models")).status == 200  # so the control plane is up
        async with gateway.connect_privately() as connection:
            status = await connection.ask("GET", "/api/v1/status")
            logs = await connection.ask("GET", "/api/v1/logs/embed")
    assert status.json["url"] == gateway.url
    assert logs.status == 200


async def test_a_browser_is_shown_the_address_that_it_used() -> None:
    async with open_gateway() as gateway:
        headers = {"accept": "text/html", "Host": "localhost:1234"}
        answer = await ask_once(gateway.port, "GET", "/", headers=headers)
    assert b"<code>http://localhost:1234/v1</code>" in answer.body
    assert "default-src 'none'" in answer.headers["content-security-policy"]
