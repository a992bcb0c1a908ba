"""The books that are kept of admitted requests: limits, records, counts and traces.

A request's account is opened when it has passed the gate and closed when it has ended, however it
ended; closing leaves exactly one record. Not here: the exchange, which tells what happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gglib_core.errors import AccessError, LimitError, QuotaExceeded, RateLimited
from gglib_core.generations import (
    CLIENT_LEFT,
    Generation,
    GenerationLog,
    InMemoryGenerationLog,
)
from gglib_core.keys import Endpoint
from gglib_core.ports import Lease
from gglib_core.rate_limiting import (
    Demand,
    NoRateLimiter,
    RateLimiter,
    Reservation,
    Standing,
)
from gglib_core.tracing import RequestTracer
from gglib_proxy.door.door import Entry
from gglib_proxy.gate import Passage
from gglib_proxy.identifiers import number_source
from gglib_proxy.routes import Route
from gglib_proxy.tally import Tally
from gglib_proxy.usage import UsageReader, usage_of
from gglib_proxy.usage_fields import Usage

LLAMA_SERVER: Final = "llama-server"
BYTES_PER_TOKEN: Final = 4
"""Of a prompt whose tokens nobody has counted yet."""
_LEAST_STREAM_SECONDS: Final = 0.001
_generation = Generation._make
"""At a third of what its constructor costs, which gives names to 29 values."""
_NOTHING_USED: Final = Usage(is_estimated=True)


@dataclass(slots=True, kw_only=True)
class Books:
    """What is kept, and where; belongs to one event loop."""

    log: GenerationLog = field(default_factory=InMemoryGenerationLog)
    limiter: RateLimiter = field(default_factory=NoRateLimiter)
    tally: Tally = field(default_factory=Tally)
    tracer: RequestTracer | None = None
    next_ending: Callable[[], str] = field(default_factory=number_source)
    """Gives the ending that the ids of a request and of its record share."""
    clock: Callable[[], float] = time.time
    """Unix seconds."""
    is_kept: bool = True
    """Else no request has an account or is counted, by which one sees what that costs."""

    def open_account(
        self, entry: Entry, route: Route, passage: Passage, *, ending: str
    ) -> Account | None:
        """Begin the account of a request that passed; raises LimitError where none is left."""
        if not self.is_kept:
            return None
        reservation = None
        if not self.limiter.is_unlimited(entry.caller):
            reservation = self._reserve(entry, _demand(route, passage))
        return Account(self, entry, route, passage, reservation, ending)

    def reserve_look(self, entry: Entry, route: Route) -> Reservation | None:
        """For a request that asks no model; raises LimitError where none is left."""
        if route.endpoint is None or self.limiter.is_unlimited(entry.caller):
            return None
        return self._reserve(entry, Demand(model="", endpoint=route.endpoint, tokens=0))

    def _reserve(self, entry: Entry, demand: Demand) -> Reservation | None:
        try:
            return self.limiter.reserve(entry.caller, demand)
        except LimitError as error:
            error.standing = self.limiter.standing(entry.caller, demand)
            raise

    def refused(self, error: BaseException) -> None:
        """Count what was refused at the door."""
        if isinstance(error, LimitError):
            self.tally.rate_limited(
                error.limit if isinstance(error, RateLimited | QuotaExceeded) else "other"
            )
        elif isinstance(error, AccessError):
            self.tally.auth_failed(_CODES.get(type(error).__name__, "other"))


_CODES: Mapping[str, str] = {
    "InvalidApiKey": "invalid_api_key",
    "KeyDisabled": "key_disabled",
    "KeyExpired": "key_expired",
    "OutOfScope": "out_of_scope",
}


def _demand(route: Route, passage: Passage) -> Demand:
    model = passage.model
    prompt, answer = (passage.prompt_bytes or 0) // BYTES_PER_TOKEN, passage.answer_tokens
    price = model.input_cost_per_1k * prompt + model.output_cost_per_1k * answer
    return Demand(
        model=model.name,
        endpoint=route.endpoint or Endpoint.INFERENCE,
        tokens=prompt + answer,
        cost=price / 1000,
    )


class Account:
    """The account of one request. Stamps are times of the event loop's clock."""

    __slots__ = (
        "_books",
        "_created",
        "_ending",
        "_entry",
        "_first_byte",
        "_is_event_stream",
        "_passage",
        "_pieces",
        "_reservation",
        "_route",
        "reader",
    )

    def __init__(
        self,
        books: Books,
        entry: Entry,
        route: Route,
        passage: Passage,
        reservation: Reservation | None,
        ending: str,
    ) -> None:
        self._books = books
        self._entry = entry
        self._route = route
        self._passage = passage
        self._reservation = reservation
        self._ending = ending
        self._created = books.clock()
        self._first_byte: float | None = None
        self._is_event_stream: bool | None = None  # the answer, where it says what it took
        self._pieces: list[bytes] | None = None  # that came first; most answers come at once
        self.reader: UsageReader | None = None
        """Of the answer, from when more came than its first pieces; may be fed by others."""

    def header_lines(self) -> bytes:
        """What the answer's head says of the account."""
        lines = f"x-gglib-generation-id: gen-{self._ending}\r\n".encode()
        if self._reservation is None:
            return lines
        standing = self._reservation.standing
        return lines if standing is None else lines + standing_lines(standing)

    def answer_began(self, *, is_stream: bool) -> None:
        """The answer is no error, and its body says what it took."""
        self._is_event_stream = is_stream

    def answer_received(self, pieces: list[bytes], now: float) -> None:
        """Pieces of the answer's body have come."""
        if self.reader is not None:
            self.reader.feed(pieces)
        elif self._first_byte is None:
            self._first_byte = now
            self._pieces = pieces
        elif self._is_event_stream is not None:
            self.reader = self._begin_reading(self._is_event_stream)
            self.reader.feed(pieces)

    def _begin_reading(self, is_stream: bool) -> UsageReader:
        reader = UsageReader(is_stream=is_stream)
        reader.feed(self._pieces or [])
        self._pieces = None
        return reader

    def _used(self, *, is_whole: bool) -> Usage:
        if self.reader is not None:
            return self.reader.usage(is_whole=is_whole, answers=self._passage.answers)
        if self._is_event_stream is None:
            return _NOTHING_USED
        return usage_of(
            self._pieces or [],
            is_stream=self._is_event_stream,
            is_whole=is_whole,
            answers=self._passage.answers,
        )

    def _prompt_at_least(self, told: int) -> int:
        """Whatever became of the answer, the prompt was read; of many, one is told of."""
        if self._passage.prompts == 1 and told:
            return told
        return max(told, (self._passage.prompt_bytes or 0) // BYTES_PER_TOKEN)

    def close(
        self,
        lease: Lease | None,
        *,
        status: int,
        error: str | None,
        started: float,
        leased: float,
        now: float,
        is_sent: bool,
        is_whole: bool,
    ) -> Generation:
        """The request has ended: settle its limits and leave its record, which is returned.

        One that `is_sent` has reached an engine. If its client has left, the engine has read the
        prompt all the same, as far as anybody knows.
        """
        books, passage, key = self._books, self._passage, self._entry.caller.key
        model = passage.model
        usage, first = self._used(is_whole=is_whole), self._first_byte
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        is_read = self._is_event_stream is not None or (is_sent and status == CLIENT_LEFT)
        is_estimated = usage.is_estimated and is_read and passage.prompt_bytes is not None
        if is_estimated:
            prompt = self._prompt_at_least(prompt)
        prompt_cost = completion_cost = 0.0
        if model.input_cost_per_1k or model.output_cost_per_1k:
            prompt_cost = model.input_cost_per_1k * prompt / 1000
            completion_cost = model.output_cost_per_1k * completion / 1000
        if self._reservation is not None:
            self._reservation.settle(tokens=prompt + completion, cost=prompt_cost + completion_cost)
        target = health = swap_id = None
        load_seconds = 0.0
        if lease is None:
            leased = now
        else:
            target, health = lease.target.launch_id, _health(lease)
            swap_id, load_seconds = lease.swap_id, lease.load_seconds
        generation = _generation(  # in the order of its fields
            (
                "gen-" + self._ending,
                int(self._created * 1000),
                self._entry.request_id or "req-" + self._ending,
                usage.upstream_id,
                None if key is None else key.id,
                None if key is None else key.mask,
                model.name,
                model.id,
                LLAMA_SERVER if model.engine is None else model.engine,
                target,
                health,
                self._route.path,
                passage.is_stream,
                status,
                error,
                usage.finish_reason,
                (leased - started) * 1000,
                load_seconds * 1000,
                None if first is None else (first - started) * 1000,
                (now - started) * 1000,
                prompt,
                usage.cached_tokens,
                completion,
                is_estimated,
                usage.tokens_per_second or _speed(completion, first, now),
                prompt_cost,
                completion_cost,
                model.currency,
                swap_id,
            )
        )
        books.log.record(generation)
        books.tally.generation_ended(generation)
        return generation


def _health(lease: Lease) -> str:
    if not lease.is_live:
        return "dead"
    return "failing" if lease.activity.errors_in_a_row else "healthy"


def _speed(tokens: int, first: float | None, now: float) -> float | None:
    """Tokens per second between the answer's first byte and its last, where that says anything."""
    if first is None or tokens < 2 or now - first < _LEAST_STREAM_SECONDS:
        return None
    return tokens / (now - first)


def standing_lines(standing: Standing) -> bytes:
    """The headers that OpenAI's clients read, for the limits that there are."""
    text = ""
    if standing.limit_requests is not None:
        text += (
            f"x-ratelimit-limit-requests: {standing.limit_requests}\r\n"
            f"x-ratelimit-remaining-requests: {standing.remaining_requests}\r\n"
            f"x-ratelimit-reset-requests: {_duration(standing.reset_requests_seconds)}\r\n"
        )
    if standing.limit_tokens is not None:
        text += (
            f"x-ratelimit-limit-tokens: {standing.limit_tokens}\r\n"
            f"x-ratelimit-remaining-tokens: {standing.remaining_tokens}\r\n"
            f"x-ratelimit-reset-tokens: {_duration(standing.reset_tokens_seconds)}\r\n"
        )
    return text.encode()


def _duration(seconds: float | None) -> str:
    """As OpenAI writes it: `20ms`, `1.5s`, `6m0s`."""
    milliseconds = round((seconds or 0.0) * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(round(milliseconds / 1000), 60)
    return f"{minutes}m{rest}s"
