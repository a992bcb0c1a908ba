"""`/models`, loading and unloading, as llama.cpp's router has them."""

import asyncio

import pytest
from quart.testing import QuartClient

from gglib_core.errors import EveryModelPinned, LaunchFailed, LaunchFailure
from gglib_core.models import GgufFacts, ModelState
from gglib_proxy.control.app import create_app
from tests.catalog_entries import model
from tests.control_plane import FakeModelRuntime, control_context

ALPHA = model(
    1,
    "alpha",
    aliases=("a",),
    tags=("work",),
    arguments=("--temp", "0.5"),
    facts=GgufFacts(
        architecture="llama", context_length=8192, embedding_length=64, parameters=1234
    ),
)
BETA = model(2, "beta", context=1000)


@pytest.fixture
def runtime() -> FakeModelRuntime:
    return FakeModelRuntime()


@pytest.fixture
def client(runtime: FakeModelRuntime) -> QuartClient:
    return create_app(control_context([ALPHA, BETA], runtime=runtime)).test_client()


async def test_the_list_has_the_routers_shape(
    client: QuartClient, runtime: FakeModelRuntime
) -> None:
    runtime.show(ALPHA, ModelState.LOADED)
    document = await (await client.get("/models")).get_json()
    assert document["object"] == "list"
    assert document["data"][0] == {
        "id": "alpha",
        "aliases": ["a"],
        "tags": ["work"],
        "object": "model",
        "owned_by": "llamacpp",
        "created": 0,
        "status": {"value": "loaded", "args": ["--temp", "0.5"]},
        "meta": {
            "n_ctx": 4096,
            "n_ctx_train": 8192,
            "n_embd": 64,
            "n_params": 1234,
            "size": 1000,
        },
    }
    assert document["data"][1]["status"] == {"value": "unloaded", "args": []}


async def test_a_failed_model_is_unloaded_and_says_that_it_failed(
    client: QuartClient, runtime: FakeModelRuntime
) -> None:
    runtime.show(BETA, ModelState.FAILED, failure="out of memory")
    document = await (await client.get("/models")).get_json()
    assert document["data"][1]["status"] == {
        "value": "unloaded",
        "args": [],
        "failed": True,
        "failure": "out of memory",
    }


@pytest.mark.parametrize(("name", "context"), [("alpha", 4096), ("a", 4096), ("2", 1000)])
async def test_a_load_has_the_model_loaded_with_its_own_context(
    client: QuartClient, runtime: FakeModelRuntime, name: str, context: int
) -> None:
    answer = await client.post("/models/load", json={"model": name})
    assert answer.status_code == 200
    assert await answer.get_json() == {"success": True}
    assert runtime.loaded == [("beta" if name == "2" else "alpha", context)]


async def test_a_load_is_answered_when_the_model_is_loaded(
    client: QuartClient, runtime: FakeModelRuntime
) -> None:
    runtime.gate = asyncio.Event()
    loading = asyncio.ensure_future(client.post("/models/load", json={"model": "alpha"}))
    await runtime.was_asked.wait()
    assert not loading.done()
    runtime.gate.set()
    assert (await loading).status_code == 200


async def test_a_load_that_fails_says_why_and_shows_the_log(
    client: QuartClient, runtime: FakeModelRuntime
) -> None:
    runtime.admission_error = LaunchFailed(
        "alpha", LaunchFailure.BAD_FILE, "no GGUF", ["line 1", "line 2"]
    )
    answer = await client.post("/models/load", json={"model": "alpha"})
    assert answer.status_code == 500
    assert answer.headers["x-should-retry"] == "false"
    error = (await answer.get_json())["error"]
    assert error["code"] == "model_load_failed"
    assert error["gglib"]["failure"] == "bad_file"
    assert error["gglib"]["log"] == ["line 1", "line 2"]


async def test_a_load_without_room_is_a_conflict(
    client: QuartClient, runtime: FakeModelRuntime
) -> None:
    runtime.admission_error = EveryModelPinned("alpha", ["beta"])
    answer = await client.post("/models/load", json={"model": "alpha"})
    assert answer.status_code == 409
    assert (await answer.get_json())["error"]["code"] == "all_models_pinned"


@pytest.mark.parametrize("path", ["/models/load", "/models/unload"])
async def test_an_unknown_model_is_404_with_the_nearest_names(
    client: QuartClient, runtime: FakeModelRuntime, path: str
) -> None:
    answer = await client.post(path, json={"model": "alpa"})
    assert answer.status_code == 404
    assert (await answer.get_json())["error"]["gglib"]["nearest"][0] == "alpha"
    assert (runtime.loaded, runtime.stopped) == ([], [])


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"model":null}', b"[]", b"nonsense", b'{"model":1}', b'{"model":"\xff"}']
)
async def test_a_load_without_a_name_is_refused(
    client: QuartClient, runtime: FakeModelRuntime, body: bytes
) -> None:
    answer = await client.post("/models/load", data=body)
    assert answer.status_code == 400
    assert (await answer.get_json())["error"]["code"] == "invalid_request"
    assert runtime.loaded == []


async def test_a_body_nested_without_end_is_refused(client: QuartClient) -> None:
    answer = await client.post("/models/unload", data=b'{"x":' + b"[" * 200_000)
    assert answer.status_code == 400


@pytest.mark.parametrize("state", [ModelState.LOADED, ModelState.LOADING, ModelState.STOPPING])
async def test_an_unload_stops_the_model(
    client: QuartClient, runtime: FakeModelRuntime, state: ModelState
) -> None:
    runtime.show(BETA, state)
    answer = await client.post("/models/unload", json={"model": "BETA"})
    assert await answer.get_json() == {"success": True}
    assert runtime.stopped == [2]


@pytest.mark.parametrize("state", [None, ModelState.FAILED, ModelState.UNLOADED])
async def test_an_unload_of_what_is_not_loaded_is_a_conflict(
    client: QuartClient, runtime: FakeModelRuntime, state: ModelState | None
) -> None:
    if state is not None:
        runtime.show(BETA, state)
    answer = await client.post("/models/unload", json={"model": "beta"})
    assert answer.status_code == 409
    assert answer.headers["x-should-retry"] == "false"
    assert (await answer.get_json())["error"]["code"] == "model_not_loaded"
    assert runtime.stopped == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"model":null}'])
async def test_an_unload_without_a_name_stops_all(
    client: QuartClient, runtime: FakeModelRuntime, body: bytes
) -> None:
    answer = await client.post("/models/unload", data=body)
    assert await answer.get_json() == {"success": True}
    assert runtime.stopped == [None]
