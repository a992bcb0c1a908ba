"""What the control plane shows to a key that is for some models only."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from quart.testing import QuartClient

from gglib_core.swaps import Requester, SwapCause
from gglib_proxy.control.app import create_app
from tests.catalog_entries import model
from tests.control_plane import THROUGH_DATA_PLANE, FakeModelRuntime, control_context

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
