"""`/v1/models` in OpenAI's and Anthropic's shapes."""

import dataclasses

import pytest
from quart.testing import QuartClient

from gglib_core.catalog import InMemoryModelCatalog
from gglib_core.models import Capability, GgufFacts, ModelState
from gglib_proxy.control.app import create_app
from tests.catalog_entries import model
from tests.control_plane import FakeModelRuntime, control_context

CHAT = dataclasses.replace(
    model(1, "org/Chat-7B", aliases=("chat", "gpt-4o"), context=2048),
    created=1_700_000_000,
    input_cost_per_1k=0.0005,
    output_cost_per_1k=0.0015,
    currency="EUR",
)
EMBED = model(
    2,
    "embed",
    facts=GgufFacts(architecture="bert", name="Embed!", context_length=512),
    capabilities=frozenset({Capability.EMBEDDINGS}),
)
ANTHROPIC = {"anthropic-version": "2023-06-01"}


@pytest.fixture
def runtime() -> FakeModelRuntime:
    return FakeModelRuntime()


@pytest.fixture
def client(runtime: FakeModelRuntime) -> QuartClient:
    return create_app(control_context([CHAT, EMBED], runtime=runtime)).test_client()


async def test_the_list_has_openais_shape_and_what_gglib_adds(
    client: QuartClient, runtime: FakeModelRuntime
) -> None:
    runtime.show(CHAT, ModelState.LOADED)
    answer = await client.get("/v1/models")
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert await answer.get_json() == {
        "object": "list",
        "data": [
            {
                "id": "org/Chat-7B",
                "object": "model",
                "created": 1_700_000_000,
                "owned_by": "local",
                "provider": "local",
                "context_window": 2048,
                "capabilities": ["chat"],
                "supports_streaming": True,
                "aliases": ["chat", "gpt-4o"],
                "status": "loaded",
                "pricing": {
                    "input_cost_per_1k": 0.0005,
                    "output_cost_per_1k": 0.0015,
                    "currency": "EUR",
                },
            },
            {
                "id": "embed",
                "object": "model",
                "created": 0,
                "owned_by": "local",
                "provider": "local",
                "context_window": 512,
                "capabilities": ["embeddings"],
                "supports_streaming": False,
                "aliases": [],
                "status": "unloaded",
                "pricing": {
                    "input_cost_per_1k": 0.0,
                    "output_cost_per_1k": 0.0,
                    "currency": "USD",
                },
            },
        ],
    }


async def test_a_change_of_state_is_seen_in_the_next_answer(
    client: QuartClient, runtime: FakeModelRuntime
) -> None:
    seen = []
    for state in (ModelState.LOADING, ModelState.LOADED, ModelState.FAILED):
        runtime.show(EMBED, state)
        document = await (await client.get("/v1/models")).get_json()
        seen.append(document["data"][1]["status"])
    assert seen == ["loading", "loaded", "failed"]


@pytest.mark.parametrize(
    "path",
    ["org/Chat-7B", "org%2FChat-7B", "chat", "gpt-4o", "1", "ORG/CHAT-7b"],
)
async def test_a_model_is_found_by_name_alias_and_id(client: QuartClient, path: str) -> None:
    answer = await client.get(f"/v1/models/{path}")
    assert answer.status_code == 200
    assert (await answer.get_json())["id"] == "org/Chat-7B"


@pytest.mark.parametrize(
    ("name", "path"),
    [("Größe/groß", "Gr%C3%B6%C3%9Fe%2Fgro%C3%9F"), ("a b?c#d", "a%20b%3Fc%23d"), ("50%", "50%25")],
)
async def test_names_survive_percent_encoding(name: str, path: str) -> None:
    client = create_app(control_context([model(1, name)])).test_client()
    assert (await (await client.get(f"/v1/models/{path}")).get_json())["id"] == name


async def test_an_entry_of_the_list_is_what_the_model_alone_gives(
    client: QuartClient,
) -> None:
    document = await (await client.get("/v1/models")).get_json()
    assert await (await client.get("/v1/models/chat")).get_json() == document["data"][0]


async def test_an_unknown_model_is_404_with_the_nearest_names(client: QuartClient) -> None:
    answer = await client.get("/v1/models/org/Chat-8B")
    assert answer.status_code == 404
    error = (await answer.get_json())["error"]
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"
    assert error["gglib"]["nearest"][0] == "org/Chat-7B"
    assert "Did you mean 'org/Chat-7B'" in error["message"]


async def test_anthropics_clients_get_anthropics_list(client: QuartClient) -> None:
    document = await (await client.get("/v1/models", headers=ANTHROPIC)).get_json()
    assert document == {
        "data": [
            {
                "type": "model",
                "id": "org/Chat-7B",
                "display_name": "org/Chat-7B",
                "created_at": "2023-11-14T22:13:20Z",
                "lifecycle": "active",
                "max_input_tokens": 2048,
            },
            {
                "type": "model",
                "id": "embed",
                "display_name": "Embed!",
                "created_at": "1970-01-01T00:00:00Z",
                "lifecycle": "active",
                "max_input_tokens": 512,
            },
        ],
        "has_more": False,
        "first_id": "org/Chat-7B",
        "last_id": "embed",
    }


async def test_anthropics_clients_get_one_model_and_errors_in_their_shape(
    client: QuartClient,
) -> None:
    found = await client.get("/v1/models/embed", headers=ANTHROPIC)
    assert (await found.get_json())["type"] == "model"
    missing = await client.get("/v1/models/nothing-like-it", headers=ANTHROPIC)
    assert missing.status_code == 404
    document = await missing.get_json()
    assert (document["type"], document["error"]["type"]) == ("error", "not_found_error")


async def test_an_empty_catalog_is_an_empty_list() -> None:
    client = create_app(control_context()).test_client()
    openai = await (await client.get("/v1/models")).get_json()
    anthropic = await (await client.get("/v1/models", headers=ANTHROPIC)).get_json()
    assert openai == {"object": "list", "data": []}
    assert anthropic == {"data": [], "has_more": False, "first_id": None, "last_id": None}


async def test_a_thousand_models_are_listed_and_follow_the_catalog() -> None:
    models = [model(number, f"org/model-{number}") for number in range(1, 1001)]
    context = control_context(models)
    client = create_app(context).test_client()
    document = await (await client.get("/v1/models")).get_json()
    assert [entry["id"] for entry in document["data"]] == [each.name for each in models]
    assert isinstance(context.catalog, InMemoryModelCatalog)
    context.catalog.replace(models[:999])
    document = await (await client.get("/v1/models")).get_json()
    assert len(document["data"]) == 999
    assert (await client.get("/v1/models/org/model-1000")).status_code == 404
