"""One row of the fault matrix: a fault that is made, and what gglib promises for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gglib_runtime.chaos.outcome import expect
from gglib_runtime.chaos.stage import MODEL, Stage
from gglib_runtime.chaos.wire import DONE, Answer, Connection

if TYPE_CHECKING:
    from gglib_runtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A fault and a promise."""

    name: str
    fault: str
    promise: str
    run: Callable[[Stage], Awaitable[str]]
    """Makes the fault and says what was seen; raises Broken where the promise was not kept."""
    sims: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {MODEL: {}})
    """The models and how the simulator behaves; `max_concurrent` is gglib's own."""
    shortened: Mapping[str, float] = field(default_factory=dict[str, float])
    """Settings that would make it last too long, and what they are here at most."""
    void: Callable[[Settings], str | None] = lambda settings: None
    """Why the settings make the promise void, if they do."""
    is_settled: bool = True
    """Whether the server lives on, and must be as if nothing had happened."""


def expect_error(answer: Answer, status: int, code: str) -> str:
    """Raise Broken unless gglib answers with this error; what was seen."""
    expect(
        (answer.status, answer.error.get("code")) == (status, code),
        f"{answer} in place of {status} {code}",
    )
    return str(answer)


async def expect_error_event(connection: Connection, code: str) -> str:
    """Raise Broken unless the stream ends with this error and the connection goes on."""
    answer = await connection.answer()
    expect(DONE not in answer.events, "a stream that failed ended with [DONE]")
    expect(answer.error.get("code") == code, f"{answer} in place of an event {code}")
    expect(answer.is_whole, "the client's connection was cut between two events")
    connection.request("GET", "/health")
    again = await connection.answer()
    expect(again.status == 200, f"the client's connection then answered {again}")
    return f"event {code}, and the connection goes on"


async def expect_no_clean_end(connection: Connection, code: str) -> str:
    """Raise Broken unless the stream ends with this error, or is cut."""
    answer = await connection.answer()
    expect(DONE not in answer.events, "a stream that failed ended with [DONE]")
    if not answer.is_whole:
        return "cut"
    found = answer.error.get("code")
    expect(found == code, f"the stream ended with {found or 'no error'} in place of {code}")
    return f"event {code}"
