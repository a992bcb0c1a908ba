"""Whatever happens in whatever order, the limiter decides as a model of plain sums does."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from gglib_core.errors import LimitError
from gglib_core.keys import Allowance
from gglib_core.rate_limits.limiter import Reservation
from tests.rate_limits import ADDRESS, MIDNIGHT, Clock, demand, held, limiter

DAY = 86400


@dataclass
class Model:
    """What one caller may do, by the book: exact, and slow."""

    allowance: Allowance
    requests: Fraction = Fraction(0)
    tokens: Fraction = Fraction(0)
    running: int = 0
    spent: dict[int, Fraction] = field(default_factory=dict[int, Fraction])
    day: int = 0

    def __post_init__(self) -> None:
        self.requests = Fraction(self.allowance.requests_per_minute or 0)
        self.tokens = Fraction(self.allowance.tokens_per_minute or 0)

    def advance(self, seconds: Fraction) -> None:
        most = self.allowance
        if most.requests_per_minute:
            filled = self.requests + seconds * most.requests_per_minute / 60
            self.requests = min(filled, Fraction(most.requests_per_minute))
        if most.tokens_per_minute:
            filled = self.tokens + seconds * most.tokens_per_minute / 60
            self.tokens = min(filled, Fraction(most.tokens_per_minute))

    def reserve(self, tokens: int, cost: Fraction) -> bool:
        most = self.allowance
        spent = self.spent.get(self.day, Fraction(0))
        if (
            (most.requests_per_minute and self.requests < 1)
            or (most.tokens_per_minute and self.tokens < min(tokens, most.tokens_per_minute))
            or (most.concurrent_requests and self.running >= most.concurrent_requests)
            or (most.budget_per_day and cost and spent + cost > Fraction(most.budget_per_day))
        ):
            return False
        self.requests -= 1
        self.tokens -= min(tokens, most.tokens_per_minute or 0)
        self.running += 1
        self.spent[self.day] = spent + cost
        return True

    def settle(self, taken: tuple[int, Fraction, int], tokens: int, cost: Fraction) -> None:
        taken_tokens, taken_cost, day = taken
        most = self.allowance.tokens_per_minute or 0
        self.running -= 1
        left = min(self.tokens + min(taken_tokens, most) - tokens, Fraction(most))
        self.tokens = max(left, Fraction(-10 * most))
        self.spent[day] += cost - taken_cost


# Rates that a second divides and money in quarters: what the limiter adds as floats is then exact.
allowances = st.builds(
    Allowance,
    requests_per_minute=st.sampled_from([None, 60, 120, 960]),
    tokens_per_minute=st.sampled_from([None, 60, 960]),
    concurrent_requests=st.sampled_from([None, 1, 3]),
    budget_per_day=st.sampled_from([None, 0.25, 2.0]),
)
tokens = st.sampled_from([0, 1, 30, 60, 500, 20_000])
quarters = st.sampled_from([0.0, 0.25, 0.5, 5.0])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), tokens, quarters),
        st.tuples(st.just("settle"), tokens, quarters),
        st.tuples(st.just("advance"), st.sampled_from([0.5, 1.0, 7.0, 60.0, 7000.0]), st.just(0.0)),
        st.tuples(st.just("lose"), st.just(0), st.just(0.0)),
    ),
    max_size=60,
)


@given(allowance=allowances, steps=steps)
@settings(max_examples=300, deadline=None)
def test_the_limiter_decides_as_the_model_does(
    allowance: Allowance, steps: list[tuple[str, float, float]]
) -> None:
    clock, model = Clock(), Model(allowance)
    limits = limiter(clock, allowance)
    running: list[tuple[Reservation, tuple[int, Fraction, int]]] = []
    lost: list[tuple[int, Fraction, int]] = []
    for step, amount, cost in steps:
        match step:
            case "advance":
                clock.advance(amount)
                model.advance(Fraction(amount))
                model.day = int((clock.unix - MIDNIGHT) // DAY)
            case "reserve" if not allowance.is_unlimited:
                taken = (int(amount), Fraction(cost), model.day)
                while lost:  # what is lost is found with the next request
                    model.settle(lost.pop(), 0, Fraction(0))
                is_free = model.reserve(taken[0], taken[1])
                try:
                    wish = demand(tokens=int(amount), cost=cost)
                    running.append((held(limits.reserve(ADDRESS, wish)), taken))
                except LimitError:
                    assert not is_free
                else:
                    assert is_free
            case "settle" if running:
                reservation, taken = running.pop(0)
                reservation.settle(tokens=int(amount), cost=cost)
                del reservation
                model.settle(taken, int(amount), Fraction(cost))
            case "lose" if running:
                lost.append(running.pop()[1])
            case _:
                pass
    for reservation, _ in running:
        reservation.settle(tokens=0, cost=0)
