"""Counts what callers use, in the memory of one process.

Belongs to one event loop and never awaits: nothing comes between asking for room and taking it.
Not here: what a limit counts (`measures`), and which of them count for a request (`plans`).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gglib_core.keys import Allowance, ApiKey
from gglib_core.rate_limiting import Caller, Demand, LimitRule, Spending, Standing
from gglib_core.rate_limits.account import Account, Moment
from gglib_core.rate_limits.measures import billionths
from gglib_core.rate_limits.networks import network_of
from gglib_core.rate_limits.plans import LimitTable, Plan

_EXAMINED = 2
"""Callers that are looked at for each new one, so that idle ones go sooner than others come."""

_log = logging.getLogger(__name__)


class Reservation:
    """What one request has taken out of its caller's limits."""

    __slots__ = ("_began", "_is_settled", "_limiter", "_nanos", "_plan", "_tokens")

    def __init__(
        self, limiter: InMemoryRateLimiter, plan: Plan, began: float, tokens: int, nanos: int
    ) -> None:
        self._limiter = limiter
        self._plan = plan
        self._began = began
        self._tokens = tokens
        self._nanos = nanos
        self._is_settled = False

    def __repr__(self) -> str:
        return f"<Reservation of {self._tokens} tokens>"

    def __del__(self) -> None:
        if not self._is_settled:
            # Rubbish may be collected in any thread, at any time: the limits are left alone here.
            self._limiter.leaked.append(self)

    @property
    def standing(self) -> Standing | None:
        return self._plan.standing(self._limiter.clock())

    def settle(self, *, tokens: int, cost: float) -> None:
        if self._is_settled:
            return
        self._is_settled = True
        now, nanos = self._limiter.clock(), billionths(cost) if cost else 0
        began, taken_tokens, taken_nanos = self._began, self._tokens, self._nanos
        for measure in self._plan.settled:
            measure.settle(now, began, taken_tokens, taken_nanos, tokens, nanos)


class InMemoryRateLimiter:
    """Fills `RateLimiter`. Exact for one process; all but money begins anew with it.

    `clock` never goes back; `unix_clock` tells UTC's days.
    """

    def __init__(
        self,
        defaults: Allowance | None = None,
        rules: Sequence[LimitRule] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.leaked: deque[Reservation] = deque()
        """What became rubbish without being settled."""
        self._unix_clock = unix_clock
        self._accounts: dict[int | str, Account] = {}
        self._to_examine: deque[int | str] = deque()
        self._spent: dict[int, list[Spending]] = {}
        self.configure(defaults or Allowance(), rules)

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._accounts)

    @property
    def has_budgets(self) -> bool:
        """Whether the defaults or a rule limit money; a key may do so besides."""
        return self._table.has_budgets

    def configure(self, defaults: Allowance, rules: Sequence[LimitRule]) -> None:
        """Have other limits from now on; what was used stays used."""
        self._table = LimitTable(defaults, rules)
        self._is_off = self._table.is_empty
        for account in self._accounts.values():
            account.plans.clear()

    def is_unlimited(self, caller: Caller) -> bool:
        return self._is_off and (caller.key is None or caller.key.is_unlimited)

    def reserve(self, caller: Caller, demand: Demand) -> Reservation | None:
        key = caller.key
        if self._is_off and (key is None or key.is_unlimited):  # as `is_unlimited`
            return None
        account, plan = self._accounts.get(caller.address if key is None else key.id), None
        if account is not None and account.key is key:
            plan = account.plans.get((demand.model, demand.endpoint))
        if plan is None:
            plan = self._plan(caller, key, demand)
        measures = plan.measures
        if not measures:
            return None
        if self.leaked:
            self._release_leaked()
        now, tokens, unix, nanos = self.clock(), demand.tokens, 0.0, 0
        if plan.has_budget:
            unix, nanos = self._unix_clock(), billionths(demand.cost)
        for measure in measures:
            if not measure.has_room(now, unix, tokens, nanos):
                raise plan.refusal(now, unix, tokens, nanos)
        for measure in measures:
            measure.take(tokens, nanos)
        return Reservation(self, plan, unix, tokens, nanos)

    def standing(self, caller: Caller, demand: Demand) -> Standing | None:
        if self.is_unlimited(caller):
            return None
        return self._plan(caller, caller.key, demand).standing(self.clock())

    def reset(self, caller_name: str | None = None) -> int:
        found = [
            account
            for account in self._accounts.values()
            if caller_name is None or account.name in (caller_name, network_of(caller_name))
        ]
        for account in found:
            account.reset()
        return len(found)

    def take_over(self, spent: Iterable[Spending], *, before: float) -> None:
        """Count money that keys spent before a time (Unix seconds), as it was recorded.

        A budget that has been counting since before that time is left alone: it knows better.
        """
        self._spent = {}
        for each in spent:
            self._spent.setdefault(each.key_id, []).append(each)
        for identity, account in self._accounts.items():
            account.take_over(self._spent_by(identity), before=before)

    def _plan(self, caller: Caller, key: ApiKey | None, demand: Demand) -> Plan:
        identity = network_of(caller.address) if key is None else key.id
        account = self._accounts.get(identity)
        if account is None:
            account = self._open_account(identity)
            account.belong_to(key, identity)
        elif account.key is not key:
            account.belong_to(key, identity)
        plan = account.plans.get((demand.model, demand.endpoint))
        if plan is None:
            plan = account.make_plan(self._table, demand, self._moment())
        return plan

    def _open_account(self, identity: int | str) -> Account:
        self._forget_idle()
        self._to_examine.append(identity)
        account = self._accounts[identity] = Account(self._spent_by(identity))
        return account

    def _forget_idle(self) -> None:
        """Look at some of the callers; in time at all of them."""
        at = self._moment()
        for _ in range(min(_EXAMINED, len(self._to_examine))):
            identity = self._to_examine.popleft()
            if self._accounts[identity].is_idle(at):
                del self._accounts[identity]
            else:
                self._to_examine.append(identity)

    def _spent_by(self, identity: int | str) -> Sequence[Spending]:
        return self._spent.get(identity, ()) if isinstance(identity, int) else ()

    def _moment(self) -> Moment:
        return Moment(self.clock(), self._unix_clock())

    def _release_leaked(self) -> None:
        while self.leaked:
            reservation = self.leaked.popleft()
            _log.error("%r was never settled, which is a bug; it is given back.", reservation)
            reservation.settle(tokens=0, cost=0.0)
