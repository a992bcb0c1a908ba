"""Limits let through exactly what they allow, and what was not used comes back."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging

import pytest

from gglib_core.errors import LimitError, QuotaExceeded, RateLimited
from gglib_core.keys import Allowance, Endpoint
from gglib_core.rate_limiting import Caller, LimitRule, Spending, Standing
from gglib_core.rate_limits import InMemoryRateLimiter
from gglib_core.rate_limits.limiter import Reservation
from gglib_core.rate_limits.periods import day_at, month_at
from tests.rate_limits import ADDRESS, MIDNIGHT, Clock, caller, demand, held, limiter


def through(limits: InMemoryRateLimiter, tries: int, who: Caller = ADDRESS) -> list[Reservation]:
    """The reservations of those of so many requests that are let through."""
    passed: list[Reservation] = []
    for _ in range(tries):
        try:
            passed.append(held(limits.reserve(who, demand(tokens=10, cost=0.1))))
        except LimitError:
            continue
    return passed


def settle(reservations: list[Reservation]) -> None:
    for each in reservations:
        each.settle(tokens=10, cost=0.1)


def test_without_limits_nothing_is_counted() -> None:
    limits = limiter(Clock())
    assert limits.is_unlimited(ADDRESS)
    assert limits.reserve(ADDRESS, demand()) is None
    assert limits.reserve(caller(), demand()) is None
    assert limits.standing(caller(), demand()) is None
    assert len(limits) == 0


@pytest.mark.parametrize(
    "allowance",
    [
        Allowance(requests_per_minute=10),
        Allowance(tokens_per_minute=100),
        Allowance(concurrent_requests=10),
        Allowance(budget_per_day=1.0),
        Allowance(budget_per_month=1.0),
        Allowance(requests_per_minute=10, tokens_per_minute=100, budget_per_day=1.0),
    ],
)
async def test_of_fifty_at_once_exactly_ten_come_through(allowance: Allowance) -> None:
    limits = limiter(Clock(), allowance)
    barrier = asyncio.Barrier(50)
    passed: list[Reservation] = []

    async def ask() -> None:
        await barrier.wait()
        passed.extend(through(limits, 1))
        await asyncio.sleep(0)

    await asyncio.gather(*(ask() for _ in range(50)))
    assert len(passed) == 10
    settle(passed)


def test_requests_come_back_one_by_one() -> None:
    clock = Clock()
    limits = limiter(clock, Allowance(requests_per_minute=6))
    settle(through(limits, 6))
    assert through(limits, 1) == []
    clock.advance(9.9)
    assert through(limits, 1) == []
    clock.advance(0.1)
    settle(passed := through(limits, 2))
    assert len(passed) == 1
    clock.advance(3600)
    settle(passed := through(limits, 20))
    assert len(passed) == 6


@pytest.mark.parametrize("limit", [1, 7, 13, 59, 60, 61, 997])
def test_who_waits_as_long_as_told_is_let_through(limit: int) -> None:
    clock = Clock()
    limits = limiter(clock, Allowance(requests_per_minute=limit, tokens_per_minute=limit * 10))
    settle(through(limits, limit))
    for _ in range(50):
        with pytest.raises(RateLimited) as caught:
            limits.reserve(ADDRESS, demand(tokens=10))
        assert caught.value.retry_after_seconds == pytest.approx(60 / limit)
        clock.advance(caught.value.retry_after_seconds)
        settle(passed := through(limits, 1))
        assert len(passed) == 1


def test_the_longest_wait_is_told_and_money_before_all() -> None:
    allowance = Allowance(requests_per_minute=60, tokens_per_minute=60, concurrent_requests=1)
    limits = limiter(Clock(), allowance)
    first = held(limits.reserve(ADDRESS, demand(tokens=60)))
    with pytest.raises(RateLimited) as caught:
        limits.reserve(ADDRESS, demand(tokens=30))
    assert (caught.value.limit, caught.value.retry_after_seconds) == ("tokens_per_minute", 30)
    limits.configure(Allowance(concurrent_requests=2, budget_per_day=0.5), ())
    second = held(limits.reserve(ADDRESS, demand(cost=0.5)))
    with pytest.raises(QuotaExceeded, match=r"The budget per day of 0\.5 is spent\."):
        limits.reserve(ADDRESS, demand(cost=0.1))
    settle([first, second])


def test_what_is_refused_by_one_limit_counts_in_none() -> None:
    clock = Clock()
    limits = limiter(clock, Allowance(requests_per_minute=10, tokens_per_minute=100))
    reservation = held(limits.reserve(ADDRESS, demand(tokens=90)))
    for _ in range(100):
        with pytest.raises(RateLimited, match="100 tokens per minute"):
            limits.reserve(ADDRESS, demand(tokens=20))
    reservation.settle(tokens=0, cost=0)
    settle(passed := through(limits, 50))
    assert len(passed) == 9


def test_tokens_that_were_not_used_come_back_at_once() -> None:
    limits = limiter(Clock(), Allowance(tokens_per_minute=1000))
    reservation = held(limits.reserve(ADDRESS, demand(tokens=1000)))
    with pytest.raises(RateLimited):
        limits.reserve(ADDRESS, demand(tokens=1))
    reservation.settle(tokens=10, cost=0)
    held(limits.reserve(ADDRESS, demand(tokens=990))).settle(tokens=0, cost=0)
    with pytest.raises(RateLimited):
        limits.reserve(ADDRESS, demand(tokens=991))


def test_tokens_that_were_used_beyond_are_owed_up_to_ten_minutes_worth() -> None:
    clock = Clock()
    limits = limiter(clock, Allowance(tokens_per_minute=60))
    held(limits.reserve(ADDRESS, demand(tokens=10))).settle(tokens=120, cost=0)
    with pytest.raises(RateLimited) as caught:
        limits.reserve(ADDRESS, demand(tokens=1))
    assert caught.value.retry_after_seconds == 61
    held_back = limits.standing(ADDRESS, demand())
    assert held_back is not None
    assert held_back.remaining_tokens == 0
    clock.advance(120)
    held(limits.reserve(ADDRESS, demand(tokens=10))).settle(tokens=10**9, cost=0)
    with pytest.raises(RateLimited) as caught:
        limits.reserve(ADDRESS, demand(tokens=1))
    assert caught.value.retry_after_seconds == 601


def test_a_request_larger_than_the_limit_runs_when_all_of_it_is_there() -> None:
    clock = Clock()
    limits = limiter(clock, Allowance(tokens_per_minute=60))
    held(limits.reserve(ADDRESS, demand(tokens=5000))).settle(tokens=30, cost=0)
    with pytest.raises(RateLimited) as caught:
        limits.reserve(ADDRESS, demand(tokens=5000))
    assert caught.value.retry_after_seconds == 30
    clock.advance(30)
    held(limits.reserve(ADDRESS, demand(tokens=5000))).settle(tokens=60, cost=0)


def test_concurrent_requests_are_those_that_have_not_ended() -> None:
    limits = limiter(Clock(), Allowance(concurrent_requests=2))
    one, two = through(limits, 3)
    with pytest.raises(RateLimited) as caught:
        limits.reserve(ADDRESS, demand())
    assert (caught.value.limit, caught.value.retry_after_seconds) == ("concurrent_requests", 1)
    one.settle(tokens=0, cost=0)
    one.settle(tokens=0, cost=0)
    (three,) = through(limits, 3)
    settle([two, three])


@pytest.mark.parametrize(("period", "days"), [("budget_per_day", 1), ("budget_per_month", 31)])
def test_money_is_there_again_with_the_next_period(period: str, days: int) -> None:
    clock = Clock()
    limits = limiter(clock, Allowance(**{period: 1.0}))  # type: ignore[arg-type]
    settle(passed := through(limits, 20))
    assert len(passed) == 10
    clock.advance(days * 86400 - 1)
    assert through(limits, 1) == []
    clock.advance(1)
    settle(passed := through(limits, 20))
    assert len(passed) == 10


def test_a_budget_that_does_not_reach_says_what_is_left() -> None:
    limits = limiter(Clock(), Allowance(budget_per_day=1.0))
    running = held(limits.reserve(ADDRESS, demand(cost=0.75)))
    with pytest.raises(QuotaExceeded, match=r"Of the budget per day of 1, 0\.25 is left, "):
        limits.reserve(ADDRESS, demand(cost=0.5))
    running.settle(tokens=0, cost=0.75)


def test_a_request_belongs_to_the_day_in_which_it_began() -> None:
    clock = Clock()
    clock.advance(86399)
    limits = limiter(clock, Allowance(budget_per_day=1.0))
    late = held(limits.reserve(ADDRESS, demand(cost=1.0)))
    clock.advance(2)
    early = held(limits.reserve(ADDRESS, demand(cost=0.4)))
    late.settle(tokens=0, cost=50.0)
    early.settle(tokens=0, cost=0.5)
    held(limits.reserve(ADDRESS, demand(cost=0.5))).settle(tokens=0, cost=0)
    with pytest.raises(QuotaExceeded):
        limits.reserve(ADDRESS, demand(cost=0.6))


def test_what_costs_nothing_runs_where_the_budget_is_spent() -> None:
    limits = limiter(Clock(), Allowance(budget_per_day=1.0))
    held(limits.reserve(ADDRESS, demand(cost=1.0))).settle(tokens=0, cost=3.0)
    with pytest.raises(QuotaExceeded):
        limits.reserve(ADDRESS, demand(cost=0.000001))
    held(limits.reserve(ADDRESS, demand())).settle(tokens=0, cost=0)


@pytest.mark.parametrize(("price", "count"), [(0.7, 10), (0.1, 10), (0.1, 3), (1.1, 7)])
def test_money_is_added_exactly(price: float, count: int) -> None:
    limits = limiter(Clock(), Allowance(budget_per_day=price * count))
    for _ in range(count):
        held(limits.reserve(ADDRESS, demand(cost=price))).settle(tokens=0, cost=price)
    with pytest.raises(QuotaExceeded):
        limits.reserve(ADDRESS, demand(cost=0.000001))


def test_callers_do_not_count_for_each_other() -> None:
    limits = limiter(Clock(), Allowance(requests_per_minute=1))
    for who in (caller(1), caller(2), ADDRESS, Caller(None, "192.0.2.2"), Caller(None, "")):
        settle(passed := through(limits, 2, who))
        assert len(passed) == 1


@pytest.mark.parametrize(
    ("one", "other", "is_one_caller"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("no:address", "no:address", True),
    ],
)
def test_of_ipv6_a_network_is_one_caller(one: str, other: str, is_one_caller: bool) -> None:
    limits = limiter(Clock(), Allowance(requests_per_minute=1))
    settle(through(limits, 1, Caller(None, one)))
    settle(passed := through(limits, 1, Caller(None, other)))
    assert len(passed) == (not is_one_caller)
    assert limits.reset(one) == 1
    assert len(through(limits, 1, Caller(None, one))) == 1


def test_a_key_may_say_otherwise_than_the_defaults() -> None:
    limits = limiter(Clock(), Allowance(requests_per_minute=2, concurrent_requests=100))
    assert len(through(limits, 200, caller(1, requests_per_minute=5))) == 5
    assert len(through(limits, 200, caller(2, requests_per_minute=0))) == 100
    assert len(through(limits, 200, caller(3))) == 2


def test_a_key_may_be_limited_where_nobody_else_is() -> None:
    limits = limiter(Clock())
    assert not limits.is_unlimited(caller(1, concurrent_requests=3))
    assert limits.is_unlimited(caller(2))
    assert len(through(limits, 20, caller(1, concurrent_requests=3))) == 3
    assert limits.reserve(caller(2), demand()) is None


def test_a_changed_key_keeps_what_it_has_used() -> None:
    limits = limiter(Clock())
    running = through(limits, 20, caller(1, concurrent_requests=3, requests_per_minute=5))
    assert len(running) == 3
    assert len(through(limits, 20, caller(1, concurrent_requests=4, requests_per_minute=20))) == 1
    assert len(through(limits, 20, caller(1, requests_per_minute=1))) == 1


RULES = (
    LimitRule(models="big-*", allowance=Allowance(requests_per_minute=2)),
    LimitRule(key="team-*", allowance=Allowance(requests_per_minute=3)),
    LimitRule(endpoint=Endpoint.MODELS, allowance=Allowance(requests_per_minute=4)),
)


@pytest.mark.parametrize(
    ("name", "model", "endpoint", "most"),
    [
        (None, "big-1", Endpoint.INFERENCE, 2),
        (None, "small", Endpoint.INFERENCE, None),
        (None, "", Endpoint.MODELS, 4),
        ("team-a", "small", Endpoint.INFERENCE, 3),
        ("team-a", "big-1", Endpoint.INFERENCE, 2),
        ("other", "small", Endpoint.INFERENCE, None),
        ("other", "BIG-1", Endpoint.INFERENCE, None),
    ],
)
def test_rules_limit_what_they_match(
    name: str | None, model: str, endpoint: Endpoint, most: int | None
) -> None:
    limits = limiter(Clock(), None, RULES)
    who = ADDRESS if name is None else caller(1, name)
    wish = demand(model, endpoint=endpoint)
    if most is None:
        assert limits.reserve(who, wish) is None
        return
    for _ in range(most):
        held(limits.reserve(who, wish)).settle(tokens=0, cost=0)
    with pytest.raises(RateLimited):
        limits.reserve(who, wish)


def test_a_rule_for_models_is_for_requests_that_have_one() -> None:
    rules = [LimitRule(models="*", allowance=Allowance(requests_per_minute=1))]
    limits = limiter(Clock(), None, rules)
    assert limits.reserve(ADDRESS, demand("", endpoint=Endpoint.MODELS)) is None
    held(limits.reserve(ADDRESS, demand("alpha"))).settle(tokens=0, cost=0)


def test_a_rule_for_models_counts_each_by_itself() -> None:
    limits = limiter(Clock(), Allowance(requests_per_minute=5), RULES)
    for model in ("big-1", "big-2") * 2:
        held(limits.reserve(ADDRESS, demand(model))).settle(tokens=0, cost=0)
    for model in ("big-1", "big-2"):
        with pytest.raises(RateLimited, match="limit of 2"):
            limits.reserve(ADDRESS, demand(model))
    held(limits.reserve(ADDRESS, demand("small"))).settle(tokens=0, cost=0)
    with pytest.raises(RateLimited, match="limit of 5"):
        limits.reserve(ADDRESS, demand("small"))


def test_other_limits_count_from_now_on_and_keep_what_was_used() -> None:
    clock = Clock()
    limits = limiter(clock, Allowance(requests_per_minute=10), RULES)
    settle(through(limits, 6))
    limits.configure(Allowance(requests_per_minute=20), ())
    settle(passed := through(limits, 50))
    assert len(passed) == 4
    limits.configure(Allowance(), ())
    assert limits.reserve(ADDRESS, demand()) is None
    limits.configure(Allowance(requests_per_minute=2), ())
    clock.advance(3600)
    settle(passed := through(limits, 50))
    assert len(passed) == 2


def test_a_reset_forgets_what_was_used_but_not_what_runs_or_was_paid() -> None:
    allowance = Allowance(requests_per_minute=5, concurrent_requests=2, budget_per_day=0.4)
    limits = limiter(Clock(), allowance)
    running = through(limits, 1)
    settle(through(limits, 1))
    settle(through(limits, 1))
    assert limits.reset("192.0.2.1") == 1
    assert limits.reset("nobody") == 0
    standing = limits.standing(ADDRESS, demand())
    assert standing is not None
    assert standing.remaining_requests == 5
    running += through(limits, 5)
    assert len(running) == 2
    settle(running)
    with pytest.raises(QuotaExceeded):
        limits.reserve(ADDRESS, demand(cost=0.1))


def test_a_reset_of_all_says_how_many() -> None:
    limits = limiter(Clock(), Allowance(requests_per_minute=1))
    for who in (ADDRESS, caller(1, "one"), caller(2, "two")):
        settle(through(limits, 1, who))
    assert limits.reset("one") == 1
    assert limits.reset() == 3
    assert len(through(limits, 2, caller(2, "two"))) == 1


def test_what_is_left_is_that_of_the_tightest_limit() -> None:
    clock = Clock()
    defaults = Allowance(requests_per_minute=60, tokens_per_minute=600)
    limits = limiter(clock, defaults, RULES)
    reservation = held(limits.reserve(ADDRESS, demand("big-1", tokens=100)))
    assert reservation.standing == Standing(
        limit_requests=2,
        remaining_requests=1,
        reset_requests_seconds=30,
        limit_tokens=600,
        remaining_tokens=500,
        reset_tokens_seconds=10,
    )
    clock.advance(5)
    reservation.settle(tokens=50, cost=0)
    assert limits.standing(ADDRESS, demand("small")) == Standing(
        limit_requests=60,
        remaining_requests=60,
        reset_requests_seconds=0,
        limit_tokens=600,
        remaining_tokens=600,
        reset_tokens_seconds=0,
    )


def test_what_is_limited_otherwise_has_a_standing_without_numbers() -> None:
    limits = limiter(Clock(), Allowance(concurrent_requests=1))
    (reservation,) = through(limits, 1)
    assert reservation.standing == Standing()
    settle([reservation])


def test_a_reservation_that_is_lost_is_given_back_and_said_to_be_a_bug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = limiter(Clock(), Allowance(concurrent_requests=1, tokens_per_minute=100))
    through(limits, 1)
    gc.collect()
    with caplog.at_level(logging.ERROR):
        (again,) = through(limits, 1)
    assert "was never settled" in caplog.text
    settle([again])
    caplog.clear()
    del again
    gc.collect()
    settle(through(limits, 1))
    assert caplog.text == ""


def test_callers_that_have_gone_quiet_are_forgotten_as_others_come() -> None:
    clock = Clock()
    limits = limiter(clock, Allowance(requests_per_minute=60))
    for number in range(1000):
        settle(through(limits, 1, Caller(None, f"10.0.{number // 256}.{number % 256}")))
        clock.advance(0.5)
        assert len(limits) <= 6


def test_callers_that_owe_run_or_have_paid_are_not_forgotten() -> None:
    clock = Clock()
    allowance = Allowance(concurrent_requests=2, budget_per_month=0.2)
    limits = limiter(clock, allowance)
    running = through(limits, 1, caller(1))
    settle(through(limits, 1, caller(2)))
    for number in range(100):
        clock.advance(3600)
        held(limits.reserve(Caller(None, f"a{number}"), demand())).settle(tokens=0, cost=0)
    assert len(limits) <= 6
    assert len(through(limits, 5, caller(1))) == 1
    assert len(through(limits, 5, caller(2))) == 1
    settle(running)


def test_money_that_was_recorded_counts() -> None:
    clock = Clock(MIDNIGHT + 5 * 86400 + 100)
    rules = [LimitRule(models="big", allowance=Allowance(budget_per_day=0.5))]
    limits = limiter(clock, Allowance(budget_per_month=2.0), rules)
    today = int(MIDNIGHT) + 5 * 86400
    spent = [
        Spending(key_id=1, model="big", day=today, cost=0.4),
        Spending(key_id=1, model="small", day=today, cost=0.5),
        Spending(key_id=1, model="big", day=today - 86400, cost=0.5),
        Spending(key_id=1, model="big", day=int(MIDNIGHT) - 86400, cost=90.0),
        Spending(key_id=2, model="big", day=today, cost=0.1),
    ]
    limits.take_over(spent, before=clock.unix)
    with pytest.raises(QuotaExceeded, match="budget per day"):
        limits.reserve(caller(1), demand("big", cost=0.11))
    held(limits.reserve(caller(1), demand("big", cost=0.1))).settle(tokens=0, cost=0.1)
    with pytest.raises(QuotaExceeded, match="budget per month"):
        limits.reserve(caller(1), demand("small", cost=0.51))
    held(limits.reserve(caller(1), demand("small", cost=0.5))).settle(tokens=0, cost=0)
    held(limits.reserve(caller(2), demand("big", cost=0.4))).settle(tokens=0, cost=0)
    clock.advance(86400)
    held(limits.reserve(caller(1), demand("big", cost=0.5))).settle(tokens=0, cost=0)


def test_what_a_budget_has_counted_itself_is_not_counted_again_from_records() -> None:
    clock = Clock()
    limits = limiter(clock, Allowance(budget_per_day=1.0))
    held(limits.reserve(caller(1), demand(cost=0.4))).settle(tokens=0, cost=0.4)
    clock.advance(10)
    records = [
        Spending(key_id=key_id, model="alpha", day=int(MIDNIGHT), cost=0.4) for key_id in (1, 2)
    ]
    limits.take_over(records, before=clock.unix)
    for key_id in (1, 2):
        who = caller(key_id)
        held(limits.reserve(who, demand(cost=0.6))).settle(tokens=0, cost=0)
        with pytest.raises(QuotaExceeded):
            limits.reserve(who, demand(cost=0.61))


def test_records_that_come_late_count_for_a_budget_that_is_new() -> None:
    clock = Clock()
    limits = limiter(clock)
    before = clock.unix
    held(limits.reserve(caller(1, budget_per_day=1), demand(cost=0.3))).settle(tokens=0, cost=0.3)
    clock.advance(1)
    limits.take_over(
        [Spending(key_id=1, model="alpha", day=int(MIDNIGHT), cost=0.5)], before=before
    )
    with pytest.raises(QuotaExceeded):
        limits.reserve(caller(1, budget_per_day=1), demand(cost=0.21))
    held(limits.reserve(caller(1, budget_per_day=1), demand(cost=0.2))).settle(tokens=0, cost=0)


@pytest.mark.parametrize(
    ("unix", "begins", "ends"),
    [
        (MIDNIGHT, MIDNIGHT, MIDNIGHT + 31 * 86400),
        (MIDNIGHT - 1, MIDNIGHT - 31 * 86400, MIDNIGHT),
        (MIDNIGHT + 58.5 * 86400, MIDNIGHT + 31 * 86400, MIDNIGHT + 59 * 86400),
        (MIDNIGHT - 671 * 86400 - 1, MIDNIGHT - 700 * 86400, MIDNIGHT - 671 * 86400),
    ],
)
def test_months_are_those_of_the_calendar(unix: float, begins: float, ends: float) -> None:
    month = month_at(unix)
    assert (month.begins, month.ends) == (begins, ends)
    day = day_at(unix)
    assert day.begins <= unix < day.ends
    assert day.ends - day.begins == 86400


def test_a_clock_that_is_set_back_keeps_no_budget_closed() -> None:
    clock = Clock(MIDNIGHT + 400 * 86400)
    limits = limiter(clock, Allowance(budget_per_month=1.0))
    held(limits.reserve(ADDRESS, demand(cost=1.0))).settle(tokens=0, cost=1.0)
    clock.unix = MIDNIGHT
    held(limits.reserve(ADDRESS, demand(cost=1.0))).settle(tokens=0, cost=1.0)


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["reserve", "settle", "midnight", "reset"]))
)
def test_in_every_order_of_events_what_runs_is_counted(order: tuple[str, ...]) -> None:
    clock = Clock()
    clock.advance(86000)
    limits = limiter(clock, Allowance(concurrent_requests=2, budget_per_day=1.0))
    running = [held(limits.reserve(ADDRESS, demand(cost=0.5)))]
    day_of_first, day = 0, 0
    spent = {0: 0.5}
    for event in order:
        match event:
            case "reserve":
                running.append(held(limits.reserve(ADDRESS, demand(cost=0.25))))
                spent[day] = spent.get(day, 0) + 0.25
            case "settle":
                running.pop(0).settle(tokens=0, cost=0.1)
                spent[day_of_first] -= 0.4
            case "midnight":
                clock.advance(1000)
                day = 1
            case _:
                limits.reset()
    left = 1.0 - spent.get(day, 0)
    with pytest.raises(QuotaExceeded):
        limits.reserve(ADDRESS, demand(cost=left + 0.001))
    running.append(held(limits.reserve(ADDRESS, demand(cost=left))))
    with pytest.raises(RateLimited):
        limits.reserve(ADDRESS, demand())
    settle(running)
