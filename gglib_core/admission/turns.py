"""Turns: how long a resident may keep its place, and whose turn comes next.

Not here: which resident goes for whom (places).
"""

from __future__ import annotations

import math

from gglib_core.admission.values import AdmissionPolicy, Resident, ResidentState
from gglib_core.admission.waiting import WaitingLine, WaitingRoom


class Turns:
    """What is remembered about turns, and the questions that it answers."""

    def __init__(self, policy: AdmissionPolicy, waiting: WaitingRoom) -> None:
        self._policy = policy
        self._waiting = waiting
        self._floors: dict[int, int] = {}
        self._left: dict[int, float] = {}
        self.gaps: dict[int, float] = {}
        """By model id: for how long the model last had been idle when a request came."""

    # Memory

    def begin(self) -> None:
        """A model has become ready: who returns to another after that did not come at once."""
        self._left.clear()

    def end(self, resident: Resident, number: int) -> None:
        """The resident goes, or went, while a rival waits for its place.

        The end of a turn takes a number as requests do: what it leaves over comes after all those
        who wait now, and after what was left over before.
        """
        self._floors[resident.model.id] = number

    def leave(self, resident: Resident) -> None:
        """The resident's process is gone."""
        self._left[resident.model.id] = resident.idle_since

    def note_return(self, model_id: int, resident: Resident | None, now: float) -> None:
        """A request has come for a model that nobody used."""
        left = self._left.get(model_id, -math.inf) if resident is None else resident.idle_since
        self.gaps[model_id] = now - left

    # Questions

    def order(self, line: WaitingLine, resident: Resident | None) -> int:
        """By arrival; but what a model left over when its turn ended comes after its rivals."""
        oldest = line.oldest_unserved(resident)
        assert oldest is not None, "only unserved lines are in an order"
        return max(oldest.number, self._floors.get(line.model.id, 0))

    def is_wanted(self, resident: Resident) -> bool:
        return self._waiting.has_fitting(resident.model.id)

    def is_idle(self, resident: Resident) -> bool:
        return not resident.leases and not self.is_wanted(resident)

    def is_over(self, resident: Resident, now: float) -> bool:
        """Whether a rival may end the turn; not before it has served somebody."""
        return resident.served > 0 and now >= self.quantum_ends(resident)

    def is_free_to_go(self, resident: Resident, now: float) -> bool:
        """Whether the resident has nothing to do, and nothing is about to come."""
        return self.is_idle(resident) and (
            self.is_over(resident, now) or now >= self.lingers_until(resident)
        )

    def must_yield(self, victim: Resident, now: float) -> bool:
        """Whether a resident that stands in somebody's way takes no more requests."""
        return victim.state is ResidentState.READY and self.is_over(victim, now)

    def quantum_ends(self, resident: Resident) -> float:
        return resident.changed + self._policy.quantum_seconds

    def lingers_until(self, resident: Resident) -> float:
        linger = self._policy.linger_seconds
        comes_back = self.gaps.get(resident.model.id, math.inf) <= linger
        return resident.idle_since + (linger if comes_back else 0.0)

    def unloads_at(self, resident: Resident) -> float:
        """When an idle resident is unloaded; infinite if it is not."""
        own = resident.model.idle_seconds
        seconds = self._policy.idle_seconds if own is None else own
        if resident.model.is_pinned or not seconds:
            return math.inf
        return resident.idle_since + seconds
