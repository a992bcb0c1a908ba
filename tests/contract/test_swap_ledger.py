"""What every `SwapLedger` with its `SwapHistory` promises: the in-memory one and the SQL one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import fields, replace
from typing import Protocol

import pytest

from gglib_core.swaps import (
    MAX_PAGE,
    InMemorySwapLedger,
    Swap,
    SwapHistory,
    SwapLedger,
    SwapOutcome,
    SwapPage,
)
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.retention import Retention
from gglib_runtime.swaps.sql_ledger import open_sql_swap_ledger
from tests.swaps import FULL, a_swap, swap_id

pytest_plugins = ["tests.databases"]


class Ledger(SwapLedger, SwapHistory, Protocol):
    """Both ports."""


Opener = Callable[[], AbstractAsyncContextManager[Ledger]]


@pytest.fixture(params=["in_memory", "sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest) -> Opener:
    """Opens the ledger under test."""
    if request.param == "in_memory":
        return _in_memory
    url: str = request.getfixturevalue(
        "sqlite_url" if request.param == "sqlite" else "postgres_url"
    )

    @asynccontextmanager
    async def in_database() -> AsyncGenerator[Ledger]:
        with open_database(url) as engine:
            upgrade(engine)
            async with open_sql_swap_ledger(engine, retention=Retention(seconds=0)) as ledger:
                yield ledger

    return in_database


@asynccontextmanager
async def _in_memory() -> AsyncGenerator[Ledger]:
    yield InMemorySwapLedger()


def numbers(page: SwapPage) -> list[int]:
    return [int(swap.id.removeprefix("swap-"), 16) for swap in page.swaps]


async def test_nothing_is_there_at_first(opened: Opener) -> None:
    async with opened() as ledger:
        assert await ledger.page(limit=10) == SwapPage(swaps=[], next_cursor=None)
        assert await ledger.find(swap_id(1)) is None


async def test_a_swap_is_found_as_it_was_recorded(opened: Opener) -> None:
    assert all(getattr(FULL, each.name) not in (None, 0) for each in fields(Swap))
    async with opened() as ledger:
        bare = a_swap(8)
        ledger.record(FULL)
        ledger.record(bare)
        assert await ledger.find(FULL.id) == FULL
        assert list((await ledger.page(limit=10)).swaps) == [bare, FULL]
        assert await ledger.find(bare.id) == bare


async def test_a_swap_takes_the_place_of_what_was_recorded_under_its_id(opened: Opener) -> None:
    async with opened() as ledger:
        ledger.record(FULL)
        assert await ledger.find(FULL.id) == FULL
        later = replace(FULL, outcome=SwapOutcome.READY, failure=None, victim=None, ended=None)
        ledger.record(replace(FULL, served=17))
        ledger.record(later)
        assert list((await ledger.page(limit=10)).swaps) == [later]


async def test_swaps_come_in_pages_the_newest_first(opened: Opener) -> None:
    async with opened() as ledger:
        for number in (3, 1, 5, 2, 4):
            ledger.record(a_swap(number))
        first = await ledger.page(limit=2)
        second = await ledger.page(limit=2, before=first.next_cursor)
        third = await ledger.page(limit=2, before=second.next_cursor)
        assert [numbers(page) for page in (first, second, third)] == [[5, 4], [3, 2], [1]]
        assert third.next_cursor is None


async def test_a_page_that_is_just_full_is_the_last_one(opened: Opener) -> None:
    async with opened() as ledger:
        ledger.record(a_swap(1))
        ledger.record(a_swap(2))
        page = await ledger.page(limit=2)
        assert numbers(page) == [2, 1]
        assert page.next_cursor is None


async def test_swaps_that_are_recorded_later_do_not_move_the_pages(opened: Opener) -> None:
    async with opened() as ledger:
        for number in (1, 2, 3):
            ledger.record(a_swap(number))
        first = await ledger.page(limit=1)
        ledger.record(a_swap(4))
        assert numbers(await ledger.page(limit=10, before=first.next_cursor)) == [2, 1]


async def test_the_swaps_of_one_model_are_told_by_its_name(opened: Opener) -> None:
    async with opened() as ledger:
        ledger.record(a_swap(1))
        ledger.record(a_swap(2, model="beta"))
        ledger.record(a_swap(3))
        assert numbers(await ledger.page(limit=1, model="alpha")) == [3]
        assert numbers(await ledger.page(limit=9, model="alpha")) == [3, 1]
        assert numbers(await ledger.page(limit=9, model="alp")) == []


@pytest.mark.parametrize(("limit", "count"), [(0, 1), (-3, 1), (MAX_PAGE + 1, 3), (1 << 70, 3)])
async def test_a_limit_beyond_reason_is_bounded(opened: Opener, limit: int, count: int) -> None:
    async with opened() as ledger:
        for number in (1, 2, 3):
            ledger.record(a_swap(number))
        assert len((await ledger.page(limit=limit)).swaps) == count


async def test_an_id_that_is_not_there_is_a_cursor_as_well(opened: Opener) -> None:
    async with opened() as ledger:
        ledger.record(a_swap(1))
        ledger.record(a_swap(3))
        assert numbers(await ledger.page(limit=9, before=swap_id(2))) == [1]
        assert numbers(await ledger.page(limit=9, before="")) == []
