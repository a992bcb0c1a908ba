"""Which limits count for a request: the caller's own, and the rules that match.

Not here: what a limit counts, and who the caller is.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from gglib_core.errors import LimitError, QuotaExceeded, RateLimited
from gglib_core.keys import Allowance, ApiKey, Endpoint
from gglib_core.rate_limiting import Demand, LimitRule, Standing
from gglib_core.rate_limits.measures import Measure, RequestBucket, TokenBucket


class _CompiledRule:
    """A rule that can be asked quickly."""

    def __init__(self, rule: LimitRule) -> None:
        self.rule = rule
        self._models = _glob(rule.models)
        self._key = _glob(rule.key)

    def matches(self, key: ApiKey | None, demand: Demand) -> bool:
        if demand.endpoint is not (self.rule.endpoint or Endpoint.INFERENCE):
            return False
        if self._key is not None and (key is None or not self._key.match(key.name)):
            return False
        return self._models is None or bool(demand.model and self._models.match(demand.model))


class LimitTable:
    """The defaults and the rules of one configuration."""

    def __init__(self, defaults: Allowance, rules: Sequence[LimitRule]) -> None:
        self._defaults = defaults
        self._rules = tuple(map(_CompiledRule, rules))
        self.is_empty = defaults.is_unlimited and not rules
        allowances = (defaults, *(rule.allowance for rule in rules))
        self.has_budgets = any(each.has_budget for each in allowances)

    def matching(
        self, key: ApiKey | None, demand: Demand
    ) -> Iterator[tuple[LimitRule | None, Allowance]]:
        """The allowances that count, each with the rule that it comes from."""
        if demand.endpoint is Endpoint.INFERENCE:
            own = self._defaults if key is None else self._defaults.overridden_by(key.allowance)
            yield None, own
        for each in self._rules:
            if each.matches(key, demand):
                yield each.rule, each.rule.allowance


class Plan:
    """The limits that count for a caller's requests of one kind."""

    __slots__ = ("_requests", "_tokens", "has_budget", "measures", "settled")

    def __init__(self, measures: Sequence[Measure], *, has_budget: bool) -> None:
        self.measures = tuple(measures)
        self.settled = tuple(each for each in measures if not isinstance(each, RequestBucket))
        """Those that a request's end changes."""
        self.has_budget = has_budget
        self._requests = tuple(each for each in measures if isinstance(each, RequestBucket))
        self._tokens = tuple(each for each in measures if isinstance(each, TokenBucket))

    def refusal(self, now: float, unix: float, tokens: int, nanos: int) -> LimitError:
        """Why there is no room: spent money first, then what takes longest to come back."""
        reasons = [
            each.refusal(now, tokens)
            for each in self.measures
            if not each.has_room(now, unix, tokens, nanos)
        ]
        return max(reasons, key=_wait)

    def standing(self, now: float) -> Standing | None:
        """What is left of the tightest limit of each kind; None without any limit."""
        if not self.measures:
            return None
        standing = Standing()
        requests, tokens = _tightest(self._requests, now), _tightest(self._tokens, now)
        if requests is not None:
            limit, remaining, reset_seconds = requests.standing(now)
            standing.limit_requests = limit
            standing.remaining_requests = remaining
            standing.reset_requests_seconds = reset_seconds
        if tokens is not None:
            limit, remaining, reset_seconds = tokens.standing(now)
            standing.limit_tokens = limit
            standing.remaining_tokens = remaining
            standing.reset_tokens_seconds = reset_seconds
        return standing


_Bucket = TypeVar("_Bucket", RequestBucket, TokenBucket)


def _tightest(buckets: Sequence[_Bucket], now: float) -> _Bucket | None:
    if len(buckets) == 1:
        return buckets[0]
    return min(buckets, key=lambda each: each.left(now), default=None)


def _wait(reason: LimitError) -> float:
    if isinstance(reason, RateLimited):
        return reason.retry_after_seconds
    assert isinstance(reason, QuotaExceeded)
    return float("inf")


def _glob(pattern: str | None) -> re.Pattern[str] | None:
    return None if pattern is None else re.compile(fnmatch.translate(pattern))
