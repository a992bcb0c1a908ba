"""What the control plane shows to a key that is for some models only."""

from __future__ import annotations

import dataclasses
import html
import json
from typing import Any

import pytest
from quart.testing import QuartClient

from gglib_core.generations import InMemoryGenerationLog
from gglib_core.models import ModelState
from gglib_core.server_log import SilentServerLog
from gglib_core.swaps import Requester, SwapCause
from gglib_proxy.control.admin.logs import log_routes
from gglib_proxy.control.app import create_app
from gglib_proxy.meters import Meters
from gglib_proxy.tally import Tally
from tests.catalog_entries import model
from tests.control_plane import THROUGH_DATA_PLANE, FakeModelRuntime, control_context
from tests.generations import generation

MINE, THEIRS = model(1, "mine-1", aliases=("m",)), model(2, "theirs", aliases=("mine-2",))
KEY = THROUGH_DATA_PLANE | {
    "x-gglib-endpoints": "inference,models",
    "x-gglib-key": "gg-abc***xyz",
    "x-gglib-models": json.dumps(["mine-*", "ü"]),
}
ANTHROPIC = {"anthropic-version": "2023-06-01"}


@pytest.fixture
def runtime() -> FakeModelRuntime:
    return FakeModelRuntime()


@pytest.fixture
def client(runtime: FakeModelRuntime) -> QuartClient:
    return create_app(control_context([MINE, THEIRS], runtime=runtime)).test_client()


async def names(client: QuartClient, path: str, headers: dict[str, str]) -> list[str]:
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 200
    return [each["id"] for each in (await answer.get_json())["data"]]


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
@pytest.mark.parametrize("dialect", [{}, ANTHROPIC])
async def test_lists_have_the_models_that_the_caller_may_use(
    client: QuartClient, path: str, dialect: dict[str, str]
) -> None:
    assert await names(client, path, KEY | dialect) == ["mine-1"]
    assert await names(client, path, dialect) == ["mine-1", "theirs"]


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
async def test_the_page_has_the_models_that_the_caller_may_use(
    client: QuartClient, accept: str
) -> None:
    answer = await client.get("/", headers=KEY | {"accept": accept})
    page = await answer.get_data(as_text=True)
    assert "mine-1" in page
    assert "theirs" not in page
    assert "Authorization: Bearer $OPENAI_API_KEY" in html.unescape(page)


@pytest.mark.parametrize("name", ["theirs", "mine-2", "2"])
async def test_another_model_is_neither_shown_nor_loaded(
    client: QuartClient, runtime: FakeModelRuntime, name: str
) -> None:
    shown = await client.get(f"/v1/models/{name}", headers=KEY)
    loaded = await client.post("/models/load", json={"model": name}, headers=KEY)
    for answer in (shown, loaded):
        assert answer.status_code == 403
        error = (await answer.get_json())["error"]
        assert error["code"] == "out_of_scope"
        assert "gg-abc***xyz" in error["message"]
        assert f"{name!r}" in error["message"]
        assert name == "theirs" or "theirs" not in error["message"]
    assert runtime.loaded == []


async def test_the_callers_own_are_shown_and_loaded(
    client: QuartClient, runtime: FakeModelRuntime
) -> None:
    assert (await client.get("/v1/models/m", headers=KEY)).status_code == 200
    headers = KEY | {"x-request-id": "req-7"}
    loaded = await client.post("/models/load", json={"model": "m"}, headers=headers)
    assert loaded.status_code == 200
    assert runtime.loaded == [("mine-1", 4096)]
    assert runtime.requester == Requester(
        cause=SwapCause.LOAD, request_id="req-7", key_name="gg-abc***xyz"
    )


async def test_a_wrong_name_is_not_helped_out_with_a_model_of_others(client: QuartClient) -> None:
    async def hint(headers: dict[str, str]) -> Any:
        answer = await client.get("/v1/models/theirz", headers=headers)
        assert answer.status_code == 404
        return (await answer.get_json())["error"]["message"]

    assert "theirs" in await hint({})
    assert "theirs" not in await hint(KEY)


async def test_metrics_of_single_models_are_of_those_that_the_caller_may_use(
    runtime: FakeModelRuntime,
) -> None:
    for each in (MINE, THEIRS):
        runtime.show(each, ModelState.LOADED, leases=1, memory_bytes=4096)
    tally = Tally()
    for name, tokens in (("mine-1", 3), ("theirs", 4)):
        tally.generation_ended(generation(model=name, completion_tokens=tokens))
    shown = control_context([MINE, THEIRS], runtime=runtime)
    client = create_app(dataclasses.replace(shown, meters=Meters(tally=tally))).test_client()

    async def scrape(headers: dict[str, str]) -> str:
        answer = await client.get("/metrics", headers=headers)
        assert answer.status_code == 200
        return await answer.get_data(as_text=True)

    assert "theirs" not in (mine := await scrape(KEY))
    assert 'gglib_completion_tokens_total{model="mine-1"} 3.0' in mine
    assert "llm_tokens_generated_total 7.0" in mine
    admin = KEY | {"x-gglib-endpoints": "inference,models,admin"}
    whole = KEY | {"x-gglib-models": "[]"}
    for headers in ({}, whole, admin):
        assert 'gglib_completion_tokens_total{model="theirs"} 4.0' in await scrape(headers)


LOGS = KEY | {"x-gglib-endpoints": "logs", "x-gglib-key-id": "1"}
ADMIN = KEY | {"x-gglib-endpoints": "admin,logs", "x-gglib-key-id": "1"}
BOTH = ["gen-theirs", "gen-mine"]


@pytest.mark.parametrize(
    ("headers", "ids"),
    [(LOGS, ["gen-mine"]), (LOGS | {"x-gglib-models": "[]"}, BOTH), (ADMIN, BOTH), ({}, BOTH)],
)
async def test_who_reads_the_records_of_all_sees_those_of_the_keys_models(
    headers: dict[str, str], ids: list[str]
) -> None:
    log = InMemoryGenerationLog()
    for number, name in enumerate(("mine", "theirs")):
        made = {"model": {"mine": "mine-1"}.get(name, name), "created_ms": number}
        log.record(generation(id=f"gen-{name}", key_id=9, **made))
    shown = control_context([MINE, THEIRS], generations=log)
    client = create_app(shown).test_client()
    assert await names(client, "/v1/generations", headers) == ids
    export = await (await client.get("/v1/generations.csv", headers=headers)).get_data(as_text=True)
    assert ("theirs" in export) == ("gen-theirs" in ids)
    one = await client.get("/v1/generation?id=gen-theirs", headers=headers)
    assert one.status_code == (200 if "gen-theirs" in ids else 404)
    assert (await client.get("/v1/generation?id=gen-mine", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        (LOGS, "", 403),
        (LOGS, "?model=theirs", 403),
        (LOGS, "?model=mine-1", 200),
        (LOGS | {"x-gglib-models": "[]"}, "", 200),
        (ADMIN, "", 200),
        (ADMIN, "?model=mine-1", 200),
    ],
)
async def test_a_log_that_names_all_models_is_not_for_a_key_for_some(
    headers: dict[str, str], query: str, status: int
) -> None:
    context = control_context([MINE, THEIRS])
    app = create_app(context)
    app.register_blueprint(log_routes(context, SilentServerLog()))
    client = app.test_client()
    assert (await client.get(f"/admin/logs{query}", headers=headers)).status_code == status
