"""The record of a request that was admitted: what it was, how long it took, what it cost.

Not here: how records are stored, and how usage is read from an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

CLIENT_LEFT = 499
"""The status of a request whose client left before its answer was whole; nginx's number for it."""


class Generation(NamedTuple):
    """One row. A tuple, in the order of the table's columns: thousands are made each second."""

    id: str
    """Ours, `gen-…`; also in the header `x-gglib-generation-id`."""
    created_ms: int
    """Unix milliseconds at which the request was admitted."""
    request_id: str
    upstream_id: str | None
    """The `id` in the answer's body."""
    key_id: int | None
    api_key_id: str | None
    """The mask of the key; None where none was needed."""
    model: str
    model_id: int | None
    provider: str
    """Who ran the model: `llama-server`, or a remote provider's name."""
    target: str | None
    """The launch, or the provider's model; None for a request that reached none."""
    provider_health: str | None
    """`healthy`, `failing` or `dead` when the request ended; None where none was reached."""
    endpoint: str
    """The route's path."""
    is_stream: bool
    status: int
    """Of HTTP, as far as the request came; 499 where the client left."""
    error: str | None
    """The code of our error; `upstream_error` for one of the upstream; None where all went well."""
    finish_reason: str | None
    queue_ms: float
    """From the request's last byte until a model was leased, loading included."""
    load_ms: float
    """The part of `queue_ms` in which the model was being loaded."""
    first_token_ms: float | None
    """From the request's last byte until the first byte of the answer's body."""
    total_ms: float
    """From the request's last byte until the answer's last one was written."""
    prompt_tokens: int
    """All of the prompt, those from the cache included."""
    cached_tokens: int
    completion_tokens: int
    is_estimated: bool
    """Whether the tokens were counted by us, for the answer did not say."""
    tokens_per_second: float | None
    """Of the completion, as the engine says it, else between first and last byte."""
    prompt_cost: float
    completion_cost: float
    currency: str
    swap_id: str | None
    """The swap that the request waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationFilter:
    """Which records are wanted; None where it does not matter."""

    key_id: int | None = None
    model: str | None = None
    endpoint: str | None = None
    status: int | None = None
    has_failed: bool | None = None
    since_ms: int | None = None
    """Unix milliseconds, inclusive."""
    until_ms: int | None = None
    """Unix milliseconds, exclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationPage:
    """Records, newest first."""

    generations: Sequence[Generation]
    next_cursor: str | None
    """What to ask with for the next page; None on the last one."""


class GenerationLog(Protocol):
    """Where records are put; asked for every request, on the event loop."""

    @property
    def is_full(self) -> bool:
        """Whether no request may be admitted before `wait_for_room` returns."""
        ...

    async def wait_for_room(self) -> None:
        """Return when records can be taken again; at once where they can."""
        ...

    def record(self, generation: Generation) -> None:
        """Take a record, which is then never dropped, even where the log is full by now.

        Never fails, blocks or waits.
        """
        ...


class GenerationHistory(Protocol):
    """The records that were written, and those still on their way."""

    async def find(self, generation_id: str) -> Generation | None:
        """The record of that id, ours or the upstream's; the newest of several."""
        ...

    async def page(
        self, wanted: GenerationFilter, *, limit: int, cursor: str | None = None
    ) -> GenerationPage:
        """Records by filter. Raises InvalidRequest for a cursor that is none."""
        ...

    def follow(self, wanted: GenerationFilter) -> AsyncIterator[Generation]:
        """Records from now on, until closed. A follower that is too slow misses some."""
        ...


class InMemoryGenerationLog:
    """Fills `GenerationLog` without a database: keeps everything, in the order it came."""

    def __init__(self) -> None:
        self.generations: list[Generation] = []

    @property
    def is_full(self) -> bool:
        return False

    async def wait_for_room(self) -> None:
        return

    def record(self, generation: Generation) -> None:
        self.generations.append(generation)
