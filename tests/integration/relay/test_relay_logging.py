"""What the data plane logs: what its clients may not be told, and nothing that they are."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gglib_core.errors import DatabaseError, GglibError, QueueFull
from gglib_core.models import Model
from gglib_core.swaps import Requester
from tests.planes import BODY, STREAM_BODY, Relay, relaying

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


async def test_an_error_that_the_client_is_told_of_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with relaying() as relay:
        fail(relay, QueueFull(8, 1.0))
        assert (await relay.client.ask("POST", PATH, BODY)).status == 503
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
