"""The record of a request that was admitted: what it was, how long it took, what it cost.

Not here: how records are stored, and how usage is read from an answer.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from gglib_core.errors import InvalidRequest

CLIENT_LEFT = 499
"""The status of a request whose client left before its answer was whole; nginx's number for it."""
FAILED = 400
"""From this status on, a request has failed."""
FOLLOWED_RECORDS = 1000
"""How many a follower may be behind before it misses some."""
_CURSOR = re.compile(r"([0-9a-f]{1,15})-([0-9a-f]{1,15})")


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

    @property
    def has_failed(self) -> bool:
        """Whether the client did not get the whole of a good answer."""
        return self.status >= FAILED or self.error is not None

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def total_cost(self) -> float:
        return self.prompt_cost + self.completion_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationFilter:
    """Which records are wanted; None where it does not matter."""

    key_id: int | None = None
    api_key_id: str | None = None
    """The mask of the key."""
    model: str | None = None
    endpoint: str | None = None
    status: int | None = None
    has_failed: bool | None = None
    since_ms: int | None = None
    """Unix milliseconds, inclusive."""
    until_ms: int | None = None
    """Unix milliseconds, exclusive."""
    among_models: frozenset[str] | None = None
    """The names of the models of which there may be records among them."""

    def matches(self, generation: Generation) -> bool:
        """Whether the record is one of those that are wanted."""
        wanted_values = (
            (self.key_id, generation.key_id),
            (self.api_key_id, generation.api_key_id),
            (self.model, generation.model),
            (self.endpoint, generation.endpoint),
            (self.status, generation.status),
            (self.has_failed, generation.has_failed),
        )
        return (
            all(wanted is None or wanted == value for wanted, value in wanted_values)
            and (self.since_ms is None or generation.created_ms >= self.since_ms)
            and (self.until_ms is None or generation.created_ms < self.until_ms)
            and (self.among_models is None or generation.model in self.among_models)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationPage:
    """Records, those first whose requests were admitted last."""

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
    """The records that were written, and those still on their way: one sees what one has done.

    Only `follow` may be called without awaiting it; what cannot be read raises DatabaseError.
    """

    async def find(self, generation_id: str, *, key_id: int | None = None) -> Generation | None:
        """The record of that id, ours or the upstream's; the newest of several.

        With a `key_id`, only those of that key count.
        """
        ...

    async def page(
        self, wanted: GenerationFilter, *, limit: int, cursor: str | None = None
    ) -> GenerationPage:
        """At most `limit` records by filter, and where they go on.

        Raises InvalidRequest for a cursor that is none. No record is on two pages, and none that
        was there when the first page was asked for is missing.
        """
        ...

    def follow(self, wanted: GenerationFilter) -> GenerationFollower:
        """Records from the moment of the call on, until closed.

        A follower that is too slow misses some: those that it has waited longest to read.
        """
        ...


class GenerationFollower:
    """An iterator over the records that it is told of; belongs to one event loop."""

    def __init__(self, followers: set[GenerationFollower], wanted: GenerationFilter) -> None:
        """It stays in `followers` until it is closed."""
        self._followers = followers
        self._wanted = wanted
        self._records: deque[Generation] = deque(maxlen=FOLLOWED_RECORDS)
        self._has_news = asyncio.Event()
        followers.add(self)

    def tell(self, generation: Generation) -> None:
        """Take a record, if it is one of those that are wanted. Never blocks or waits."""
        if self._wanted.matches(generation):
            self._records.append(generation)
            self._has_news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Generation:
        while not self._records:
            if self not in self._followers:
                raise StopAsyncIteration
            self._has_news.clear()
            await self._has_news.wait()
        return self._records.popleft()

    def take_waiting(self) -> list[Generation]:
        """The records that can be had without waiting."""
        taken = list(self._records)
        self._records.clear()
        return taken

    async def aclose(self) -> None:
        self._followers.discard(self)
        self._records.clear()
        self._has_news.set()


class InMemoryGenerationLog:
    """Fills `GenerationLog` and `GenerationHistory` without a database: keeps everything."""

    def __init__(self) -> None:
        self.generations: list[Generation] = []
        """In the order they came."""
        self._followers: set[GenerationFollower] = set()

    @property
    def is_full(self) -> bool:
        return False

    async def wait_for_room(self) -> None:
        return

    def record(self, generation: Generation) -> None:
        self.generations.append(generation)
        for follower in self._followers:
            follower.tell(generation)

    async def find(self, generation_id: str, *, key_id: int | None = None) -> Generation | None:
        return newest_of(self.generations, generation_id, key_id)

    async def page(
        self, wanted: GenerationFilter, *, limit: int, cursor: str | None = None
    ) -> GenerationPage:
        before = None if cursor is None else read_cursor(cursor)
        places = {(each.created_ms, seq): each for seq, each in enumerate(self.generations)}
        found = [
            (place, places[place])
            for place in sorted(places, reverse=True)
            if (before is None or place < before) and wanted.matches(places[place])
        ]
        shown = found[:limit]
        return GenerationPage(
            generations=[generation for _, generation in shown],
            next_cursor=write_cursor(*shown[-1][0]) if len(found) > limit else None,
        )

    def follow(self, wanted: GenerationFilter) -> GenerationFollower:
        return GenerationFollower(self._followers, wanted)


def newest_of(
    generations: Sequence[Generation], generation_id: str, key_id: int | None
) -> Generation | None:
    """What `GenerationHistory.find` says, of records in the order they came."""
    for each in reversed(generations):
        if generation_id in (each.id, each.upstream_id) and key_id in (None, each.key_id):
            return each
    return None


def write_cursor(created_ms: int, seq: int) -> str:
    """Where the next page begins: behind this record, whose number among all is `seq`."""
    return f"{created_ms:x}-{seq:x}"


def read_cursor(cursor: str) -> tuple[int, int]:
    """What `write_cursor` was given. Raises InvalidRequest."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidRequest(
            "cursor is none that gglib gave: take it from `next_cursor` of the page before.",
            param="cursor",
        )
    return int(match[1], 16), int(match[2], 16)
