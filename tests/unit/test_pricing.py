"""What requests cost."""

import pytest

from gglib_core.pricing import cost_of
from tests.catalog_entries import new_model


def test_tokens_cost_what_the_model_says_for_a_thousand_of_them() -> None:
    model = new_model(input_cost_per_1k=0.01, output_cost_per_1k=0.03)
    cost = cost_of(model, 150, 75)
    assert cost.prompt == pytest.approx(0.0015)
    assert cost.completion == pytest.approx(0.00225)
    assert cost.total == pytest.approx(0.00375)


@pytest.mark.parametrize(
    ("prices", "total"),
    [({}, 0), ({"input_cost_per_1k": 2.0}, 2), ({"output_cost_per_1k": 3.0}, 6)],
)
def test_a_model_without_a_price_costs_nothing(prices: dict[str, float], total: float) -> None:
    assert cost_of(new_model(**prices), 1000, 2000).total == total
