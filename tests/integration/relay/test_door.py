"""The door from outside: keys, scopes, hosts and pages, and what every answer bears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gglib_core.keys import (
    DEFAULT_ENDPOINTS,
    ApiKey,
    Endpoint,
    KeyRing,
    digest_of,
    mask_of,
    searched_part,
)
from gglib_proxy.door.addresses import TrustedProxies
from gglib_proxy.door.door import OPEN, Door, DoorRules
from gglib_proxy.door.hosts import HostRule
from gglib_proxy.door.origins import OriginRule
from tests.catalog_entries import model
from tests.planes import BODY, STREAM_BODY, Relay, relaying
from tests.planes import CHAT as CHAT_MODEL
from tests.raw_http import Answer
from tests.upstreams import (
    STREAM_END,
    STREAM_HEAD,
    Peer,
    Script,
    answering,
    chunked,
    event,
    open_unix_upstream,
)

CHAT = "/v1/chat/completions"
PEPPER = b"pepper"
PLAIN, ADMIN, CHAT_ONLY, NO_MODELS, DISABLED, EXPIRED, LOGS = (
    f"gg-{name}-{name * 30}"[:46]
    for name in ("plain", "admin", "chat", "none", "off", "old", "logs")
)
WITH_LOGS = DEFAULT_ENDPOINTS | {Endpoint.LOGS}
NOW = 1_000_000.0
PAGE = "http://localhost:3000"


def key(number: int, secret: str, **properties: Any) -> tuple[str, bytes, ApiKey]:
    made = ApiKey(id=number, name=f"key-{number}", mask=mask_of(secret), **properties)
    return searched_part(secret), digest_of(secret, PEPPER), made


KEYS = KeyRing(
    PEPPER,
    [
        key(1, PLAIN),
        key(2, ADMIN, endpoints=DEFAULT_ENDPOINTS | {Endpoint.ADMIN}),
        key(3, CHAT_ONLY, models=("chat*",)),
        key(4, NO_MODELS, endpoints=frozenset({Endpoint.INFERENCE})),
        key(5, DISABLED, is_enabled=False),
        key(6, EXPIRED, expires=NOW),
        key(7, LOGS, endpoints=frozenset({Endpoint.LOGS})),
    ],
)
CLOSED = DoorRules(
    keys=KEYS,
    hosts=HostRule(is_loopback=True),
    origins=OriginRule(),
    proxies=TrustedProxies(),
)


def door(rules: DoorRules = CLOSED, clock: Callable[[], float] = lambda: NOW) -> Door:
    return Door(rules, clock=clock)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def ask(
    relay: Relay,
    method: str = "POST",
    path: str = CHAT,
    body: Any = BODY,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    named = {"Host": "localhost", **(headers or {})}
    sent = body if method == "POST" else None
    return await relay.client.ask(method, path, sent, headers=named)


async def status_of(relay: Relay, **headers: str) -> int:
    return (await ask(relay, headers=headers)).status


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {PLAIN}"},
        {"authorization": f"bearer  {PLAIN} "},
        {"x-api-key": PLAIN},
        {"api-key": PLAIN},
        {"authorization": "Basic Zm9vOmJhcg==", "x-api-key": PLAIN},
    ],
)
async def test_a_key_opens_the_door_in_whichever_header_it_comes(headers: dict[str, str]) -> None:
    async with relaying(door=door()) as relay:
        assert (await ask(relay, "POST", CHAT, BODY, headers)).status == 200
        sent = relay.upstream.requests[-1]
        assert PLAIN not in str(sent.headers)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "invalid_api_key"),
        (bearer("gg-" + "x" * 43), 401, "invalid_api_key"),
        (bearer(PLAIN[:-1]), 401, "invalid_api_key"),
        (bearer(PLAIN.upper()), 401, "invalid_api_key"),
        (bearer("\xff\xfe"), 401, "invalid_api_key"),
        (bearer(DISABLED), 403, "key_disabled"),
        (bearer(EXPIRED), 403, "key_expired"),
    ],
)
async def test_whoever_has_none_is_turned_away(
    headers: dict[str, str], status: int, code: str
) -> None:
    async with relaying(door=door()) as relay:
        answer = await ask(relay, "POST", CHAT, BODY, headers)
        assert (answer.status, answer.json["error"]["code"]) == (status, code)
        assert relay.upstream.requests == []
        assert (await ask(relay, "POST", CHAT, BODY, bearer(PLAIN))).status == 200
        assert relay.plane.books.tally.refused_keys == {code: 1}


async def test_anthropics_clients_are_told_in_their_words() -> None:
    async with relaying(door=door()) as relay:
        answer = await ask(relay, "POST", "/v1/messages", BODY)
        assert answer.status == 401
        assert answer.json["error"]["type"] == "authentication_error"


async def test_a_key_is_for_the_models_that_it_names() -> None:
    async with relaying(door=door()) as relay:
        assert await status_of(relay, authorization=f"Bearer {CHAT_ONLY}") == 200
        body = {"model": "embedder", "input": "x"}
        answer = await ask(relay, "POST", "/v1/embeddings", body, bearer(CHAT_ONLY))
        assert (answer.status, answer.json["error"]["code"]) == (403, "out_of_scope")
        assert CHAT_ONLY not in answer.body.decode()


@pytest.mark.parametrize(
    ("path", "secret", "status"),
    [
        ("/health", None, 200),
        ("/live", None, 200),
        ("/", None, 200),
        ("/docs", None, 200),
        ("/v1/models", None, 401),
        ("/v1/models", PLAIN, 200),
        ("/v1/models", NO_MODELS, 403),
        ("/v1/models", ADMIN, 200),
        ("/metrics", None, 401),
        ("/admin/config", None, 401),
        ("/admin/config", PLAIN, 403),
        ("/%61dmin/config", PLAIN, 403),
        ("/admin/config", ADMIN, 200),
        ("/admin/logs", ADMIN, 200),
        ("/admin/logs", PLAIN, 403),
        ("/admin/logs", LOGS, 200),
        ("/v1/generation?id=x", LOGS, 200),
        ("/v1/generations", LOGS, 200),
        ("/v1/generations.csv", LOGS, 200),
        ("/v1/generations", NO_MODELS, 403),
        ("/v1/models", LOGS, 403),
        ("//models/unload", PLAIN, 403),
        ("/%2Fmodels/unload", PLAIN, 403),
        ("/no/such/path", None, 401),
        ("/no/such/path", PLAIN, 200),
        ("/slots", None, 401),
    ],
)
async def test_an_endpoint_needs_its_scope(
    tmp_path: Any, path: str, secret: str | None, status: int
) -> None:
    control = str(tmp_path / "control")
    async with (
        open_unix_upstream(control, answering()),
        relaying(door=door(), control_path=control) as relay,
    ):
        answer = await ask(relay, "GET", path, None, bearer(secret) if secret else {})
        assert answer.status == status


async def test_an_admins_key_may_come_beside_an_ordinary_one(tmp_path: Any) -> None:
    control = str(tmp_path / "control")
    async with (
        open_unix_upstream(control, answering()) as (upstream, _),
        relaying(door=door(), control_path=control) as relay,
    ):
        headers = {**bearer(PLAIN), "x-admin-key": ADMIN}
        for path in ("/admin/config", "/admin/logs"):
            assert (await ask(relay, "GET", path, None, headers)).status == 200
            told = upstream.requests[-1]
            assert told.header("x-gglib-key-id") == "2"
            assert told.header("x-gglib-endpoints") == "admin,inference,models"
            assert told.header("x-gglib-key") == mask_of(ADMIN)


@pytest.mark.parametrize("secret", [DISABLED, EXPIRED, "gg-nobody"])
async def test_a_key_that_does_not_count_gives_nothing_on_open_pages(
    tmp_path: Any, secret: str
) -> None:
    control = str(tmp_path / "control")
    async with (
        open_unix_upstream(control, answering()) as (upstream, _),
        relaying(door=door(), control_path=control) as relay,
    ):
        assert (await ask(relay, "GET", "/", None, bearer(secret))).status == 200
        assert upstream.requests[-1].header("x-gglib-endpoints") == ""
        assert upstream.requests[-1].header("x-gglib-key-id") is None


async def test_nobody_can_say_himself_what_he_may(tmp_path: Any) -> None:
    control = str(tmp_path / "control")
    async with (
        open_unix_upstream(control, answering()) as (upstream, _),
        relaying(door=door(), control_path=control) as relay,
    ):
        headers = {**bearer(PLAIN), "x-gglib-endpoints": "admin", "x-gglib-key-id": "2"}
        assert (await ask(relay, "GET", "/v1/models", None, headers)).status == 200
        assert upstream.requests[-1].header("x-gglib-endpoints") == "inference,models"
        assert upstream.requests[-1].header("x-gglib-key-id") == "1"


async def test_a_key_for_some_models_hears_of_no_others(tmp_path: Any) -> None:
    control = str(tmp_path / "control")
    async with (
        open_unix_upstream(control, answering()) as (upstream, _),
        relaying(door=door(), control_path=control) as relay,
    ):
        hints: list[str] = []
        for secret, expected in ((PLAIN, None), (CHAT_ONLY, '["chat*"]')):
            await ask(relay, "GET", "/v1/models", None, bearer(secret))
            assert upstream.requests[-1].header("x-gglib-models") == expected
            wrong = {**BODY, "model": "embeddor"}
            hints.append((await ask(relay, body=wrong, headers=bearer(secret))).body.decode())
        assert "'embedder'" in hints[0]
        assert "Did you mean" not in hints[1]


@pytest.mark.parametrize(
    ("method", "path", "secret", "status"),
    [
        ("POST", "/upstream/chat/slots/0?action=erase", PLAIN, 403),
        ("POST", "/upstream/chat/slots/0?action=erase", ADMIN, 200),
        ("POST", "/upstream/chat/%73lots%2F0?action=erase", PLAIN, 403),
        ("POST", "/upstream/chat//lora-adapters", PLAIN, 403),
        ("POST", "/upstream/chat/lora-adapters", PLAIN, 403),
        ("POST", "/upstream/chat/props", PLAIN, 403),
        ("POST", "/upstream/chat/v1/audio/transcriptions", PLAIN, 200),
        ("GET", "/upstream/chat/slots", PLAIN, 200),
        ("GET", "/upstream/embedder/slots", CHAT_ONLY, 403),
    ],
)
async def test_what_all_users_of_a_model_share_is_changed_by_admins(
    method: str, path: str, secret: str, status: int
) -> None:
    async with relaying(door=door()) as relay:
        assert await status_of(relay, **bearer(secret)) == 200  # loads it
        assert (await ask(relay, method, path, {}, bearer(secret))).status == status


async def test_a_request_without_a_model_goes_to_one_that_its_key_is_for() -> None:
    async with relaying(door=door()) as relay:
        unnamed = {"messages": []}
        assert (await ask(relay, body=unnamed, headers=bearer(PLAIN))).status == 400
        assert (await ask(relay, body=unnamed, headers=bearer(CHAT_ONLY))).status == 200


HIDDEN = model(7, "embed-secret", aliases=("e",), capabilities=frozenset({"chat"}))


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("POST", CHAT, "e"),
        ("POST", CHAT, "7"),
        ("POST", "/v1/messages", "7"),
        ("GET", "/slots?model=7", "7"),
        ("POST", "/upstream/7/v1/chat/completions", "7"),
        ("GET", "/upstream/e/slots", "e"),
    ],
)
async def test_who_guesses_at_other_models_learns_no_names(
    method: str, path: str, asked: str
) -> None:
    async with relaying(door=door(), models=[CHAT_MODEL, HIDDEN]) as relay:
        body = {**BODY, "model": asked}
        answer = await ask(relay, method, path, body, bearer(CHAT_ONLY))
        assert answer.status == 403
        assert f"the model '{asked}'" in answer.body.decode()
        assert "secret" not in answer.body.decode()


async def test_what_is_resident_or_the_default_is_hidden_from_who_may_not_use_it() -> None:
    hidden = HIDDEN.name
    async with relaying(
        door=door(), models=[CHAT_MODEL, HIDDEN], max_resident=1, default_model=hidden
    ) as relay:
        loads = await ask(relay, body={**BODY, "model": hidden}, headers=bearer(PLAIN))
        assert loads.status == 200
        assert (await ask(relay, "GET", "/slots", None, bearer(PLAIN))).status == 200
        view = await ask(relay, "GET", "/slots", None, bearer(CHAT_ONLY))
        assert (view.status, view.json["error"]["code"]) == (409, "model_not_loaded")
        unnamed = {"messages": []}
        assert (await ask(relay, body=unnamed, headers=bearer(CHAT_ONLY))).status == 200
        assert relay.running.ledger.leases[-1].target.model_name == "chat"
        assert (await ask(relay, body=unnamed, headers=bearer(PLAIN))).status == 200
        assert relay.running.ledger.leases[-1].target.model_name in ("chat", hidden)


async def test_a_key_that_is_switched_off_stops_counting_on_an_open_connection() -> None:
    gate = door()
    async with relaying(door=gate) as relay:
        for _ in range(3):
            assert await status_of(relay, authorization=f"Bearer {PLAIN}") == 200
        gate.rules = replace(CLOSED, keys=KeyRing(PEPPER, [key(1, PLAIN, is_enabled=False)]))
        assert await status_of(relay, authorization=f"Bearer {PLAIN}") == 403


def following() -> Script:
    """Begin a stream that has no end of its own."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(STREAM_HEAD + chunked(b": following\n\n"))
        await peer.gone()

    return script


@asynccontextmanager
async def followed(gate: Door, secret: str, directory: Any) -> AsyncIterator[Relay]:
    """A client that follows records, and has got the first bytes."""
    control = str(directory / "control")
    async with (
        open_unix_upstream(control, following()),
        relaying(door=gate, control_path=control) as relay,
    ):
        headers = {"Host": "localhost", **bearer(secret)}
        relay.client.request("GET", "/v1/generations?follow=1", headers=headers)
        assert (await relay.client.head()).status == 200
        assert await relay.client.chunk() == b": following\n\n"
        yield relay


async def test_who_follows_is_let_out_with_the_right_to_see(tmp_path: Any) -> None:
    gate = door()
    async with followed(gate, PLAIN, tmp_path) as relay:
        relay.running.sweep(1)
        gate.rules = replace(CLOSED)  # another ring in which the key still counts
        relay.running.sweep(1)
        assert len(relay.plane.control_exchanges) == 1
        gate.rules = replace(CLOSED, keys=KeyRing(PEPPER, [key(1, PLAIN, is_enabled=False)]))
        relay.running.sweep(1)
        assert b"key_disabled" in await relay.client.chunk()
        assert await relay.client.chunk() == b""


@pytest.mark.parametrize(
    "changed",
    [{"endpoints": DEFAULT_ENDPOINTS}, {"endpoints": WITH_LOGS, "models": ("chat*",)}],
    ids=["scopes", "models"],
)
async def test_who_follows_is_let_out_when_the_key_is_for_less(
    changed: dict[str, Any], tmp_path: Any
) -> None:
    gate = door()
    gate.rules = replace(CLOSED, keys=KeyRing(PEPPER, [key(1, PLAIN, endpoints=WITH_LOGS)]))
    async with followed(gate, PLAIN, tmp_path) as relay:
        gate.rules = replace(CLOSED, keys=KeyRing(PEPPER, [key(1, PLAIN, **changed)]))
        relay.running.sweep(1)
        assert b"not for the same any more" in await relay.client.chunk()
        assert await relay.client.chunk() == b""


async def test_a_key_that_is_switched_off_stops_no_answer_of_a_model() -> None:
    gate, more = door(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(STREAM_HEAD + chunked(event("one")))
        await more.wait()
        peer.send(chunked(event("two")) + STREAM_END)

    async with relaying(script, door=gate) as relay:
        headers = {"Host": "localhost", **bearer(PLAIN)}
        relay.client.request("POST", CHAT, STREAM_BODY, headers=headers)
        await relay.client.head()
        assert await relay.client.chunk() == event("one")
        gate.rules = replace(CLOSED, keys=KeyRing(PEPPER, [key(1, PLAIN, is_enabled=False)]))
        relay.running.sweep(1)
        more.set()
        assert await relay.client.chunk() == event("two")
        assert await relay.client.chunk() == b""


async def test_a_key_expires_on_an_open_connection() -> None:
    now = [NOW]
    rules = replace(CLOSED, keys=KeyRing(PEPPER, [key(1, PLAIN, expires=NOW + 10)]))
    async with relaying(door=door(rules, lambda: now[0])) as relay:
        assert await status_of(relay, authorization=f"Bearer {PLAIN}") == 200
        now[0] += 11
        assert await status_of(relay, authorization=f"Bearer {PLAIN}") == 403


async def test_an_open_door_asks_for_nothing_and_knows_those_who_show_a_key() -> None:
    rules = replace(CLOSED, keys=KeyRing(PEPPER, [key(1, PLAIN)], is_open=True))
    async with relaying(door=door(rules)) as relay:
        assert await status_of(relay) == 200
        assert await status_of(relay, authorization="Bearer sk-whatever") == 200
        assert await status_of(relay, authorization=f"Bearer {PLAIN}") == 200
        await relay.running.idle()
        records = relay.plane.books.log.generations  # type: ignore[attr-defined]
        assert [each.key_id for each in records] == [None, None, 1]
        assert records[-1].api_key_id == mask_of(PLAIN)


# Hosts and pages


async def test_a_name_that_is_not_this_machines_is_refused_before_anything_else() -> None:
    rules = replace(CLOSED, keys=KeyRing(is_open=True))
    async with relaying(door=door(rules)) as relay:
        answer = await ask(relay, "POST", CHAT, BODY, {"Host": "evil.example"})
        assert (answer.status, answer.json["error"]["code"]) == (403, "host_not_allowed")
        assert "allowed_hosts" in answer.json["error"]["message"]
        assert relay.upstream.requests == []


async def test_a_page_of_this_machine_may_read_answers_and_errors() -> None:
    async with relaying(door=door(OPEN)) as relay:
        for body, status in ((BODY, 200), ({"model": "none"}, 404), (b"nonsense", 400)):
            answer = await ask(relay, "POST", CHAT, body, {"origin": PAGE})
            assert answer.status == status
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "x-request-id" in answer.headers["access-control-expose-headers"]
            assert "x-request-id" in answer.headers


async def test_a_page_of_this_machine_is_told_beforehand() -> None:
    async with relaying(door=door()) as relay:
        headers = {
            "origin": PAGE,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, content-type",
        }
        answer = await ask(relay, "OPTIONS", CHAT, None, headers)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
        assert "content-length" not in answer.headers
        assert await status_of(relay, authorization=f"Bearer {PLAIN}", origin=PAGE) == 200


async def test_a_page_of_another_site_is_refused_where_nobody_needs_a_key() -> None:
    foreign = {"origin": "https://evil.example"}
    async with relaying(door=door(OPEN)) as relay:
        answer = await ask(relay, "POST", CHAT, BODY, foreign)
        assert (answer.status, answer.json["error"]["code"]) == (403, "foreign_origin")
        assert "access-control-allow-origin" not in answer.headers
        asked = foreign | {"access-control-request-method": "POST"}
        assert (await ask(relay, "OPTIONS", CHAT, None, asked)).status == 403
        assert relay.upstream.requests == []


async def test_a_page_with_a_key_may_come_from_anywhere_but_not_read_the_answer() -> None:
    async with relaying(door=door()) as relay:
        headers = {**bearer(PLAIN), "origin": "https://evil.example"}
        answer = await ask(relay, "POST", CHAT, BODY, headers)
        assert answer.status == 200
        assert "access-control-allow-origin" not in answer.headers


# Ids


async def test_a_request_keeps_the_id_that_it_came_with() -> None:
    async with relaying(door=door(OPEN)) as relay:
        answer = await ask(relay, "POST", CHAT, BODY, {"x-request-id": "mine-1"})
        assert answer.headers["x-request-id"] == "mine-1"
        assert relay.upstream.requests[-1].header("x-request-id") == "mine-1"


@pytest.mark.parametrize("given", [None, "", "with blank", "x" * 200, "ä", 'q"uote'])
async def test_a_request_gets_an_id_of_its_own_where_it_has_none_of_use(given: str | None) -> None:
    async with relaying(door=door(OPEN)) as relay:
        headers = {} if given is None else {"x-request-id": given}
        ids = set()
        for _ in range(3):
            answer = await ask(relay, "POST", CHAT, BODY, headers)
            assert answer.headers["x-request-id"].startswith("req-")
            ids.add(answer.headers["x-request-id"])
            assert relay.upstream.requests[-1].header("x-request-id") in ids
        assert len(ids) == 3
