"""What is decided about a request before it waits: its model, its context, whether it may load."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gglib_core.errors import EveryModelPinned, QueueFull, QueueTimeout
from gglib_core.models import Capability, GgufFacts, Model
from gglib_proxy.errors import openai_type
from tests.catalog_entries import model
from tests.planes import BODY, CHAT, EMBEDDER, Relay, relaying
from tests.upstreams import Peer, answering, response

PATH = "/v1/chat/completions"
RERANKER = model(3, "reranker", capabilities=frozenset({Capability.RERANK}))
SLASHED = model(4, "org/slashed", capabilities=frozenset({Capability.CHAT}))
TRAINED = model(
    5,
    "trained",
    capabilities=frozenset({Capability.CHAT}),
    facts=GgufFacts(architecture="llama", context_length=8192),
)
ALL = (CHAT, EMBEDDER, RERANKER, SLASHED, TRAINED)


async def answered_by(relay: Relay, path: str, body: Any, method: str = "POST") -> str:
    """Ask; the name of the model whose engine was asked."""
    answer = await relay.client.ask(method, path, body)
    assert answer.status == 200, answer.body
    return relay.running.ledger.leases[-1].target.model_name


async def error_of(relay: Relay, path: str, body: Any, method: str = "POST") -> tuple[int, str]:
    """Ask; the status and code of the refusal, which must have cost nobody anything."""
    leases = len(relay.running.ledger.leases)
    answer = await relay.client.ask(method, path, body)
    error = answer.json["error"]
    code = error["gglib"]["code"] if "code" not in error else error["code"]
    assert error["gglib"]["source"] == "gglib"
    assert len(relay.running.ledger.leases) == leases
    assert (await relay.client.ask("GET", "/health")).status == 200
    return answer.status, code


# Which model


@pytest.mark.parametrize("name", ["chat", "talker", "1", "CHAT", "Talker"])
async def test_a_model_is_meant_by_name_alias_or_id(name: str) -> None:
    async with relaying() as relay:
        assert await answered_by(relay, PATH, {"model": name}) == "chat"


async def test_an_unknown_model_is_refused_with_the_nearest_names() -> None:
    async with relaying() as relay:
        answer = await relay.client.ask("POST", PATH, {"model": "chad"})
        error = answer.json["error"]
        assert (answer.status, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert "'chat'" in error["message"]


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": ""}])
async def test_a_request_without_a_model_goes_to_the_one_that_is_loaded(body: Any) -> None:
    async with relaying(models=ALL) as relay:
        assert await error_of(relay, PATH, body) == (400, "model_required")
        await answered_by(relay, PATH, {"model": "trained"})
        assert await answered_by(relay, PATH, body) == "trained"


async def test_it_goes_to_the_default_where_none_or_several_are_loaded() -> None:
    async with relaying(models=ALL, default_model="talker") as relay:
        assert await answered_by(relay, PATH, {}) == "chat"
        await answered_by(relay, PATH, {"model": "trained"})
        assert await answered_by(relay, PATH, {}) == "chat"


async def test_it_goes_to_the_only_model() -> None:
    async with relaying(models=[CHAT]) as relay:
        assert await answered_by(relay, PATH, {}) == "chat"


async def test_an_empty_catalog_is_said_to_be_empty() -> None:
    async with relaying(models=[]) as relay:
        answer = await relay.client.ask("POST", PATH, {})
        assert "gglib model add" in answer.json["error"]["message"]


# What it can do


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (PATH, "embedder"),
        ("/v1/completions", "embedder"),
        ("/v1/responses", "reranker"),
        ("/v1/messages", "embedder"),
        ("/v1/embeddings", "chat"),
        ("/embedding", "chat"),
        ("/v1/rerank", "chat"),
        ("/rerank", "embedder"),
    ],
)
async def test_what_a_model_cannot_do_is_refused_before_any_load(path: str, name: str) -> None:
    async with relaying(models=ALL) as relay:
        assert await error_of(relay, path, {"model": name}) == (400, "missing_capability")
        assert not relay.plane.runtime.current()


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize"])
async def test_any_model_has_a_tokenizer(path: str) -> None:
    async with relaying(models=ALL) as relay:
        for name in ("chat", "embedder", "reranker"):
            assert await answered_by(relay, path, {"model": name}) == name


async def test_too_many_embedding_inputs_are_refused() -> None:
    async with relaying() as relay:
        body = {"model": "embedder", "input": ["a"] * 2049}
        answer = await relay.client.ask("POST", "/v1/embeddings", body)
        error = answer.json["error"]
        assert (answer.status, error["code"], error["param"]) == (400, "invalid_request", "input")
        assert "2048" in error["message"]
        body["input"] = ["a"] * 2048
        assert await answered_by(relay, "/v1/embeddings", body) == "embedder"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": 1}', b'{"a": "\xff"}'])
async def test_a_body_that_is_no_envelope_is_refused(body: bytes) -> None:
    async with relaying() as relay:
        assert await error_of(relay, PATH, body) == (400, "invalid_request")


# Context


@pytest.mark.parametrize(
    ("body", "context"),
    [({}, 4096), ({"num_ctx": 512}, 512), ({"num_ctx": 8192}, 8192)],
)
async def test_a_request_may_set_its_context(body: Any, context: int) -> None:
    async with relaying(models=ALL) as relay:
        await answered_by(relay, PATH, {"model": "trained", **body})
        assert relay.running.ledger.leases[0].target.context == context


async def test_a_larger_context_loads_the_model_anew_and_a_smaller_one_does_not() -> None:
    async with relaying(models=ALL) as relay:
        for context in (2048, 1024, 2048, 4096, 2048):
            await answered_by(relay, PATH, {"model": "trained", "num_ctx": context})
        launches = [lease.target.launch_id for lease in relay.running.ledger.leases]
        assert [launches.index(each) for each in launches] == [0, 0, 0, 3, 3]


async def test_more_context_than_the_model_was_trained_for_is_refused() -> None:
    async with relaying(models=ALL) as relay:
        body = {"model": "trained", "num_ctx": 8193}
        assert await error_of(relay, PATH, body) == (400, "context_too_large")


# What is only looked at


@pytest.mark.parametrize("path", ["/props", "/slots"])
async def test_looking_never_loads_a_model(path: str) -> None:
    async with relaying() as relay:
        for query in ("", "?model=chat"):
            assert await error_of(relay, path + query, None, "GET") == (409, "model_not_loaded")
        assert await error_of(relay, path + "?model=none", None, "GET") == (404, "model_not_found")
        await answered_by(relay, PATH, BODY)
        for query in ("", "?model=chat", "?model=1&fail_on_no_slot=1"):
            assert await answered_by(relay, path + query, None, "GET") == "chat"
            assert relay.upstream.requests[-1].target == path + query
        assert await error_of(relay, path + "?model=embedder", None, "GET") == (
            409,
            "model_not_loaded",
        )


async def test_looking_at_one_of_several_takes_its_name() -> None:
    async with relaying(models=ALL) as relay:
        for name in ("chat", "trained"):
            await answered_by(relay, PATH, {"model": name})
        assert await error_of(relay, "/props", None, "GET") == (409, "model_not_loaded")
        assert await answered_by(relay, "/props?model=trained", None, "GET") == "trained"


# All the rest of an engine


@pytest.mark.parametrize(
    ("path", "name", "target"),
    [
        ("/upstream/chat/lora-adapters", "chat", "/lora-adapters"),
        ("/upstream/1/slots/0?action=save&a=b", "chat", "/slots/0?action=save&a=b"),
        ("/upstream/org/slashed/x/y", "org/slashed", "/x/y"),
        ("/upstream/org%2Fslashed/x", "org/slashed", "/x"),
        ("/upstream/org/slashed", "org/slashed", "/"),
        ("/upstream/chat/", "chat", "/"),
        ("/upstream/chat//x", "chat", "//x"),
        ("/upstream/chat/a%20b/%2e%2e", "chat", "/a%20b/%2e%2e"),
    ],
)
async def test_whatever_an_engine_has_is_reached_through_it(
    path: str, name: str, target: str
) -> None:
    async with relaying(models=ALL) as relay:
        assert await answered_by(relay, path, {"model": "ignored"}) == name
        assert relay.upstream.requests[0].target == target


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"num_ctx": -1}', "text/plain"),
        (b"RIFF\0\xff", "audio/wav"),
        (b' [{"id": 0}]', "application/json"),
        (b"not json", "application/json"),
        (b"", "application/json"),
    ],
)
async def test_whatever_body_an_engine_takes_is_passed_through(
    body: bytes, content_type: str
) -> None:
    async with relaying() as relay:
        headers = {"Content-Type": content_type}
        relay.client.request("POST", "/upstream/chat/x", body, headers=headers)
        assert (await relay.client.answer()).status == 200
        assert relay.upstream.requests[0].body == body


async def test_reading_through_it_never_loads() -> None:
    async with relaying() as relay:
        path = "/upstream/chat/lora-adapters"
        assert await error_of(relay, path, None, "GET") == (409, "model_not_loaded")
        assert (await relay.client.ask("HEAD", path)).status == 409
        assert await answered_by(relay, path, []) == "chat"
        assert await answered_by(relay, path, None, "GET") == "chat"


@pytest.mark.parametrize("path", ["/upstream/", "/upstream/nobody/x", "/upstream//chat"])
async def test_an_unknown_model_behind_it_is_refused(path: str) -> None:
    async with relaying() as relay:
        assert await error_of(relay, path, {}) == (404, "model_not_found")


async def test_its_body_is_read_where_it_is_json() -> None:
    async with relaying() as relay:
        await answered_by(relay, "/upstream/chat/x", {"model": "other", "num_ctx": 300})
        assert relay.running.ledger.leases[0].target.context == 300
        assert await error_of(relay, "/upstream/chat/x", {"num_ctx": -1}) == (
            400,
            "invalid_request",
        )


# Methods


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", PATH, "POST"),
        ("PUT", PATH, "POST"),
        ("HEAD", PATH, "POST"),
        ("POST", "/props", "GET, HEAD"),
        ("DELETE", "/health", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_the_right_one(method: str, path: str, allow: str) -> None:
    async with relaying() as relay:
        answer = await relay.client.ask(method, path, {} if method in ("POST", "PUT") else None)
        assert (answer.status, answer.headers["allow"]) == (405, allow)
        assert (await relay.client.ask("GET", "/health")).status == 200


async def test_head_of_a_local_answer_is_its_head() -> None:
    async with relaying() as relay:
        whole, only_head = [await relay.client.ask(each, "/health") for each in ("GET", "HEAD")]
        assert (whole.head, whole.body) == (only_head.head, b'{"status":"ok"}')


async def test_options_is_the_control_planes(unix_upstream) -> None:
    async with (
        unix_upstream(answering(response(b""))) as (control, path),
        relaying(control_path=path) as relay,
    ):
        for target in (PATH, "/health", "*", "/nowhere"):
            assert (await relay.client.ask("OPTIONS", target)).status == 200
        assert [request.target for request in control.requests] == [
            PATH,
            "/health",
            "*",
            "/nowhere",
        ]


# Errors of admission


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (QueueFull(10, 7.2), 503, "queue_full", "8"),
        (QueueTimeout("chat", "loading", 300, 12), 503, "queue_timeout", "12"),
        (EveryModelPinned("chat", ["other"]), 409, "all_models_pinned", None),
    ],
)
@pytest.mark.parametrize("path", [PATH, "/v1/messages"])
async def test_a_model_that_cannot_be_had_is_an_error_with_a_time_to_come_back(
    error: Exception, status: int, code: str, retry_after: str | None, path: str
) -> None:
    class Refusing:
        def lease_now(self, model: Model, *, context: int) -> None:
            return None

        async def admit(self, model: Model, **_: Any) -> Any:
            await asyncio.sleep(0)
            raise error

        def current(self) -> list[Any]:
            return []

    async with relaying() as relay:
        relay.running.ledger.runtime = Refusing()  # type: ignore[assignment]
        answer = await relay.client.ask("POST", path, BODY)
        assert answer.status == status
        assert answer.headers.get("retry-after") == retry_after
        if path == PATH:
            assert answer.json["error"]["code"] == code
            assert answer.json["error"]["type"] == openai_type(status)
        else:
            assert answer.json["type"] == "error"
            assert answer.json["error"]["gglib"]["code"] == code
        assert (await relay.client.ask("GET", "/health")).status == 200


async def test_a_bug_is_an_internal_error_that_tells_nothing(caplog) -> None:
    class Broken:
        def lease_now(self, model: Model, *, context: int) -> None:
            return None

        async def admit(self, model: Model, **_: Any) -> Any:
            raise ZeroDivisionError("secret")

        def current(self) -> list[Any]:
            return []

    async with relaying() as relay:
        relay.running.ledger.runtime = Broken()  # type: ignore[assignment]
        answer = await relay.client.ask("POST", PATH, BODY)
        assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
        assert b"secret" not in answer.body
        assert "secret" in caplog.text


async def test_an_error_of_the_engine_has_its_dialect() -> None:
    async def closing(peer: Peer) -> None:
        await peer.request()
        peer.close()

    async with relaying(closing) as relay:
        answer = await relay.client.ask("POST", "/v1/messages", BODY)
        assert (answer.status, answer.json["type"]) == (502, "error")
