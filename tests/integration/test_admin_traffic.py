"""`/admin` of a server that runs: what is under way is seen, ended and held back; logs; who may."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gglib_proxy.control.openapi.document import openapi_document
from tests.faults import ask, ends_in_an_error, faulty_server, nothing_left, streaming
from tests.gguf_files import write_tiny
from tests.raw_http import open_raw
from tests.serving import WAIT_SECONDS, Served, chat_body, wait_until


@pytest.fixture
def server(tmp_path: Path) -> Generator[Served]:
    with faulty_server(tmp_path) as server:
        yield server


def send(
    server: Served, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, Any]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = httpx.request(
        method, server.url + path, json=body, headers=names, timeout=WAIT_SECONDS
    )
    return answer.status_code, answer.json()


async def requests_of(server: Served) -> list[dict[str, Any]]:
    _, document = await asyncio.to_thread(send, server, "GET", "/admin/requests")
    return document["data"]


async def test_a_request_that_is_under_way_is_shown_and_can_be_ended(server: Served) -> None:
    async with streaming(server) as connection, streaming(server) as other:
        listed = await requests_of(server)
        assert [(each["model"], each["phase"], each["stream"]) for each in listed] == [
            ("alpha", "answering", True)
        ] * 2
        chosen = listed[0]
        assert chosen["seconds"] >= listed[1]["seconds"]
        path = f"/admin/requests/{chosen['generation_id']}"
        assert await asyncio.to_thread(send, server, "DELETE", path) == (200, {"cancelled": 1})
        error = await ends_in_an_error(connection)
        assert error["code"] == "request_cancelled"
        assert (await other.chunk()).startswith(b"data: ")
        assert [each["id"] for each in await requests_of(server)] == [listed[1]["id"]]
        status, refused = await asyncio.to_thread(send, server, "DELETE", path)
        assert (status, refused["error"]["code"]) == (404, "request_not_found")
    await nothing_left(server)


async def test_a_request_is_ended_by_an_id_that_its_client_chose(server: Served) -> None:
    async with open_raw(int(server.url.rpartition(":")[2])) as connection:
        sim = {"tokens": 100_000, "token_seconds": 0.01}
        body = chat_body("alpha", stream=True, max_tokens=100_000, gglib_sim=sim)
        headers = {"x-request-id": "job:7/step=2"}
        connection.request("POST", "/v1/chat/completions", body, headers=headers)
        assert await connection.chunk_after_head()
        (listed,) = await requests_of(server)
        assert listed["id"] == "job:7/step=2"
        path = f"/admin/requests/{quote(listed['id'], safe='')}"
        assert await asyncio.to_thread(send, server, "DELETE", path) == (200, {"cancelled": 1})
        assert (await ends_in_an_error(connection))["code"] == "request_cancelled"
    await nothing_left(server)


async def test_a_pause_lets_answers_go_on_and_takes_no_new_ones(server: Served) -> None:
    async with streaming(server) as connection:
        paused = await asyncio.to_thread(send, server, "POST", "/admin/drain")
        assert paused == (200, {"paused": True, "active_requests": 1})
        assert (await ask(server)).status == 503
        await asyncio.to_thread(wait_until, lambda: server.get("/ready").status_code == 503)
        not_ready = (await asyncio.to_thread(server.get, "/ready")).json()
        assert not_ready["checks"]["accepting"]["ok"] is False
        assert (await asyncio.to_thread(server.get, "/health")).status_code == 200
        assert (await connection.chunk()).startswith(b"data: ")
        _, stats = await asyncio.to_thread(send, server, "GET", "/admin/stats")
        assert (stats["is_paused"], stats["active_requests"]) == (True, 1)
        await asyncio.to_thread(send, server, "POST", "/admin/drain", {"paused": False})
        assert (await ask(server)).status == 200
        await asyncio.to_thread(wait_until, lambda: server.get("/ready").status_code == 200)


def test_logs_are_lines_of_json(server: Served) -> None:
    server.chat("alpha")
    _, own = send(server, "GET", "/admin/logs")
    assert {"created", "level", "logger", "message"} <= set(own["data"][0])
    assert any("alpha" in line["message"] for line in own["data"])
    _, engine = send(server, "GET", "/admin/logs?model=alpha&lines=1")
    assert [line["model"] for line in engine["data"]] == ["alpha"]
    status, refused = send(server, "GET", "/admin/logs?lines=many")
    assert (status, refused["error"]["details"]["field"]) == (400, "lines")


async def test_logs_come_as_events_as_they_are_written(server: Served) -> None:
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=WAIT_SECONDS) as client,
        client.stream("GET", "/admin/logs?follow=1&lines=0") as answer,
    ):
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.aiter_lines()
        assert await anext(lines) == ": following"
        await client.patch("/admin/config", json={"queue_limit": 77})
        async for line in lines:
            if line.startswith("data: ") and "queue_limit" in line:
                break
        assert json.loads(line.removeprefix("data: "))["level"] == "info"


def test_a_key_that_is_made_works_when_the_answer_comes_and_ends_as_soon(server: Served) -> None:
    _, admin = send(server, "POST", "/admin/keys", {"name": "boss", "endpoints": ["admin"]})
    assert server.get("/v1/models").status_code == 401
    may = {"x_admin_key": admin["key"]}
    _, user = send(server, "POST", "/admin/keys", {"name": "user"}, **may)
    bearer = {"authorization": f"Bearer {user['key']}"}
    assert server.post("/v1/chat/completions", {"model": "alpha", "messages": []}, headers=bearer)
    assert send(server, "GET", "/v1/models", **bearer)[0] == 200
    send(server, "POST", "/admin/keys/user/disable", **may)
    assert send(server, "GET", "/v1/models", **bearer)[0] == 403
    send(server, "POST", "/admin/keys/user/enable", **may)
    assert send(server, "GET", "/v1/models", **bearer)[0] == 200
    _, rotated = send(server, "POST", "/admin/keys/user/rotate", **may)
    assert send(server, "GET", "/v1/models", **bearer)[0] == 401
    bearer = {"authorization": f"Bearer {rotated['key']}"}
    assert send(server, "GET", "/v1/models", **bearer)[0] == 200
    assert send(server, "DELETE", "/admin/keys/user", **may)[0] == 200
    assert send(server, "GET", "/v1/models", **bearer)[0] == 401
    assert {key["name"] for key in server.shell.json("key", "list")} == {"boss"}


def test_an_ordinary_key_may_do_nothing_that_is_an_admins(server: Served) -> None:
    _, admin = send(server, "POST", "/admin/keys", {"name": "boss", "endpoints": ["admin"]})
    _, user = send(server, "POST", "/admin/keys", {"name": "user"}, x_admin_key=admin["key"])
    secret = user["key"]
    asked = 0
    for path, methods in openapi_document()["paths"].items():
        for method, described in methods.items():
            if described.get("x-gglib-scope") not in ("admin", "logs"):
                continue
            asked += 1
            url = re.sub(r"\{.*?\}", "x", path)
            for name in ("x_admin_key", "x_api_key"):
                status, document = send(server, method.upper(), url, **{name: secret})
                assert (status, _code(document)) == (403, "out_of_scope"), (method, path)
            status, document = send(server, method.upper(), url)
            assert (status, _code(document)) == (401, "invalid_api_key"), (method, path)
            if path.startswith("/admin"):
                assert set(document["error"]) == {"code", "message", "details", "gglib"}
    assert asked > 20
    assert [key["name"] for key in server.shell.json("key", "list")] == ["boss", "user"]


def _code(document: dict[str, Any]) -> object:
    return document["error"]["code"]


def test_a_model_that_is_added_can_be_asked_when_the_answer_comes(
    server: Served, tmp_path: Path
) -> None:
    path = write_tiny(tmp_path, "tiny-a")
    body = {"path": str(path), "name": "org/new", "aliases": ["new"], "environment": {"A": "b"}}
    status, added = send(server, "POST", "/admin/models", body)
    assert (status, added["facts"]["architecture"]) == (201, "llama")
    assert server.chat("new").status_code == 200
    engines = server.engines()
    assert send(server, "PATCH", "/admin/models/org/new", {"aliases": ["newer"]})[0] == 200
    assert (server.chat("newer").status_code, server.chat("new").status_code) == (200, 404)
    assert server.engines() == engines
    _, listed = send(server, "GET", "/admin/models")
    assert [model["name"] for model in listed["data"]] == ["alpha", "org/new"]
    assert send(server, "DELETE", "/admin/models/org%2Fnew")[0] == 200
    assert server.chat("newer").status_code == 404
    assert path.exists()


def test_a_file_that_is_no_model_is_refused_with_its_field(server: Served, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"no model")
    for path in (wrong, tmp_path / "none.gguf", tmp_path, "relative.gguf", "/" + 5000 * "a", "\0"):
        status, document = send(server, "POST", "/admin/models", {"path": str(path)})
        error = document["error"]
        assert (status, error["code"], error["details"]["field"]) == (400, "invalid_gguf", "path")


def test_models_named_at_the_start_are_listed_beside_those_that_are_kept(tmp_path: Path) -> None:
    with faulty_server(tmp_path, str(write_tiny(tmp_path, "tiny-b"))) as server:
        _, listed = send(server, "GET", "/admin/models")
        assert [each["name"] for each in listed["data"] if each["id"] < 0] == ["tiny-b"]
        assert send(server, "DELETE", "/admin/models/tiny-b")[0] == 400
        assert {each["name"] for each in listed["data"]} == {"tiny-b", "alpha"}


def test_the_owner_needs_no_key_on_the_private_socket(server: Served) -> None:
    server.shell.json("key", "create", "user")
    wait_until(lambda: server.get("/admin/stats").status_code == 401)
    record = json.loads((server.shell.data_dir / "run" / "serve.json").read_text())
    with httpx.Client(transport=httpx.HTTPTransport(uds=record["socket"])) as owner:
        assert owner.get("http://gglib/admin/stats").status_code == 200
        made = owner.post("http://gglib/admin/keys", json={"name": "second"})
        assert made.status_code == 201
        log = owner.get("http://gglib/admin/logs")
        assert log.status_code == 200
    assert "second" in {key["name"] for key in server.shell.json("key", "list")}


def test_what_the_control_plane_has_compressed_reaches_the_client_so(server: Served) -> None:
    plain, packed = (
        httpx.get(f"{server.url}/openapi.json", headers={"accept-encoding": accepted})
        for accepted in ("identity", "gzip")
    )
    assert plain.json() == packed.json()
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    asked = httpx.head(f"{server.url}/openapi.json", headers={"accept-encoding": "gzip"})
    assert asked.headers["content-length"] == packed.headers["content-length"]
