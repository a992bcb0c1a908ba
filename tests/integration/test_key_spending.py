"""What keys have spent is known after a restart, and when the records of it are gone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from gglib_core.errors import DatabaseError, QuotaExceeded
from gglib_core.keys import Allowance, InMemoryKeyRing, KeyRing
from gglib_core.rate_limiting import InMemorySpendHistory, Spending
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.generations.rows import insert_rows, purge
from gglib_runtime.keys.spending import SqlSpendHistory, open_spending, sum_up
from gglib_runtime.keys.tables import key_spending
from tests.generations import generation
from tests.rate_limits import Clock, caller, demand, held, key, limiter

pytest_plugins = ["tests.databases"]

DAY = 86400


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    with open_database(database_url) as engine:
        upgrade(engine)
        yield engine


def record(engine: sa.Engine, when: str, cost: float, key_id: int | None = 1, **more: str) -> None:
    rows = [
        generation(
            id=f"gen-{when}-{number}",
            created_ms=at(when) * 1000 + 999,
            key_id=key_id,
            prompt_cost=cost / 4,
            completion_cost=cost / 4,
            **more,
        )
        for number in range(2)
    ]
    insert_rows(engine, rows)


def spent(engine: sa.Engine, before: str) -> list[tuple[int, str, int, float]]:
    found = sum_up(engine, at(before))
    return sorted((each.key_id, each.model, each.day, round(each.cost, 9)) for each in found)


def test_spending_is_summed_up_by_key_model_and_day(engine: sa.Engine) -> None:
    record(engine, "2031-02-28T23:59:59", 90)
    record(engine, "2031-03-01T00:00:00", 1, model="a")
    record(engine, "2031-03-01T23:59:59", 2, model="a")
    record(engine, "2031-03-01T12:00:00", 4, model="b")
    record(engine, "2031-03-02T00:00:00", 8, key_id=2, model="a")
    record(engine, "2031-03-02T01:00:00", 16, key_id=None)
    record(engine, "2031-03-02T02:00:00", 0)
    record(engine, "2031-03-02T03:00:00", 32)
    assert spent(engine, "2031-03-02T03:00:00") == [
        (1, "a", at("2031-03-01"), 3.0),
        (1, "b", at("2031-03-01"), 4.0),
        (2, "a", at("2031-03-02"), 8.0),
    ]


def test_what_was_summed_up_stays_when_its_records_are_purged(engine: sa.Engine) -> None:
    record(engine, "2031-03-01T01:00:00", 1, model="a")
    record(engine, "2031-03-02T01:00:00", 2, model="a")
    spent(engine, "2031-03-02T02:00:00")
    record(engine, "2031-03-02T03:00:00", 4, model="a")
    purge(engine, at("2031-03-02T02:00:00") * 1000)
    record(engine, "2031-03-03T00:00:00", 8, model="a")
    expected = [(1, "a", at(f"2031-03-0{day}"), cost) for day, cost in ((1, 1), (2, 4), (3, 8))]
    assert spent(engine, "2031-03-03T01:00:00") == expected
    assert spent(engine, "2031-03-03T01:00:00") == expected


@pytest.mark.parametrize(("written", "kept"), [(0.5, 1.0), (7.0, 7.0)])
def test_of_two_gateways_that_sum_up_at_once_the_larger_sum_counts(
    postgres_url: str, written: float, kept: float
) -> None:
    other = {"key_id": 1, "model": "a", "day": at("2031-03-01"), "cost": written}
    with open_database(postgres_url) as one, open_database(postgres_url) as two:
        upgrade(one)
        record(one, "2031-03-01T01:00:00", 1, model="a")

        def be_faster(connection: object, cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("INSERT INTO key_spending"):
                with two.begin() as faster:
                    faster.execute(key_spending.insert().values(**other))

        event.listen(one, "before_cursor_execute", be_faster)
        sum_up(one, at("2031-03-01T02:00:00"))
        with two.connect() as connection:
            assert connection.execute(sa.select(key_spending.c.cost)).scalars().all() == [kept]


def test_what_is_left_of_a_days_records_takes_nothing_back(engine: sa.Engine) -> None:
    record(engine, "2031-03-02T01:00:00", 4, model="a")
    record(engine, "2031-03-02T03:00:00", 1, model="a")
    day = at("2031-03-02")
    assert spent(engine, "2031-03-02T04:00:00") == [(1, "a", day, 5.0)]
    purge(engine, at("2031-03-02T02:00:00") * 1000)
    assert spent(engine, "2031-03-02T04:00:00") == [(1, "a", day, 5.0)]


def test_a_record_may_come_a_day_late(engine: sa.Engine) -> None:
    record(engine, "2031-03-02T01:00:00", 1, model="a")
    spent(engine, "2031-03-02T02:00:00")
    record(engine, "2031-03-01T23:00:00", 2, model="a")
    assert [cost for _, _, _, cost in spent(engine, "2031-03-02T02:00:00")] == [2.0, 1.0]


def test_a_new_month_begins_with_nothing(engine: sa.Engine) -> None:
    record(engine, "2031-03-31T23:00:00", 1)
    assert len(spent(engine, "2031-03-31T23:30:00")) == 1
    assert spent(engine, "2031-04-01T00:00:01") == []


async def test_a_budget_counts_what_was_spent_before_the_start(engine: sa.Engine) -> None:
    record(engine, "2031-03-02T01:00:00", 0.75, model="alpha")
    clock = Clock(at("2031-03-02T02:00:00"))
    limits = limiter(clock, Allowance(budget_per_day=1.0))
    async with open_spending(limits, SqlSpendHistory(engine), InMemoryKeyRing(), clock=clock.time):
        with pytest.raises(QuotaExceeded):
            limits.reserve(caller(1), demand(cost=0.3))
        held(limits.reserve(caller(1), demand(cost=0.25))).settle(tokens=0, cost=0)
        held(limits.reserve(caller(2), demand(cost=1.0))).settle(tokens=0, cost=0)


class FakeHistory(InMemorySpendHistory):
    """Says when it was asked, and can fail."""

    def __init__(self, spendings: Sequence[Spending] = ()) -> None:
        super().__init__(spendings)
        self.asked: list[float] = []
        self.is_broken = False

    async def spent(self, *, before: float) -> Sequence[Spending]:
        self.asked.append(before)
        if self.is_broken:
            raise DatabaseError("It is broken.")
        return await super().spent(before=before)


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - not everything that is waited for has an event
            await anyio.sleep(0.005)


async def test_without_a_budget_nothing_is_asked() -> None:
    clock, history, keys = Clock(), FakeHistory(), InMemoryKeyRing()
    async with open_spending(limiter(clock), history, keys, clock=clock.time, poll_seconds=0.001):
        keys.replace(KeyRing(keys=[("", b"", key(1, concurrent_requests=1))]))
        await anyio.sleep(0.01)
    assert history.asked == []


async def test_a_budget_that_a_key_gets_later_counts_what_was_spent_before() -> None:
    clock, keys = Clock(), InMemoryKeyRing()
    history = FakeHistory([Spending(key_id=1, model="alpha", day=int(clock.unix), cost=0.75)])
    limits = limiter(clock)
    with_budget = caller(1, budget_per_day=1.0)
    assert with_budget.key is not None
    async with open_spending(limits, history, keys, clock=clock.time):
        clock.advance(100)
        keys.replace(KeyRing(keys=[("", b"", with_budget.key)]))
        changed = clock.unix
        clock.advance(1)
        held(limits.reserve(with_budget, demand(cost=0.1))).settle(tokens=0, cost=0.1)
        await until(lambda: history.asked)
        assert history.asked == [changed]
        with pytest.raises(QuotaExceeded):
            limits.reserve(with_budget, demand(cost=0.2))
        held(limits.reserve(with_budget, demand(cost=0.15))).settle(tokens=0, cost=0.15)


async def test_other_limits_are_told_by_whoever_changes_them() -> None:
    clock, history = Clock(), FakeHistory()
    limits = limiter(clock)
    async with open_spending(limits, history, InMemoryKeyRing(), clock=clock.time) as changed:
        limits.configure(Allowance(budget_per_month=1.0), ())
        changed()
        await until(lambda: history.asked)


async def test_spending_is_summed_up_now_and_then_though_it_fails_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, history = Clock(), FakeHistory()
    limits = limiter(clock, Allowance(budget_per_month=1.0))
    async with open_spending(
        limits, history, InMemoryKeyRing(), clock=clock.time, poll_seconds=0.001
    ):
        history.is_broken = True
        with caplog.at_level(logging.WARNING):
            await until(lambda: "cannot be read: It is broken." in caplog.text)
        history.is_broken = False
        count = len(history.asked)
        await until(lambda: len(history.asked) > count + 2)


async def test_a_history_that_fails_at_the_start_is_an_error() -> None:
    history = FakeHistory()
    history.is_broken = True
    limits = limiter(Clock(), Allowance(budget_per_month=1.0))
    with pytest.raises(DatabaseError):
        async with open_spending(limits, history, InMemoryKeyRing()):
            pytest.fail("it was opened")
