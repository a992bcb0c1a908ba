"""`/admin/keys`: API keys, seen and changed by those who administer them."""

from __future__ import annotations

from typing import Any

import pytest
from quart import Quart
from quart.testing import QuartClient

from gglib_core.api_keys import InMemoryApiKeys, NewKey
from gglib_core.keys import Endpoint
from gglib_proxy.control.admin.keys import key_routes
from gglib_proxy.control.answers import register_error_answers


@pytest.fixture
def keys() -> InMemoryApiKeys:
    return InMemoryApiKeys(clock=lambda: 1_800_000_000.0)


@pytest.fixture
def client(keys: InMemoryApiKeys) -> QuartClient:
    app = Quart(__name__)
    app.register_blueprint(key_routes(keys))
    register_error_answers(app)
    return app.test_client()


async def send(client: QuartClient, method: str, path: str, body: object) -> tuple[int, Any]:
    answer = await client.open(path, method=method, json=body)
    return answer.status_code, await answer.get_json()


def fields_of(error: dict[str, Any]) -> set[str]:
    details = error["error"]
    listed = details.get("all_details") or [details["details"]]
    assert details["details"] == listed[0]
    assert all(each["issue"] for each in listed)
    return {each["field"] for each in listed}


async def test_a_key_is_made_and_its_secret_shown_this_once(
    client: QuartClient, keys: InMemoryApiKeys
) -> None:
    wanted = {"name": "ci", "models": ["small-*", "small-*"], "requests_per_minute": 60}
    answer = await client.post("/admin/keys", json=wanted)
    made = await answer.get_json()
    assert (answer.status_code, answer.headers["location"]) == (201, "/admin/keys/ci")
    assert answer.headers["cache-control"] == "no-store"
    found = keys.ring.current.find(made["key"])
    assert found is not None
    assert (found.name, found.models, found.allowance.requests_per_minute) == (
        "ci",
        ("small-*",),
        60,
    )
    shown = await client.get("/admin/keys/ci")
    assert made["key"] not in (text := await shown.get_data(as_text=True))
    assert made.pop("key") not in text
    assert await shown.get_json() == made
    assert made == {
        "id": 1,
        "name": "ci",
        "mask": found.mask,
        "state": "enabled",
        "endpoints": ["inference", "models"],
        "models": ["small-*"],
        "expires": None,
        "requests_per_minute": 60,
        "tokens_per_minute": None,
        "concurrent_requests": None,
        "budget_per_day": None,
        "budget_per_month": None,
        "created": 1_800_000_000,
    }
    assert await (await client.get("/admin/keys")).get_json() == {"object": "list", "data": [made]}


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (2_000_000_000.5, 2_000_000_000.5),
        ("2033-05-18T03:33:20Z", 2_000_000_000.0),
        ("2033-05-18T05:33:20+02:00", 2_000_000_000.0),
        ("2033-05-18T03:33:20", 2_000_000_000.0),
    ],
)
async def test_an_end_is_a_number_or_a_time(
    client: QuartClient, sent: object, seconds: float
) -> None:
    status, made = await send(client, "POST", "/admin/keys", {"name": "ci", "expires": sent})
    assert (status, made["expires"]) == (201, seconds)


async def test_a_change_leaves_what_it_does_not_name(
    client: QuartClient, keys: InMemoryApiKeys
) -> None:
    await send(client, "POST", "/admin/keys", {"name": "ci", "budget_per_day": 5, "models": ["a"]})
    changes = {"endpoints": ["logs"], "tokens_per_minute": 7, "expires": 2e9, "enabled": False}
    status, changed = await send(client, "PATCH", "/admin/keys/ci", changes)
    assert (status, changed["state"], changed["endpoints"]) == (200, "disabled", ["logs"])
    assert (changed["budget_per_day"], changed["tokens_per_minute"]) == (5.0, 7)
    assert (changed["models"], changed["expires"]) == (["a"], 2e9)
    nothing = {"budget_per_day": None, "models": None, "expires": None, "endpoints": None}
    _, cleared = await send(client, "PATCH", "/admin/keys/ci", nothing | {"name": "new"})
    assert (cleared["name"], cleared["budget_per_day"], cleared["models"]) == ("new", None, [])
    assert (cleared["expires"], cleared["endpoints"]) == (None, ["inference", "models"])
    assert cleared["tokens_per_minute"] == 7
    assert (await keys.get("new")).is_enabled is False


async def test_a_key_can_be_switched_off_and_on_and_get_a_new_secret(
    client: QuartClient, keys: InMemoryApiKeys
) -> None:
    old = await keys.create(NewKey(name="ci", endpoints=frozenset({Endpoint.LOGS})))
    _, off = await send(client, "POST", "/admin/keys/ci/disable", None)
    assert (off["state"], (await keys.get("ci")).is_enabled) == ("disabled", False)
    _, on = await send(client, "POST", "/admin/keys/ci/enable", None)
    assert (on["state"], (await keys.get("ci")).is_enabled) == ("enabled", True)
    _, new = await send(client, "POST", "/admin/keys/ci/rotate", None)
    ring = keys.ring.current
    assert (ring.find(old.secret), ring.find(new["key"])) == (None, await keys.get("ci"))
    status, gone = await send(client, "DELETE", "/admin/keys/ci", None)
    assert (status, gone) == (200, {"id": 1, "name": "ci", "deleted": True})
    assert list(await keys.list()) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/enable"),
        ("POST", "/disable"),
    ],
)
async def test_a_key_that_is_none_is_404(client: QuartClient, method: str, path: str) -> None:
    status, error = await send(client, method, f"/admin/keys/none{path}", {})
    assert (status, error["error"]["code"]) == (404, "key_not_found")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"name"}),
        ({"name": 7, "models": "a", "more": 1}, {"name", "models", "more"}),
        ({"name": "x", "models": ["a", 1]}, {"models[1]"}),
        ({"name": "x", "endpoints": ["all"]}, {"endpoints[0]"}),
        (
            {"name": "x", "requests_per_minute": -1, "budget_per_day": "1"},
            {"requests_per_minute", "budget_per_day"},
        ),
        ({"name": "x", "requests_per_minute": 10**30}, {"requests_per_minute"}),
        ({"name": "x", "expires": "tomorrow"}, {"expires"}),
        (
            {"name": "a b", "endpoints": [], "models": [""], "expires": -1},
            {"name", "endpoints", "models", "expires"},
        ),
        ({"name": "x", "expires": 1_900_000_000_000}, {"expires"}),  # milliseconds
        ({"name": "x", "expires": 1e300}, {"expires"}),
        ({"name": "7"}, {"name"}),
    ],
)
async def test_every_field_that_is_wrong_is_named(
    client: QuartClient, keys: InMemoryApiKeys, body: object, fields: set[str]
) -> None:
    status, error = await send(client, "POST", "/admin/keys", body)
    assert (status, fields_of(error)) == (400, fields)
    assert list(await keys.list()) == []


async def test_a_name_that_is_taken_is_told_with_its_field(client: QuartClient) -> None:
    await send(client, "POST", "/admin/keys", {"name": "one"})
    await send(client, "POST", "/admin/keys", {"name": "two"})
    for method, path in (("POST", ""), ("PATCH", "/two")):
        status, error = await send(client, method, f"/admin/keys{path}", {"name": "one"})
        assert (status, error["error"]["code"], fields_of(error)) == (409, "name_taken", {"name"})


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"{", b"\xff", b'{"name": "\\ud800"}'])
async def test_what_is_no_json_object_is_refused(client: QuartClient, body: bytes) -> None:
    json = {"content-type": "application/json"}
    answer = await client.post("/admin/keys", data=body, headers=json)
    assert answer.status_code == 400
    assert (await answer.get_json())["error"]["code"] in ("invalid_request", "invalid_key")


async def test_a_form_is_refused(client: QuartClient) -> None:
    answer = await client.post("/admin/keys", form={"name": "x"})
    assert answer.status_code == 415
