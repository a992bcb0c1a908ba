"""What a request costs, by the prices of its model.

Not here: how prices are set, and what budgets there are.
"""

from __future__ import annotations

from typing import NamedTuple

from gglib_core.models import NewModel

TOKENS_IN_A_PRICE = 1000
"""A model's prices are for so many."""


class Cost(NamedTuple):
    """Money, in the currency of the model's prices."""

    prompt: float
    completion: float

    @property
    def total(self) -> float:
        return self.prompt + self.completion


FREE = Cost(0.0, 0.0)


def cost_of(model: NewModel, prompt_tokens: int, completion_tokens: int) -> Cost:
    """What so many tokens cost. Tokens from the cache count as any others."""
    if not (model.input_cost_per_1k or model.output_cost_per_1k):
        return FREE
    return Cost(
        model.input_cost_per_1k * prompt_tokens / TOKENS_IN_A_PRICE,
        model.output_cost_per_1k * completion_tokens / TOKENS_IN_A_PRICE,
    )
