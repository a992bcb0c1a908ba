"""What one caller has used, of all limits that count for it.

Not here: the callers, and who gives room.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gglib_core.keys import Allowance, ApiKey, Endpoint
from gglib_core.rate_limiting import Demand, LimitRule, Spending
from gglib_core.rate_limits.measures import (
    Budget,
    Concurrency,
    Measure,
    RequestBucket,
    TokenBucket,
)
from gglib_core.rate_limits.periods import day_at, month_at
from gglib_core.rate_limits.plans import LimitTable, Plan


class Moment(NamedTuple):
    """A time, by both clocks."""

    now: float
    """Seconds, by a clock that never goes back."""
    unix: float


class _Place(NamedTuple):
    """Where a measure belongs: a rule, or None for the caller's own limits, and what of it."""

    rule: LimitRule | None
    model: str | None
    """Where each model is counted by itself."""
    limit: str


class Account:
    """The measures of one caller, made when they are first needed.

    `spent` is money that it spent before that.
    """

    def __init__(self, spent: Sequence[Spending] = ()) -> None:
        self.key: ApiKey | None = None
        self.name = ""
        """Of the key, or the address or network."""
        self.plans: dict[tuple[str, Endpoint], Plan] = {}
        self._measures: dict[_Place, Measure] = {}
        self._spent = spent

    def belong_to(self, key: ApiKey | None, identity: int | str) -> None:
        """Follow a key that was changed, or without one belong to an address."""
        self.key = key
        self.name = str(identity) if key is None else key.name
        self.plans.clear()

    def make_plan(self, table: LimitTable, demand: Demand, at: Moment) -> Plan:
        """The limits that count for requests like `demand`, for this one and those to come."""
        measures: list[Measure] = []
        has_budget = False
        for rule, allowance in table.matching(self.key, demand):
            model = demand.model if rule is not None and rule.models is not None else None
            measures += self._measured(rule, model, allowance, at)
            has_budget = has_budget or allowance.has_budget
        plan = self.plans[demand.model, demand.endpoint] = Plan(measures, has_budget=has_budget)
        return plan

    def take_over(self, spent: Sequence[Spending], *, before: float) -> None:
        """Count money that was spent before a time, where a budget has not been counting then."""
        self._spent = spent
        for place, measure in self._measures.items():
            if isinstance(measure, Budget) and measure.since >= before:
                measure.spent_before(self._spent_in(measure, place))

    def is_idle(self, at: Moment) -> bool:
        """Whether nothing would be lost if it were forgotten."""
        return all(each.is_idle(at.now, at.unix) for each in self._measures.values())

    def reset(self) -> None:
        """Forget what was used; not what runs, and not money."""
        for measure in self._measures.values():
            measure.reset()

    def _measured(
        self,
        rule: LimitRule | None,
        model: str | None,
        allowance: Allowance,
        at: Moment,
    ) -> Iterator[Measure]:
        for name, limit in _limits(allowance):
            place = _Place(rule, model, name)
            measure = self._measures.get(place)
            if measure is None:
                measure = self._measures[place] = _new_measure(name, limit, at)
                if isinstance(measure, Budget):
                    measure.spent_before(self._spent_in(measure, place))
            else:
                measure.limit_to(limit)
            yield measure

    def _spent_in(self, budget: Budget, place: _Place) -> float:
        return sum(
            each.cost
            for each in self._spent
            if each.day >= budget.begins and place.model in (None, each.model)
        )


def _limits(allowance: Allowance) -> Iterable[tuple[str, float]]:
    # What refuses most cheaply comes first.
    limits = (
        ("concurrent_requests", allowance.concurrent_requests),
        ("requests_per_minute", allowance.requests_per_minute),
        ("tokens_per_minute", allowance.tokens_per_minute),
        ("budget_per_day", allowance.budget_per_day),
        ("budget_per_month", allowance.budget_per_month),
    )
    return ((name, limit) for name, limit in limits if limit)


def _new_measure(name: str, limit: float, at: Moment) -> Measure:
    match name:
        case "concurrent_requests":
            return Concurrency(limit)
        case "requests_per_minute":
            return RequestBucket(limit, at.now)
        case "tokens_per_minute":
            return TokenBucket(limit, at.now)
        case "budget_per_day":
            return Budget(name, limit, day_at(at.unix), at.unix)
        case _:
            return Budget(name, limit, month_at(at.unix), at.unix)
