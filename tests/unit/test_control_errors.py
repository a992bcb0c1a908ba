"""Requests that the control plane has no answer to."""

import logging
from typing import Any

import pytest
from quart.testing import QuartClient

from gglib_proxy.control.app import MAX_BODY_BYTES, create_app
from gglib_proxy.control.foreign_paths import foreign_path_hint
from gglib_proxy.routes import ROUTES, UPSTREAM
from tests.catalog_entries import model
from tests.control_plane import FakeModelRuntime, control_context


@pytest.fixture
def runtime() -> FakeModelRuntime:
    return FakeModelRuntime()


@pytest.fixture
def client(runtime: FakeModelRuntime) -> QuartClient:
    return create_app(control_context([model(1, "alpha")], runtime=runtime)).test_client()


async def error_of(answer: Any) -> dict[str, Any]:
    assert answer.content_type == "application/json"
    error = (await answer.get_json())["error"]
    assert list(error) == ["message", "type", "param", "code", "gglib"]
    assert error["gglib"]["source"] == "gglib"
    return error


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND"])
async def test_an_unknown_path_is_404_and_says_where_to_look(
    client: QuartClient, method: str
) -> None:
    answer = await client.open("/v1/nothing", method=method)
    assert answer.status_code == 404
    error = await error_of(answer)
    assert (error["code"], error["type"]) == ("not_found", "invalid_request_error")
    assert "There is no /v1/nothing here." in error["message"]
    assert "GET / says what there is." in error["message"]


@pytest.mark.parametrize(
    "path", ["/v1//models", "/models//load", "/v1/models/a//b", "/v1/../models"]
)
async def test_a_path_is_never_put_right_by_a_redirect(client: QuartClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/v1/model", "/v1/models"),
        ("/models/unlod", "/models/unload"),
    ],
)
async def test_a_path_that_is_nearly_right_gets_a_hint(
    client: QuartClient, path: str, meant: str
) -> None:
    error = await error_of(await client.get(path))
    assert f"Did you mean {meant}" in error["message"]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (
            "/api/tags",
            "Ollama's own API: let the client speak OpenAI's, to a URL that ends in /v1",
        ),
        ("/v1/api/chat", "Ollama's own API"),
        ("/api/blobs/sha256:1", "Ollama's own API"),
        ("/api/v0/models", "LM Studio's own API"),
        ("/running", "GET /v1/models has the state"),
        ("/unload", "POST /models/unload"),
        ("/logs/stream", "GET /admin/logs?model=MODEL"),
        ("/key/generate", "POST /admin/keys makes an API key"),
        ("/global/spend/report", "GET /v1/generations has what each request cost"),
        ("/v1/model/info", "GET /v1/models has what is known"),
        ("/health/liveliness", "GET /live are for probes"),
        ("/v1/images/generations", "llama.cpp's server does not do that."),
        ("/v1/audio/speech", "llama.cpp's server does not do that."),
    ],
)
async def test_a_path_of_another_server_says_what_to_use_here(
    client: QuartClient, path: str, hint: str
) -> None:
    message = (await error_of(await client.get(path)))["message"]
    assert message.startswith(f"There is no {path} here. ")
    assert hint in message
    assert "Did you mean" not in message


def test_no_path_of_gglib_is_taken_for_another_servers() -> None:
    app = create_app(control_context([model(1, "alpha")], runtime=FakeModelRuntime()))
    ours = [*(rule.rule for rule in app.url_map.iter_rules()), *(route.path for route in ROUTES)]
    assert [path for path in ours if foreign_path_hint(path)] == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/models", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/v1/models/alpha", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/models/load", {"POST", "OPTIONS"}),
        ("PUT", "/", {"GET", "HEAD", "OPTIONS"}),
    ],
)
async def test_a_wrong_method_is_405_and_says_which_are_right(
    client: QuartClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = await client.open(path, method=method)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    error = await error_of(answer)
    assert error["code"] == "method_not_allowed"
    assert all(each in error["message"] for each in allowed)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/models/load", {"POST", "OPTIONS"}),
        ("/v1/chat/completions", {"POST", "OPTIONS"}),
        ("/live", {"GET", "HEAD", "OPTIONS"}),
        ("/upstream/alpha/props", {*UPSTREAM.methods, "OPTIONS"}),
    ],
)
async def test_options_says_what_is_allowed(
    client: QuartClient, path: str, allowed: set[str]
) -> None:
    answer = await client.options(path)
    assert answer.status_code == 200
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert await answer.get_data() == b""


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/", "/v1/models/alpha", "/health"])
async def test_a_head_is_answered_like_a_get(client: QuartClient, path: str) -> None:
    got, headed = await client.get(path), await client.head(path)
    assert headed.status_code == 200
    assert headed.headers["content-type"] == got.headers["content-type"]
    assert headed.headers["content-length"] == got.headers["content-length"]


async def test_a_body_that_is_too_large_is_413(client: QuartClient) -> None:
    answer = await client.post("/models/load", data=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert (await error_of(answer))["code"] == "request_too_large"


async def test_a_bug_is_500_without_a_word_of_it_and_is_logged(
    client: QuartClient, runtime: FakeModelRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.admission_error = ZeroDivisionError("a secret")
    with caplog.at_level(logging.ERROR):
        answer = await client.post("/models/load", json={"model": "alpha"})
    assert answer.status_code == 500
    error = await error_of(answer)
    assert error["code"] == "internal_error"
    assert "secret" not in await answer.get_data(as_text=True)
    [record] = caplog.records
    assert record.getMessage() == "POST /models/load failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is runtime.admission_error


async def test_health_is_answered_to_those_who_ask_here(client: QuartClient) -> None:
    for path in ("/health", "/api/v1/health"):
        document = await (await client.get(path)).get_json()
        assert document["status"] == "ok"
        assert document["version"] == "9.8.7"
        assert document["models"] == [{"id": "alpha", "status": "unloaded"}]
