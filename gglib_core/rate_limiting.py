"""Limits: how much a caller may still use, reserved at the door and settled from what was used.

Not here: who the caller is, and how a limit is shown to clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gglib_core.keys import Allowance, ApiKey, Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRule:
    """A further limit, on each caller by itself; all that match a request have to hold.

    What is None matches whatever the request has, except that a rule without an endpoint is about
    inference, as are the limits that are no rules: a look at something uses nothing up.
    """

    allowance: Allowance
    models: str | None = None
    """A glob of model names; each model that it matches is counted by itself."""
    endpoint: Endpoint | None = None
    key: str | None = None
    """A glob of key names; callers without a key have none."""


# Callers and demands are made for each request: they are not frozen, for setting the fields of a
# frozen value costs as much as counting it. Nobody changes them. Constructors that are written out
# are so for speed, too: one that a dataclass makes is never compiled.


@dataclass(slots=True)
class Caller:
    """Who asks: a key, or an address where no key is needed."""

    key: ApiKey | None
    address: str
    """Of the client, as far as trusted proxies tell it; empty for a unix socket's. Of IPv6, limits
    count its /64 network, for a client has all of that."""


@dataclass(slots=True, init=False)
class Demand:
    """What a request may come to use, as far as it can be told before it runs."""

    model: str
    endpoint: Endpoint
    tokens: int
    """Of the prompt and of the longest answer, estimated."""
    cost: float
    """Money that these tokens would cost."""

    def __init__(self, *, model: str, endpoint: Endpoint, tokens: int, cost: float = 0.0) -> None:
        self.model = model
        self.endpoint = endpoint
        self.tokens = tokens
        self.cost = cost


@dataclass(slots=True, init=False)
class Standing:
    """What is left of the tightest limit of each kind; None where there is no such limit."""

    limit_requests: int | None
    remaining_requests: int | None
    reset_requests_seconds: float | None
    """Until the whole limit may be used again."""
    limit_tokens: int | None
    remaining_tokens: int | None
    reset_tokens_seconds: float | None

    def __init__(
        self,
        limit_requests: int | None = None,
        remaining_requests: int | None = None,
        reset_requests_seconds: float | None = None,
        limit_tokens: int | None = None,
        remaining_tokens: int | None = None,
        reset_tokens_seconds: float | None = None,
    ) -> None:
        self.limit_requests = limit_requests
        self.remaining_requests = remaining_requests
        self.reset_requests_seconds = reset_requests_seconds
        self.limit_tokens = limit_tokens
        self.remaining_tokens = remaining_tokens
        self.reset_tokens_seconds = reset_tokens_seconds


class Reservation(Protocol):
    """What one request holds of its caller's limits."""

    @property
    def standing(self) -> Standing | None:
        """What is left now; None where no limit counts."""
        ...

    def settle(self, *, tokens: int, cost: float) -> None:
        """The request has ended and used so much: what was reserved beyond is given back.

        To be called once for every reservation, also of a request that failed or whose client
        left; a repetition has no effect. Never fails or waits.
        """
        ...


class RateLimiter(Protocol):
    """Counts what callers use. All methods belong to one event loop; none blocks or awaits."""

    def is_unlimited(self, caller: Caller) -> bool:
        """Whether no limit can count for anything that the caller does, as far as is told quickly.

        Then there is nothing to reserve, and no demand has to be made up.
        """
        ...

    def reserve(self, caller: Caller, demand: Demand) -> Reservation | None:
        """Take what `demand` says out of every limit that counts for it: all of them, or none.

        None where no limit counts. Raises RateLimited, and QuotaExceeded where money is spent;
        a request that costs nothing needs none. A reservation that becomes rubbish without being
        settled is given back, and logged as a bug.
        """
        ...

    def standing(self, caller: Caller, demand: Demand) -> Standing | None:
        """What is left now of the limits that count for `demand`; for one that was refused."""
        ...

    def reset(self, caller_name: str | None = None) -> int:
        """Forget what was used, by all or by one (a key's name, or an address).

        Running requests stay counted among the concurrent ones, and spent money stays spent.
        Returns how many callers were forgotten.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Money that a key has spent on a model, in one day."""

    key_id: int
    model: str
    day: int
    """When the day began, in Unix seconds (UTC)."""
    cost: float


class SpendHistory(Protocol):
    """What was spent, as far back as it is recorded."""

    async def spent(self, *, before: float) -> Sequence[Spending]:
        """By requests that began in the same month (UTC) as `before`, in Unix seconds, but earlier.

        Raises DatabaseError.
        """
        ...


class InMemorySpendHistory:
    """Fills `SpendHistory` with what it is given."""

    def __init__(self, spent: Iterable[Spending] = ()) -> None:
        self.spendings = list(spent)

    async def spent(self, *, before: float) -> Sequence[Spending]:
        return [each for each in self.spendings if each.day < before]


class NoRateLimiter:
    """Fills `RateLimiter` where nothing is limited."""

    def is_unlimited(self, caller: Caller) -> bool:
        return True

    def reserve(self, caller: Caller, demand: Demand) -> Reservation | None:
        return None

    def standing(self, caller: Caller, demand: Demand) -> Standing | None:
        return None

    def reset(self, caller_name: str | None = None) -> int:
        return 0
