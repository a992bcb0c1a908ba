"""What every `GenerationLog` and `GenerationHistory` promise, in memory and in a database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from anyio import to_thread

from gglib_core.errors import InvalidRequest
from gglib_core.generations import (
    FOLLOWED_RECORDS,
    Generation,
    GenerationFilter,
    GenerationFollower,
    GenerationHistory,
    GenerationLog,
    InMemoryGenerationLog,
)
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.generations.history import SqlGenerationHistory
from gglib_runtime.generations.writer import open_generation_log
from tests.generations import generation

pytest_plugins = ["tests.databases"]

EVERYTHING = GenerationFilter()


class Subject(NamedTuple):
    """The two ports, on the same records."""

    log: GenerationLog
    history: GenerationHistory

    async def all_ids(self, wanted: GenerationFilter = EVERYTHING, limit: int = 100) -> list[str]:
        page = await self.history.page(wanted, limit=limit)
        return [each.id for each in page.generations]


@asynccontextmanager
async def in_memory_subject() -> AsyncGenerator[Subject]:
    log = InMemoryGenerationLog()
    yield Subject(log, log)


@asynccontextmanager
async def sql_subject(url: str, unwritten: Path) -> AsyncGenerator[Subject]:
    with open_database(url) as engine:
        upgrade(engine)
        async with open_generation_log(engine, unwritten=unwritten) as log:
            yield Subject(log, SqlGenerationHistory(engine, log))


Opening = Callable[[], AbstractAsyncContextManager[Subject]]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_subject(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    if request.param == "memory":
        return in_memory_subject
    url = request.getfixturevalue(f"{request.param}_url")
    return lambda: sql_subject(url, tmp_path / "unwritten.jsonl")


FULL = Generation(
    id="gen-full",
    created_ms=1_763_740_800_123,
    request_id="req-9",
    upstream_id="chatcmpl-Zoë",
    key_id=3,
    api_key_id="gg-abc***xyz",
    model="org/tiny",
    model_id=7,
    provider="openrouter",
    target="launch-2",
    provider_health="failing",
    endpoint="/v1/messages",
    is_stream=True,
    status=502,
    error="upstream_lost",
    finish_reason="length",
    queue_ms=1.5,
    load_ms=0.25,
    first_token_ms=12.5,
    total_ms=99.75,
    prompt_tokens=2**40,
    cached_tokens=20,
    completion_tokens=75,
    is_estimated=True,
    tokens_per_second=55.5,
    prompt_cost=0.0015,
    completion_cost=0.00225,
    currency="EUR",
    swap_id="swap-1",
)


async def test_a_record_comes_back_as_it_was(open_subject: Opening) -> None:
    async with open_subject() as subject:
        subject.log.record(FULL)
        page = await subject.history.page(EVERYTHING, limit=1)
        assert list(page.generations) == [FULL]
        assert [type(value) for value in page.generations[0]] == [type(value) for value in FULL]


async def test_what_is_not_known_may_be_left_out(open_subject: Opening) -> None:
    bare = FULL._replace(
        upstream_id=None,
        key_id=None,
        api_key_id=None,
        model_id=None,
        target=None,
        provider_health=None,
        error=None,
        finish_reason=None,
        first_token_ms=None,
        tokens_per_second=None,
        swap_id=None,
    )
    async with open_subject() as subject:
        subject.log.record(bare)
        assert list((await subject.history.page(EVERYTHING, limit=1)).generations) == [bare]


@pytest.mark.parametrize("generation_id", ["gen-full", "chatcmpl-Zoë"])
async def test_a_record_is_found_at_once_by_either_id(
    open_subject: Opening, generation_id: str
) -> None:
    async with open_subject() as subject:
        subject.log.record(FULL)
        assert await subject.history.find(generation_id) == FULL


@pytest.mark.parametrize("generation_id", ["gen-full", "chatcmpl-Zoë"])
async def test_a_record_is_found_later_by_either_id(
    open_subject: Opening, generation_id: str
) -> None:
    async with open_subject() as subject:
        subject.log.record(FULL)
        await subject.all_ids()
        assert await subject.history.find(generation_id) == FULL


async def test_a_record_is_found_among_thousands(open_subject: Opening) -> None:
    async with open_subject() as subject:
        for number in range(3000):
            subject.log.record(generation(id=f"gen-{number}", upstream_id=f"up-{number}"))
        await subject.all_ids()
        for number in (0, 1023, 1024, 2048, 2999):
            for generation_id in (f"gen-{number}", f"up-{number}"):
                found = await subject.history.find(generation_id)
                assert found is not None
                assert found.id == f"gen-{number}"


@pytest.mark.parametrize("generation_id", ["", "gen-2", "GEN-1", "a\0b", "\udcff", "%", "None"])
async def test_what_no_record_is_called_is_not_found(
    open_subject: Opening, generation_id: str
) -> None:
    async with open_subject() as subject:
        assert await subject.history.find(generation_id) is None
        subject.log.record(generation(id="gen-1", upstream_id=None))
        assert await subject.history.find(generation_id) is None
        await subject.all_ids()
        assert await subject.history.find(generation_id) is None


async def test_of_several_with_an_upstreams_id_the_newest_is_found(open_subject: Opening) -> None:
    async with open_subject() as subject:
        for number in range(3):
            subject.log.record(generation(id=f"gen-{number}", upstream_id="same", key_id=number))
        newest = await subject.history.find("same")
        assert newest is not None
        assert newest.id == "gen-2"
        await subject.all_ids()
        assert await subject.history.find("same") == newest


@pytest.mark.parametrize("is_written", [False, True])
async def test_only_records_of_the_key_are_found(open_subject: Opening, is_written: bool) -> None:
    async with open_subject() as subject:
        for number in range(3):
            subject.log.record(generation(id=f"gen-{number}", upstream_id="same", key_id=number))
        if is_written:
            await subject.all_ids()
        found = await subject.history.find("same", key_id=1)
        assert found is not None
        assert found.id == "gen-1"
        assert await subject.history.find("gen-1", key_id=1) == found
        assert await subject.history.find("gen-1", key_id=2) is None
        assert await subject.history.find("same", key_id=9) is None


async def test_a_page_shows_what_was_just_recorded_newest_first(open_subject: Opening) -> None:
    async with open_subject() as subject:
        assert await subject.all_ids() == []
        for number in (2, 3, 1):
            subject.log.record(generation(id=f"gen-{number}", created_ms=number))
        assert await subject.all_ids() == ["gen-3", "gen-2", "gen-1"]
        subject.log.record(generation(id="gen-4", created_ms=4))
        assert await subject.all_ids() == ["gen-4", "gen-3", "gen-2", "gen-1"]


async def test_pages_follow_one_another_without_gap_or_overlap(open_subject: Opening) -> None:
    async with open_subject() as subject:
        for number in range(10):  # three requests in each millisecond
            subject.log.record(generation(id=f"gen-{number}", created_ms=100 + number // 3))
        seen: list[str] = []
        cursor, pages = None, 0
        while cursor is not None or not pages:
            page = await subject.history.page(EVERYTHING, limit=4, cursor=cursor)
            seen += [each.id for each in page.generations]
            cursor, pages = page.next_cursor, pages + 1
            subject.log.record(generation(id=f"gen-late-{pages}", created_ms=999))
        assert seen == [f"gen-{number}" for number in reversed(range(10))]
        assert pages == 3


async def test_a_page_that_is_just_full_is_the_last(open_subject: Opening) -> None:
    async with open_subject() as subject:
        for number in range(4):
            subject.log.record(generation(id=f"gen-{number}"))
        page = await subject.history.page(EVERYTHING, limit=4)
        assert (len(page.generations), page.next_cursor) == (4, None)


@pytest.mark.parametrize("cursor", ["", "x", "1-", "-1", "1-1-1", "1-1\n", "g-1", "f" * 40 + "-1"])
async def test_a_cursor_that_is_none_is_refused(open_subject: Opening, cursor: str) -> None:
    async with open_subject() as subject:
        with pytest.raises(InvalidRequest) as raised:
            await subject.history.page(EVERYTHING, limit=1, cursor=cursor)
        assert raised.value.param == "cursor"


FILTERED = (
    generation(id="a", created_ms=10, model="one", key_id=1, api_key_id="gg-1"),
    generation(id="b", created_ms=20, model="two", key_id=2, endpoint="/v1/messages"),
    generation(id="c", created_ms=30, model="two", status=503, error="queue_full"),
    generation(id="d", created_ms=40, model="two", status=499, key_id=1),
    generation(id="e", created_ms=50, model="one", status=200, error="upstream_lost"),
)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (GenerationFilter(), "edcba"),
        (GenerationFilter(model="one"), "ea"),
        (GenerationFilter(model="ONE"), ""),
        (GenerationFilter(key_id=1), "da"),
        (GenerationFilter(api_key_id="gg-1"), "a"),
        (GenerationFilter(endpoint="/v1/messages"), "b"),
        (GenerationFilter(status=503), "c"),
        (GenerationFilter(has_failed=True), "edc"),
        (GenerationFilter(has_failed=False), "ba"),
        (GenerationFilter(since_ms=30), "edc"),
        (GenerationFilter(until_ms=30), "ba"),
        (GenerationFilter(since_ms=20, until_ms=40), "cb"),
        (GenerationFilter(model="two", has_failed=True, key_id=1), "d"),
        (GenerationFilter(model="one", since_ms=11, until_ms=50), ""),
        (GenerationFilter(among_models=frozenset({"one"})), "ea"),
        (GenerationFilter(among_models=frozenset({"one", "two", "none"})), "edcba"),
        (GenerationFilter(among_models=frozenset()), ""),
        (GenerationFilter(among_models=frozenset({"one"}), model="two"), ""),
    ],
)
async def test_a_filter_says_which_records_are_shown_and_followed(
    open_subject: Opening, wanted: GenerationFilter, ids: str
) -> None:
    async with open_subject() as subject, closing_follower(subject, wanted) as followed:
        for each in FILTERED:
            subject.log.record(each)
        assert await subject.all_ids(wanted) == list(ids)
        assert [(await anext(followed)).id for _ in ids] == list(reversed(ids))


@asynccontextmanager
async def closing_follower(
    subject: Subject, wanted: GenerationFilter = EVERYTHING
) -> AsyncGenerator[GenerationFollower]:
    async with aclosing(subject.history.follow(wanted)) as follower, asyncio.timeout(10):
        yield follower


async def test_a_follower_gets_what_comes_after_it_was_made(open_subject: Opening) -> None:
    async with open_subject() as subject:
        subject.log.record(generation(id="before"))
        async with closing_follower(subject) as first, closing_follower(subject) as second:
            subject.log.record(generation(id="after"))
            assert (await anext(first)).id == "after"
            assert (await anext(second)).id == "after"


async def test_a_follower_waits_for_the_next_record(open_subject: Opening) -> None:
    async with open_subject() as subject, closing_follower(subject) as followed:
        waiting = asyncio.ensure_future(anext(followed))
        await asyncio.sleep(0)
        assert not waiting.done()
        subject.log.record(generation(id="next"))
        assert (await waiting).id == "next"


async def test_a_follower_that_is_slow_misses_the_oldest_records(open_subject: Opening) -> None:
    async with open_subject() as subject, closing_follower(subject) as followed:
        for number in range(FOLLOWED_RECORDS + 5):
            subject.log.record(generation(id=f"gen-{number}"))
        assert (await anext(followed)).id == "gen-5"


async def test_a_closed_follower_ends(open_subject: Opening) -> None:
    async with open_subject() as subject:
        async with closing_follower(subject) as followed:
            waiting = asyncio.ensure_future(anext(followed, None))
            await asyncio.sleep(0)
        assert await waiting is None
        subject.log.record(generation(id="unheard"))
        assert await anext(followed, None) is None


async def test_an_empty_log_has_room(open_subject: Opening) -> None:
    async with open_subject() as subject:
        assert not subject.log.is_full
        await subject.log.wait_for_room()


async def test_readers_and_the_writer_do_not_disturb_one_another(open_subject: Opening) -> None:
    async with open_subject() as subject, asyncio.timeout(30), asyncio.TaskGroup() as tasks:

        async def ask() -> None:
            for number in range(0, 1000, 100):
                subject.log.record(generation(id=f"own-{id(asyncio.current_task())}-{number}"))
                found = await subject.history.find(f"own-{id(asyncio.current_task())}-{number}")
                assert found is not None
                page = await subject.history.page(EVERYTHING, limit=1)
                assert len(page.generations) == 1

        for _ in range(10):
            tasks.create_task(ask())


async def test_no_thread_is_left_behind(open_subject: Opening) -> None:
    async with open_subject() as subject:
        subject.log.record(FULL)
    names = await to_thread.run_sync(lambda: [thread.name for thread in threading.enumerate()])
    assert "generations" not in names
