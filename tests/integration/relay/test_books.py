"""The books: every request that is admitted leaves one record, however it ends."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from gglib_core.errors import RateLimited, RequestCancelled
from gglib_core.generations import Generation, InMemoryGenerationLog
from gglib_core.keys import Allowance, Endpoint
from gglib_core.rate_limiting import LimitRule
from gglib_core.rate_limits import InMemoryRateLimiter
from gglib_proxy.books import Books
from gglib_proxy.limits import Limits
from gglib_proxy.traffic import Traffic
from tests.catalog_entries import model
from tests.planes import BODY, CHAT, EMBEDDER, STREAM_BODY, Relay, relaying
from tests.rate_limits import FakeLimiter
from tests.upstreams import (
    Peer,
    answering,
    event,
    open_unix_upstream,
    response,
    silent,
    stream,
)

PATH = "/v1/chat/completions"
TIMINGS = {"cache_n": 3, "prompt_n": 7, "predicted_n": 8, "predicted_per_second": 250.5}
ANSWER = {
    "choices": [{"finish_reason": "stop", "message": {"content": "hello"}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 8},
    "id": "chatcmpl-abc",
    "timings": TIMINGS,
}
DELTA = event({"choices": [{"delta": {"content": "x"}}], "id": "chatcmpl-abc"})
END = event({"choices": [{"finish_reason": "length"}], "id": "chatcmpl-abc", "timings": TIMINGS})
DONE = event("[DONE]")


def books(log: InMemoryGenerationLog, **parts: Any) -> Books:
    return Books(log=log, clock=lambda: 1_000.5, **parts)


async def records_of(relay: Relay, log: InMemoryGenerationLog, count: int = 1) -> list[Generation]:
    await relay.running.until(lambda: len(log.generations) >= count)
    await relay.running.idle()
    assert len(log.generations) == count
    return log.generations


async def test_an_answer_leaves_a_record_that_says_everything() -> None:
    log = InMemoryGenerationLog()
    priced = replace(CHAT, input_cost_per_1k=0.5, output_cost_per_1k=2.0, currency="EUR")
    script = answering(response(json.dumps(ANSWER).encode()))
    async with relaying(script, models=[priced], books=books(log)) as relay:
        answer = await relay.client.ask("POST", PATH, BODY, headers={"X-Request-Id": "mine"})
        [record] = await records_of(relay, log)
        lease = relay.running.ledger.leases[-1]
    assert record.id == answer.headers["x-gglib-generation-id"]
    assert (record.request_id, record.upstream_id) == ("mine", "chatcmpl-abc")
    assert (record.created_ms, record.endpoint, record.is_stream) == (1_000_500, PATH, False)
    assert (record.model, record.model_id, record.provider) == ("chat", 1, "llama-server")
    assert (record.target, record.provider_health) == (lease.target.launch_id, "healthy")
    assert (record.key_id, record.api_key_id) == (None, None)
    assert (record.status, record.error, record.finish_reason) == (200, None, "stop")
    assert (record.prompt_tokens, record.cached_tokens, record.completion_tokens) == (10, 3, 8)
    assert (record.is_estimated, record.tokens_per_second) == (False, 250.5)
    assert record.prompt_cost == pytest.approx(0.005)
    assert record.completion_cost == pytest.approx(0.016)
    assert record.currency == "EUR"
    assert record.first_token_ms is not None
    assert 0 <= record.load_ms <= record.queue_ms <= record.first_token_ms <= record.total_ms
    assert record.swap_id == lease.swap_id is not None


async def test_the_second_answer_of_a_loaded_model_waited_for_no_swap() -> None:
    log = InMemoryGenerationLog()
    async with relaying(books=books(log)) as relay:
        for _ in range(3):
            await relay.client.ask("POST", PATH, BODY)
        records = await records_of(relay, log, 3)
    assert [record.swap_id is None for record in records] == [False, True, True]
    assert len({record.id for record in records}) == 3


async def test_where_no_books_are_kept_nothing_is_limited_recorded_or_counted() -> None:
    log, limiter = InMemoryGenerationLog(), InMemoryRateLimiter(Allowance(requests_per_minute=1))
    kept = books(log, limiter=limiter, is_kept=False)
    async with relaying(books=kept) as relay:
        answers = [await relay.client.ask("POST", PATH, BODY) for _ in range(3)]
        await relay.running.idle()
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert "x-gglib-generation-id" not in answers[0].headers
    assert (log.generations, kept.tally.requests, len(limiter)) == ([], {}, 0)


async def test_a_stream_is_recorded_by_its_last_event() -> None:
    log = InMemoryGenerationLog()
    async with relaying(answering(stream(DELTA, DELTA, END, DONE)), books=books(log)) as relay:
        answer = await relay.client.ask("POST", PATH, STREAM_BODY)
        [record] = await records_of(relay, log)
    assert record.id == answer.headers["x-gglib-generation-id"]
    assert (record.is_stream, record.finish_reason, record.completion_tokens) == (True, "length", 8)


@pytest.mark.parametrize(
    ("script", "status", "error", "health"),
    [
        (answering(response(status="500 No")), 500, "upstream_error", "failing"),
        (answering(response(status="400 No")), 400, "upstream_error", "healthy"),
        (answering(b"nonsense\r\n\r\n"), 502, "upstream_protocol_error", "healthy"),
    ],
)
async def test_a_failure_is_recorded_with_its_status_and_class(
    script: Any, status: int, error: str, health: str
) -> None:
    log = InMemoryGenerationLog()
    async with relaying(script, books=books(log)) as relay:
        answer = await relay.client.ask("POST", PATH, BODY)
        [record] = await records_of(relay, log)
        assert answer.headers["x-gglib-generation-id"] == record.id
    assert (record.status, record.error, record.provider_health) == (status, error, health)
    assert record.completion_tokens == 0


async def test_an_error_inside_a_stream_is_recorded_as_what_it_was() -> None:
    log = InMemoryGenerationLog()

    async def dies(peer: Peer) -> None:
        await peer.request()
        peer.send(stream(DELTA)[: -len(b"0\r\n\r\n")])
        peer.close()

    async with relaying(dies, books=books(log)) as relay:
        relay.client.request("POST", PATH, STREAM_BODY)
        await relay.client.rest_of_answer()
        [record] = await records_of(relay, log)
    assert (record.status, record.error) == (502, "upstream_lost")
    assert (record.completion_tokens, record.is_estimated) == (1, True)


async def test_a_client_that_leaves_is_recorded_as_one() -> None:
    log = InMemoryGenerationLog()
    async with relaying(silent(), books=books(log)) as relay:
        async with relay.running.open() as client:
            client.request("POST", PATH, BODY)
            await relay.running.until(lambda: len(relay.upstream.requests) == 1)
        [record] = await records_of(relay, log)
    assert (record.status, record.error, record.is_estimated) == (499, "client_left", True)


async def test_of_several_prompts_all_are_paid_for() -> None:
    log, limiter = InMemoryGenerationLog(), FakeLimiter()
    script = answering(response(json.dumps(ANSWER).encode()))
    body = json.dumps({"model": "chat", "prompt": ["x" * 99] * 5}).encode()
    async with relaying(script, books=books(log, limiter=limiter)) as relay:
        await relay.client.ask("POST", "/v1/completions", body)
        [record] = await records_of(relay, log)
    assert (record.prompt_tokens, record.completion_tokens) == (len(body) // 4, 40)
    assert record.is_estimated
    assert limiter.settled == [(len(body) // 4 + 40, 0.0)]


async def test_a_client_that_leaves_a_stream_pays_for_the_prompt_that_was_read() -> None:
    log, limiter = InMemoryGenerationLog(), FakeLimiter()
    prompt = json.dumps({**STREAM_BODY, "pad": "x" * 4000}).encode()

    async def begins(peer: Peer) -> None:
        await peer.request()
        peer.send(stream(DELTA)[: -len(b"0\r\n\r\n")])
        await peer.gone()

    async with relaying(begins, books=books(log, limiter=limiter)) as relay:
        async with relay.running.open() as client:
            client.request("POST", PATH, prompt)
            await client.head()
            await client.chunk()
        [record] = await records_of(relay, log)
    assert (record.status, record.is_estimated) == (499, True)
    assert (record.prompt_tokens, record.completion_tokens) == (len(prompt) // 4, 1)
    assert limiter.settled == [(len(prompt) // 4 + 1, 0.0)]


async def test_a_request_that_somebody_cancels_is_told_and_recorded() -> None:
    log = InMemoryGenerationLog()
    async with relaying(silent(), books=books(log)) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.running.until(lambda: len(relay.upstream.requests) == 1)
        [exchange] = relay.plane.exchanges
        assert exchange.generation_id is not None
        exchange.cancel(RequestCancelled())
        answer = await relay.client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (409, "request_cancelled")
        [record] = await records_of(relay, log)
    assert (record.status, record.error) == (409, "request_cancelled")


@pytest.mark.parametrize(
    ("path", "body"),
    [(PATH, {"model": "none"}), (PATH, b"nonsense"), ("/v1/embeddings", {"model": "chat"})],
)
async def test_what_is_not_admitted_leaves_no_record(path: str, body: Any) -> None:
    log = InMemoryGenerationLog()
    async with relaying(books=books(log)) as relay:
        answer = await relay.client.ask("POST", path, body)
        assert answer.status in (400, 404)
        assert "x-gglib-generation-id" not in answer.headers
        assert log.generations == []
        assert relay.plane.books.tally.requests[("POST", path, answer.status)].count == 1


async def test_a_look_at_an_engine_is_no_generation() -> None:
    log = InMemoryGenerationLog()
    async with relaying(books=books(log)) as relay:
        await relay.client.ask("POST", PATH, BODY)
        assert (await relay.client.ask("GET", "/slots")).status == 200
        await records_of(relay, log, 1)


async def test_limits_are_reserved_and_settled_from_what_was_used() -> None:
    limiter = FakeLimiter()
    priced = replace(CHAT, input_cost_per_1k=0.5, output_cost_per_1k=2.0)
    parts = books(InMemoryGenerationLog(), limiter=limiter)
    script = answering(response(json.dumps(ANSWER).encode()))
    async with relaying(script, models=[priced], books=parts) as relay:
        body = json.dumps({**BODY, "max_tokens": 50, "pad": "x" * 350}).encode()
        answer = await relay.client.ask("POST", PATH, body)
        await relay.running.idle()
    prompt = len(body) // 4
    [demand] = limiter.demands
    assert (demand.model, demand.tokens) == ("chat", prompt + 50)
    assert demand.cost == pytest.approx((prompt * 0.5 + 50 * 2.0) / 1000)
    assert limiter.settled == [(18, pytest.approx(0.021))]
    told = {name: value for name, value in answer.headers.items() if "ratelimit" in name}
    assert told == {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "12.5s",
        "x-ratelimit-limit-tokens": "900",
        "x-ratelimit-remaining-tokens": "800",
        "x-ratelimit-reset-tokens": "1m15s",
    }


@pytest.mark.parametrize(
    ("path", "body", "tokens"),
    [
        (PATH, {"model": "chat", "max_completion_tokens": 7}, 7),
        (PATH, {"model": "chat", "max_tokens": "many"}, 1024),
        (PATH, {"model": "chat", "n_predict": -1}, 1024),
        (PATH, {"model": "chat", "max_tokens": 1, "n_predict": 500}, 500),
        (PATH, {"model": "chat", "max_tokens": 9, "n": 3}, 27),
        (PATH, {"model": "chat", "max_tokens": 9, "n": -3}, 9),
        (PATH, {"model": "chat", "n": 2}, 2048),
        ("/v1/completions", {"model": "chat", "prompt": ["a", "b"], "max_tokens": 7, "n": 2}, 28),
        ("/upstream/chat/v1/chat/completions", {"max_tokens": 7}, 7),
        ("/upstream/chat/completion", {"prompt": ["a", "b", "c"], "n_predict": 7}, 21),
        ("/v1/embeddings", {"model": "embedder", "input": "x"}, 0),
    ],
)
async def test_the_longest_answer_is_reserved(path: str, body: Any, tokens: int) -> None:
    limiter = FakeLimiter()
    async with relaying(books=books(InMemoryGenerationLog(), limiter=limiter)) as relay:
        sent = json.dumps(body).encode()
        assert (await relay.client.ask("POST", path, sent)).status == 200
    assert [demand.tokens - len(sent) // 4 for demand in limiter.demands] == [tokens]


async def test_whoever_has_used_up_his_limit_is_told_when_to_come_back() -> None:
    limiter = FakeLimiter(RateLimited("requests_per_minute", 5, 2.2))
    parts = books(InMemoryGenerationLog(), limiter=limiter)
    async with relaying(books=parts) as relay:
        answer = await relay.client.ask("POST", PATH, BODY)
        assert (answer.status, answer.json["error"]["type"]) == (429, "rate_limit_error")
        assert answer.headers["retry-after"] == "3"
        assert parts.tally.limits == {"requests_per_minute": 1}
        assert relay.running.ledger.leases == []


@pytest.mark.parametrize(
    ("allowance", "refused"),
    [
        (Allowance(requests_per_minute=10), 429),
        (Allowance(concurrent_requests=10), 429),
        (Allowance(budget_per_day=10 * 0.05), 403),
    ],
)
async def test_of_fifty_clients_at_once_exactly_ten_come_through(
    allowance: Allowance, refused: int
) -> None:
    together, ready = asyncio.Event(), asyncio.Barrier(50)
    priced = replace(CHAT, output_cost_per_1k=1.0)

    async def script(peer: Peer) -> None:
        await peer.request()
        await together.wait()
        peer.send(response())

    parts = books(InMemoryGenerationLog(), limiter=InMemoryRateLimiter(allowance))
    async with relaying(script, models=[priced], books=parts) as relay:

        async def ask() -> int:
            async with relay.running.open() as client:
                await ready.wait()
                client.request("POST", PATH, {**BODY, "max_tokens": 50})
                status = (await client.answer()).status
                if status == refused and parts.tally.limits == {name: 40}:
                    together.set()
                return status

        [name] = [each for each, limit in asdict(allowance).items() if limit]
        statuses = await asyncio.gather(*(ask() for _ in range(50)))
    assert sorted(statuses) == sorted([200] * 10 + [refused] * 40)


class FullLog(InMemoryGenerationLog):
    """Takes nothing until it is emptied."""

    def __init__(self) -> None:
        super().__init__()
        self.room = asyncio.Event()
        self.waiting = 0

    @property
    def is_full(self) -> bool:
        return not self.room.is_set()

    async def wait_for_room(self) -> None:
        self.waiting += not self.room.is_set()
        await self.room.wait()


async def test_nothing_is_admitted_that_could_not_be_recorded() -> None:
    log = FullLog()
    async with relaying(books=books(log)) as relay:
        relay.client.request("POST", PATH, BODY)
        await relay.running.until(lambda: log.waiting == 1)
        assert relay.upstream.requests == []
        log.room.set()
        assert (await relay.client.answer()).status == 200
        await records_of(relay, log)


async def test_a_thousand_requests_with_random_ends_leave_a_thousand_records() -> None:
    """Clients leave at any moment, models swap, engines fail: one record each."""
    log = InMemoryGenerationLog()
    chance = random.Random(7)
    other = model(3, "other", capabilities=CHAT.capabilities)

    async def moody(peer: Peer) -> None:
        while True:
            await peer.request()
            mood = chance.random()
            await asyncio.sleep(chance.random() * 0.004)
            if mood < 0.1:
                peer.close()
                return
            peer.send(stream(DELTA, DELTA, END, DONE) if mood < 0.5 else response())

    async def visit(relay: Relay, number: int) -> None:
        async with relay.running.open() as client:
            name = chance.choice(["chat", "chat", "other", "embedder"])
            client.request("POST", PATH, {"model": name}, headers={"X-Request-Id": f"n-{number}"})
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.01)
            else:
                await client.rest_of_answer()

    async with relaying(
        moody, models=[CHAT, EMBEDDER, other], max_resident=1, books=books(log), limits=Limits()
    ) as relay:
        for start in range(0, 1000, 50):
            await asyncio.gather(*(visit(relay, start + step) for step in range(50)))
        await relay.running.idle()
        admitted = list(log.generations)
        counted = relay.plane.books.tally.requests
        refused = sum(times.count for (_, _, status), times in counted.items() if status == 400)
        ended = sum(times.count for times in counted.values())
    assert len({each.request_id for each in admitted}) == len(admitted)
    assert len(admitted) == ended - refused
    assert {each.status for each in admitted} >= {200, 499}
    assert Counter(each.id for each in admitted).most_common(1)[0][1] == 1


# What is under way


async def test_requests_under_way_are_shown_and_cancelled_by_either_id() -> None:
    async with relaying(silent(), books=books(InMemoryGenerationLog())) as relay:
        traffic = Traffic(relay.plane)
        for choice in ("id", "generation_id"):
            relay.client.request("POST", PATH, STREAM_BODY, headers={"X-Request-Id": "mine"})
            await relay.running.until(lambda: len(traffic.requests()) == 1)
            await relay.running.until(lambda: traffic.requests()[0].phase == "sent")
            [found] = traffic.requests()
            assert (found.id, found.path, found.model) == ("mine", PATH, "chat")
            assert (found.is_stream, found.key, found.address) == (True, None, "127.0.0.1")
            assert traffic.cancel("none") == 0
            assert traffic.cancel(getattr(found, choice)) == 1
            assert (await relay.client.answer()).status == 409
            await relay.running.idle()
            assert traffic.requests() == []


async def test_a_pause_refuses_what_is_new_and_lets_what_runs_go_on() -> None:
    released = asyncio.Event()

    async def waits(peer: Peer) -> None:
        while True:
            await peer.request()
            await released.wait()
            peer.send(response())

    async with relaying(waits) as relay, relay.running.open() as other:
        traffic = Traffic(relay.plane)
        relay.client.request("POST", PATH, BODY)
        await relay.running.until(lambda: len(relay.upstream.requests) == 1)
        traffic.pause()
        refused = await other.ask("POST", PATH, BODY)
        assert (refused.status, refused.json["error"]["code"]) == (503, "paused")
        assert (await other.ask("GET", "/health")).status == 200
        released.set()
        assert (await relay.client.answer()).status == 200
        traffic.resume()
        assert (await other.ask("POST", PATH, BODY)).status == 200


async def test_whoever_is_refused_is_told_what_is_left() -> None:
    limiter = FakeLimiter(RateLimited("tokens_per_minute", 900, 2.2))
    async with relaying(books=books(InMemoryGenerationLog(), limiter=limiter)) as relay:
        answer = await relay.client.ask("POST", PATH, BODY)
        assert answer.status == 429
        assert answer.headers["x-ratelimit-remaining-tokens"] == "800"


async def test_a_rule_about_lists_limits_looks_at_lists(tmp_path: Path) -> None:
    rule = LimitRule(allowance=Allowance(requests_per_minute=2), endpoint=Endpoint.MODELS)
    limiter = InMemoryRateLimiter(Allowance(requests_per_minute=1), [rule])
    control = str(tmp_path / "control")
    async with (
        open_unix_upstream(control, answering()),
        relaying(
            books=books(InMemoryGenerationLog(), limiter=limiter), control_path=control
        ) as relay,
    ):
        looks = [(await relay.client.ask("GET", "/v1/models")).status for _ in range(3)]
        assert looks == [200, 200, 429]
        assert (await relay.client.ask("GET", "/")).status == 200
        asked = [(await relay.client.ask("POST", PATH, BODY)).status for _ in range(2)]
        assert asked == [200, 429]
