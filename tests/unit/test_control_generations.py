"""`/v1/generation` and `/v1/generations`: what is shown, in which shape, and to whom."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import Any

import pytest
from quart.testing import QuartClient

from gglib_core.generations import Generation, InMemoryGenerationLog
from gglib_proxy.control.app import create_app
from gglib_proxy.control.generation_query import MAX_LIMIT
from tests.control_plane import THROUGH_DATA_PLANE, control_context
from tests.generations import generation

FULL = generation(
    id="gen-abc123",
    created_ms=1_705_267_200_987,
    upstream_id="chatcmpl-9",
    key_id=7,
    api_key_id="gg-abc***xyz",
    model="org/tiny",
    is_stream=True,
    prompt_tokens=150,
    completion_tokens=75,
    cached_tokens=20,
    prompt_cost=0.0015,
    completion_cost=0.00225,
    total_ms=1523.4567,
    queue_ms=1.23456,
    tokens_per_second=55.55555,
    swap_id="swap-1",
)


@pytest.fixture
def log() -> InMemoryGenerationLog:
    return InMemoryGenerationLog()


@pytest.fixture
def stop() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def client(log: InMemoryGenerationLog, stop: asyncio.Event) -> QuartClient:
    return create_app(control_context(generations=log, stop=stop)).test_client()


def caller(*scopes: str, key_id: int | None = None) -> dict[str, str]:
    """The headers that the data plane sets for a caller."""
    headers = THROUGH_DATA_PLANE | {"x-gglib-endpoints": ",".join(scopes)}
    return headers if key_id is None else headers | {"x-gglib-key-id": str(key_id)}


async def listed(client: QuartClient, query: str = "", **options: Any) -> list[str]:
    answer = await client.get(f"/v1/generations{query}", **options)
    assert answer.status_code == 200, await answer.get_data(as_text=True)
    return [each["id"] for each in (await answer.get_json())["data"]]


@pytest.mark.parametrize("generation_id", ["gen-abc123", "chatcmpl-9"])
async def test_a_generation_has_the_shape_that_was_promised(
    client: QuartClient, log: InMemoryGenerationLog, generation_id: str
) -> None:
    log.record(FULL)
    answer = await client.get(f"/v1/generation?id={generation_id}")
    assert answer.status_code == 200
    assert await answer.get_json() == {
        "id": "gen-abc123",
        "object": "generation",
        "model": "org/tiny",
        "provider": "llama-server",
        "created": 1_705_267_200,
        "finish_reason": "stop",
        "tokens": {
            "prompt_tokens": 150,
            "completion_tokens": 75,
            "total_tokens": 225,
            "cached_tokens": 20,
            "estimated": False,
        },
        "cost": {
            "prompt_cost": 0.0015,
            "completion_cost": 0.00225,
            "total_cost": 0.00375,
            "currency": "USD",
        },
        "latency_ms": 1523,
        "api_key_id": "gg-abc***xyz",
        "stream": True,
        "endpoint": "/v1/chat/completions",
        "status": 200,
        "error": None,
        "created_ms": 1_705_267_200_987,
        "queue_ms": 1.235,
        "load_ms": 0.0,
        "first_token_ms": None,
        "total_ms": 1523.457,
        "tokens_per_second": 55.556,
        "request_id": "req-1",
        "upstream_id": "chatcmpl-9",
        "key_id": 7,
        "model_id": 1,
        "target": "launch-1",
        "provider_health": "healthy",
        "swap_id": "swap-1",
    }


async def test_a_generation_that_is_unknown_is_not_found(client: QuartClient) -> None:
    answer = await client.get("/v1/generation?id=gen-none")
    assert answer.status_code == 404
    error = (await answer.get_json())["error"]
    assert (error["code"], error["param"]) == ("generation_not_found", "id")


@pytest.mark.parametrize("path", ["/v1/generation", "/v1/generation?id="])
async def test_an_id_is_needed(client: QuartClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 400
    assert (await answer.get_json())["error"]["param"] == "id"


SEES_ALL = [
    {},  # the private socket
    caller("inference", "logs", key_id=1),
    caller("admin", key_id=1),
    caller("admin", "inference", "logs", "models"),  # nobody needs a key
]
SEES_OWN = [caller("inference", "models", key_id=7)]
SEES_NOTHING = [
    caller("inference", "models", key_id=8),
    caller("inference", "models"),
    THROUGH_DATA_PLANE,
    caller("inference", key_id=0) | {"x-gglib-key-id": "²"},
    caller("administrator", "log", key_id=8),
]


@pytest.mark.parametrize("headers", [*SEES_ALL, *SEES_OWN])
async def test_the_owner_of_a_generation_sees_it_and_so_does_who_reads_logs(
    client: QuartClient, log: InMemoryGenerationLog, headers: dict[str, str]
) -> None:
    log.record(FULL)
    answer = await client.get("/v1/generation?id=chatcmpl-9", headers=headers)
    assert answer.status_code == 200
    assert await listed(client, headers=headers) == [FULL.id]
    assert FULL.id in await exported(client, headers=headers)


@pytest.mark.parametrize("headers", SEES_NOTHING)
async def test_others_do_not_learn_that_it_exists(
    client: QuartClient, log: InMemoryGenerationLog, headers: dict[str, str]
) -> None:
    before = await client.get("/v1/generation?id=gen-abc123", headers=headers)
    log.record(FULL)
    after = await client.get("/v1/generation?id=gen-abc123", headers=headers)
    assert after.status_code == 404
    assert await after.get_data() == await before.get_data()
    for query in ("", "?key=7", "?key=gg-abc***xyz", "?model=org/tiny"):
        assert await listed(client, query, headers=headers) == []
        assert FULL.id not in await exported(client, query, headers=headers)


async def test_an_upstreams_id_that_two_keys_have_shows_each_its_own(
    client: QuartClient, log: InMemoryGenerationLog
) -> None:
    log.record(FULL)
    log.record(FULL._replace(id="gen-other", key_id=8))
    answer = await client.get("/v1/generation?id=chatcmpl-9", headers=SEES_OWN[0])
    assert (await answer.get_json())["id"] == FULL.id


MANY = [
    generation(id="a", created_ms=1_700_000_000_000, model="one", key_id=1, api_key_id="gg-1"),
    generation(id="b", created_ms=1_700_000_001_000, model="two", key_id=2),
    generation(id="c", created_ms=1_700_000_002_000, model="two", status=503, error="queue_full"),
    generation(id="d", created_ms=1_700_000_003_000, endpoint="/v1/messages", status=499),
]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", "dcba"),
        ("?model=two", "cb"),
        ("?endpoint=/v1/messages", "d"),
        ("?status=503", "c"),
        ("?failed=1", "dc"),
        ("?failed=false", "ba"),
        ("?key=2", "b"),
        ("?key=gg-1", "a"),
        ("?since=1700000001", "dcb"),
        ("?since=1700000001.5", "dc"),
        ("?since=2023-11-14T22:13:22Z", "dc"),
        ("?since=2023-11-14T23:13:22%2B01:00", "dc"),
        ("?since=2023-11-14T23:13:22+01:00", "dc"),
        ("?since=2023-11-14 22:13:22", "dc"),
        ("?until=1700000001&limit=5", "a"),
        ("?since=2023-11-15", ""),
        ("?limit=2", "dc"),
    ],
)
async def test_the_query_says_which_are_listed(
    client: QuartClient, log: InMemoryGenerationLog, query: str, ids: str
) -> None:
    for each in MANY:
        log.record(each)
    assert await listed(client, query) == list(ids)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        (f"limit={MAX_LIMIT + 1}", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=%C2%B2", "limit"),
        ("limit=", "limit"),
        ("status=20", "status"),
        ("failed=maybe", "failed"),
        ("follow=2", "follow"),
        ("key=99999999999999999999", "key"),
        ("since=yesterday", "since"),
        ("until=-5", "until"),
        ("since=", "since"),
        ("model=a%00b", "model"),
        ("cursor=x", "cursor"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/generations", "/v1/generations.csv"])
async def test_a_query_that_makes_no_sense_is_refused(
    client: QuartClient, path: str, query: str, param: str
) -> None:
    answer = await client.get(f"{path}?{query}")
    assert answer.status_code == 400
    assert (await answer.get_json())["error"]["param"] == param


async def test_a_list_goes_on_at_its_cursor(
    client: QuartClient, log: InMemoryGenerationLog
) -> None:
    for each in MANY:
        log.record(each)
    first = await (await client.get("/v1/generations?limit=3")).get_json()
    assert (first["object"], first["has_more"]) == ("list", True)
    rest = await client.get(f"/v1/generations?limit=3&cursor={first['next_cursor']}")
    second = await rest.get_json()
    assert [each["id"] for each in second["data"]] == ["a"]
    assert (second["has_more"], second["next_cursor"]) == (False, None)


async def exported(client: QuartClient, query: str = "", **options: Any) -> str:
    answer = await client.get(f"/v1/generations.csv{query}", **options)
    assert answer.status_code == 200
    assert answer.content_type == "text/csv; charset=utf-8; header=present"
    return await answer.get_data(as_text=True)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_an_export_has_every_column(client: QuartClient, log: InMemoryGenerationLog) -> None:
    log.record(FULL)
    (row,) = rows_of(await exported(client))
    assert row["created"] == "2024-01-14T21:20:00.987Z"
    for name, value in FULL._asdict().items():
        shown = int(value) if isinstance(value, bool) else value
        assert row[name] == ("" if value is None else str(shown))


async def test_numbers_of_an_export_have_no_digits_that_mean_nothing(
    client: QuartClient, log: InMemoryGenerationLog
) -> None:
    log.record(FULL._replace(queue_ms=1508.9999999981956, prompt_cost=1.234e-07))
    (row,) = rows_of(await exported(client))
    assert (row["queue_ms"], row["prompt_cost"]) == ("1509.0", "1.234e-07")


async def test_an_export_has_all_that_is_asked_for(
    client: QuartClient, log: InMemoryGenerationLog
) -> None:
    for number in range(2 * MAX_LIMIT + 5):
        log.record(generation(id=f"gen-{number}", model="even" if number % 2 == 0 else "odd"))
    assert len(rows_of(await exported(client))) == 2 * MAX_LIMIT + 5
    assert len(rows_of(await exported(client, "?model=odd"))) == MAX_LIMIT + 2
    assert len(rows_of(await exported(client, "?limit=10"))) == 10


async def test_a_list_is_csv_for_who_prefers_it(
    client: QuartClient, log: InMemoryGenerationLog
) -> None:
    log.record(FULL)
    answer = await client.get("/v1/generations", headers={"accept": "text/csv"})
    assert rows_of(await answer.get_data(as_text=True))[0]["id"] == FULL.id
    assert "generations.csv" in answer.headers["content-disposition"]
    for accepted in ("*/*", "application/json", "text/html,*/*"):
        answer = await client.get("/v1/generations", headers={"accept": accepted})
        assert answer.content_type == "application/json"


@pytest.mark.parametrize(
    "text", ['=1+2";x', "@SUM(A1)", "+1", "-1", "\uff1d1", "\n=1", 'plain, "quoted"\nline']
)
async def test_no_cell_of_an_export_is_a_formula(
    client: QuartClient, log: InMemoryGenerationLog, text: str
) -> None:
    log.record(generation(upstream_id=text))
    (row,) = rows_of(await exported(client))
    assert row["upstream_id"] == (text if text.startswith("plain") else f"'{text}")


class Following:
    """An event stream that is read."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._text = ""

    async def next(self) -> dict[str, Any]:
        while True:
            event = await self.block()
            if event.startswith("data: "):
                return json.loads(event.removeprefix("data: "))

    async def block(self) -> str:
        async with asyncio.timeout(10):
            while "\n\n" not in self._text:
                self._text += (await self._connection.receive()).decode()
        block, _, self._text = self._text.partition("\n\n")
        return block


async def test_records_are_followed_as_they_come(
    client: QuartClient, log: InMemoryGenerationLog
) -> None:
    log.record(generation(id="before"))
    async with client.request("/v1/generations?follow=1&model=one") as connection:
        await connection.send_complete()
        following = Following(connection)
        assert await following.block() == ": following"
        for each in MANY:
            log.record(each)
        log.record(generation(id="e", model="one"))
        assert (await following.next())["id"] == "a"
        assert (await following.next())["id"] == "e"
        await connection.disconnect()


async def test_a_caller_follows_its_own_records_only(
    client: QuartClient, log: InMemoryGenerationLog
) -> None:
    headers = caller("models", key_id=2)
    async with client.request("/v1/generations?follow=1", headers=headers) as connection:
        await connection.send_complete()
        following = Following(connection)
        await following.block()
        for each in MANY:
            log.record(each)
        assert (await following.next())["id"] == "b"
        await connection.disconnect()


async def test_a_follower_is_told_that_the_server_is_there(
    client: QuartClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gglib_proxy.control.generations.HEARTBEAT_SECONDS", 0.001)
    async with client.request("/v1/generations?follow=1") as connection:
        await connection.send_complete()
        following = Following(connection)
        assert await following.block() == ": following"
        assert await following.block() == ": waiting"
        await connection.disconnect()


@pytest.mark.parametrize("headers", [{}, caller("models")])
async def test_following_ends_with_the_server(
    client: QuartClient, stop: asyncio.Event, headers: dict[str, str]
) -> None:
    stop.set()
    async with asyncio.timeout(10):
        answer = await client.get("/v1/generations?follow=1", headers=headers)
        assert answer.content_type == "text/event-stream"
        assert b"data:" not in await answer.get_data()


@pytest.mark.parametrize("path", ["/v1/generations?follow=1", "/v1/generations.csv"])
async def test_a_head_waits_for_nothing(
    client: QuartClient, log: InMemoryGenerationLog, path: str
) -> None:
    log.record(FULL)
    async with asyncio.timeout(10):
        answer = await client.head(path)
    assert answer.status_code == 200


def test_every_field_of_a_record_is_shown() -> None:
    """A field that is added has to find its place in the document."""
    from gglib_proxy.generation_document import generation_document

    document = generation_document(FULL)
    shown = {*document, *document["tokens"], *document["cost"]}
    renamed = {"is_stream": "stream", "is_estimated": "estimated"}
    assert {renamed.get(name, name) for name in Generation._fields} <= shown
