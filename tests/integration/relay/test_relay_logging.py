"""What the data plane logs: what its clients may not be told, and nothing that they are."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest

from gglib_core.errors import DatabaseError, GglibError, QueueFull
from gglib_core.models import Model
from gglib_core.swaps import Requester
from gglib_proxy.limits import Limits
from tests.planes import BODY, STREAM_BODY, Relay, relaying
from tests.upstreams import Peer, response

PATH = "/v1/chat/completions"
SECRET = "the table is in /var/lib"


class Failing:
    """A runtime whose every admission ends in the same error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def admit(
        self,
        model: Model,
        *,
        context: int,
        may_load: bool = True,
        requester: Requester | None = None,
    ) -> Any:
        raise self.error

    def lease_now(self, model: Model, *, context: int) -> None:
        return None

    def current(self) -> list[Any]:
        return []


def fail(relay: Relay, error: Exception) -> None:
    relay.running.ledger.runtime = Failing(error)  # type: ignore[assignment]


@pytest.mark.parametrize("error", [DatabaseError(SECRET), GglibError(SECRET), KeyError(SECRET)])
async def test_what_is_kept_from_the_client_stands_in_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with relaying() as relay:
        fail(relay, error)
        answer = await relay.client.ask("POST", PATH, BODY)
        assert answer.status == 500
        assert SECRET not in answer.body.decode()
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert SECRET in str(record.exc_info[1])
    assert PATH in record.getMessage()


async def test_it_stands_there_too_where_the_client_is_told_in_a_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with relaying() as relay:
        fail(relay, DatabaseError(SECRET))
        answer = await relay.client.ask("POST", PATH, STREAM_BODY)
        assert SECRET not in answer.body.decode()
    assert len([each for each in caplog.records if each.levelno >= logging.ERROR]) == 1


async def test_an_error_that_the_client_is_told_of_is_one_line_with_its_facts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with relaying() as relay:
        fail(relay, QueueFull(8, 1.0))
        answer = await relay.client.ask("POST", PATH, BODY)
        assert answer.status == 503
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert re.fullmatch(
        rf"POST {PATH} chat: 503 queue_full after \d+ ms: The queue is full: 8 requests .*",
        record.getMessage(),
    )
    assert record.request_id == answer.headers["x-request-id"]  # type: ignore[attr-defined]
    assert record.exc_info is None


async def test_an_error_of_the_client_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with relaying() as relay:
        assert (await relay.client.ask("POST", PATH, b"{")).status == 400
        assert (await relay.client.ask("PUT", PATH, BODY)).status == 405
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_a_request_that_is_turned_away_by_the_server_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with relaying() as relay:
        relay.plane.is_paused = True
        answer = await relay.client.ask("POST", PATH, BODY)
        assert answer.status == 503
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.getMessage().startswith(f"POST {PATH} -: 503 paused after 0 ms: ")
    assert record.request_id == answer.headers["x-request-id"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("limit", "count"), [(0.0, 0), (60.0, 1), (3600.0, 0)])
async def test_a_slow_request_is_named_unless_none_is_slow(
    limit: float, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    gate = asyncio.Event()

    async def waiting(peer: Peer) -> None:
        await peer.request()
        await gate.wait()
        peer.send(response())

    async with relaying(waiting, limits=Limits(slow_request_seconds=limit)) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.upstream.received()
        (exchange,) = relay.plane.exchanges
        exchange.shift(-100.0)
        gate.set()
        answer = await relay.client.answer()
    records = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(records) == count
    for record in records:
        assert re.fullmatch(
            rf"POST {PATH} chat: slow, 200 after 100\d{{3}} ms", record.getMessage()
        )
        assert record.request_id == answer.headers["x-request-id"]  # type: ignore[attr-defined]


async def test_at_debug_each_request_is_a_line_without_its_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = {**BODY, "api_key": "hunter2"}
    headers = {"x-request-id": "mine", "authorization": "Bearer hunter3"}
    with caplog.at_level(logging.DEBUG, logger="gglib_proxy"):
        async with relaying() as relay:
            assert (await relay.client.ask("POST", PATH, body, headers=headers)).status == 200
            assert (await relay.client.ask("PUT", PATH, body, headers=headers)).status == 405
    lines = [each for each in caplog.records if " came with " in each.getMessage()]
    assert [each.request_id for each in lines] == ["mine", "mine"]  # type: ignore[attr-defined]
    for line in lines:
        assert '"model"' in line.getMessage()
        assert "hunter" not in line.getMessage()
