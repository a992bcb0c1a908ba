"""The places: who holds them, who wants them, and which resident goes for whom.

Not here: carrying it out. Nothing is stored but the residents, all else is derived from what is,
so that no decision can be out of date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gglib_core.admission.turns import Turns
from gglib_core.admission.values import (
    AdmissionPolicy,
    Resident,
    ResidentState,
    StopReason,
)
from gglib_core.admission.waiting import WaitingLine, WaitingRoom
from gglib_core.swaps import VictimReason

_VICTIM_REASONS = {
    StopReason.SWAP: VictimReason.IDLE,
    StopReason.RELAUNCH: VictimReason.LARGER_CONTEXT,
    StopReason.IDLE: VictimReason.IDLE_TIMEOUT,
    StopReason.ABORT: VictimReason.UNWANTED,
}

Claims = Mapping[Resident, WaitingLine]
"""The residents that stand in somebody's way, each with the line that wants its place."""


class Places:
    """The residents by model id."""

    def __init__(self, policy: AdmissionPolicy, waiting: WaitingRoom, turns: Turns) -> None:
        self._policy = policy
        self._waiting = waiting
        self._turns = turns
        self.residents: dict[int, Resident] = {}
        self._vacated: Resident | None = None

    @property
    def has_free(self) -> bool:
        return len(self.residents) < self._policy.max_resident

    @property
    def are_all_pinned(self) -> bool:
        """Whether no place is free, and none will be."""
        return not self.has_free and all(
            each.model.is_pinned and not each.is_leaving for each in self.residents.values()
        )

    def can_take(self, line: WaitingLine) -> bool:
        return self.has_free and line.model.id not in self.residents

    def take(self, line: WaitingLine, now: float) -> Resident:
        first = line.oldest
        assert first is not None, "a line has somebody in it"
        resident = Resident(line.model, line.fit_to_largest(), launched=now, changed=now)
        resident.requester = first.requester
        if self._vacated is not None:
            resident.victim = self._vacated.as_victim()
            self._vacated = None
        self.residents[line.model.id] = resident
        return resident

    def holds(self, resident: Resident) -> bool:
        return self.residents.get(resident.model.id) is resident

    def drop(self, resident: Resident) -> None:
        del self.residents[resident.model.id]
        self._turns.leave(resident)
        self._vacated = resident

    def close_gap(self) -> None:
        """Nobody has taken the place that became free: who takes it later, takes it from no one."""
        self._vacated = None

    def demands(self) -> list[WaitingLine]:
        """The lines that no resident serves or will serve, the most entitled first."""
        unserved: list[tuple[WaitingLine, Resident | None]] = []
        for line in self._waiting.lines:
            resident = self.residents.get(line.model.id)
            if line.oldest_unserved(resident):
                unserved.append((line, resident))
        unserved.sort(key=lambda pair: self._turns.order(*pair))
        return [line for line, _ in unserved]

    def claims(self, demands: Sequence[WaitingLine], now: float) -> Claims:
        claims: dict[Resident, WaitingLine] = {}
        stopping = sum(each.state is ResidentState.STOPPING for each in self.residents.values())
        free = self._policy.max_resident - len(self.residents) + stopping
        for line in demands:
            own = self.residents.get(line.model.id)
            if own is not None and own.state is not ResidentState.STOPPING and own not in claims:
                claims[own] = line
            elif free > 0:
                free -= 1
            elif victim := self._pick_victim(claims, now):
                claims[victim] = line
        return claims

    def is_held_back(self, resident: Resident, now: float) -> bool:
        """Whether the resident's new requests wait behind a rival."""
        return self._turns.must_yield(resident, now) and resident in self.claims(
            self.demands(), now
        )

    def stop_reason(
        self, resident: Resident, rival: WaitingLine | None, now: float
    ) -> StopReason | None:
        """Why the resident is to be stopped now, if it is."""
        if resident.state is ResidentState.STOPPING or resident.leases:
            return None
        is_starting = resident.state is ResidentState.STARTING
        if resident.is_unloading:
            return StopReason.ABORT if is_starting else StopReason.UNLOAD
        if rival is not None:
            return self._swap_reason(resident, rival, now)
        if is_starting or not self._turns.is_idle(resident):
            return None
        return StopReason.IDLE if now >= self._turns.unloads_at(resident) else None

    def victim_reason(self, resident: Resident, reason: StopReason) -> VictimReason:
        """The same, as it is told to people."""
        if resident.is_unloading:
            return resident.lost_place_by
        if reason is StopReason.SWAP and not self._turns.is_idle(resident):
            return VictimReason.TURN_OVER
        return _VICTIM_REASONS[reason]

    def spared_for(self, resident: Resident) -> tuple[str, ...]:
        """The models that had to stay when the resident was chosen to go."""
        others = (each.model for each in self.residents.values() if each is not resident)
        return tuple(sorted(model.name for model in others if model.is_pinned))

    def times(self, demands: Sequence[WaitingLine]) -> Iterator[float]:
        """When the passing of time alone changes what is to be done."""
        for resident in self.residents.values():
            if resident.state is not ResidentState.READY:
                continue
            is_idle = self._turns.is_idle(resident)
            if is_idle:
                yield self._turns.unloads_at(resident)
            if demands:
                yield self._turns.quantum_ends(resident)
            if demands and is_idle:
                yield self._turns.lingers_until(resident)

    def _pick_victim(self, taken: Claims, now: float) -> Resident | None:
        candidates = [
            resident
            for resident in self.residents.values()
            if resident not in taken and self._can_go(resident)
        ]
        return min(candidates, key=lambda each: self._rank(each, now), default=None)

    def _can_go(self, resident: Resident) -> bool:
        if resident.state is ResidentState.STOPPING:
            return False
        if resident.is_unloading:
            return True
        if resident.model.is_pinned:
            return False
        return resident.state is ResidentState.READY or not self._turns.is_wanted(resident)

    def _rank(self, resident: Resident, now: float) -> tuple[int, float]:
        """Who goes first: unwanted loads, the idle by age, the leaving, whose turn ends first."""
        if resident.state is ResidentState.STARTING:
            return (0, resident.launched)
        if self._turns.is_free_to_go(resident, now):
            return (1, resident.idle_since)
        return (2 if resident.is_unloading else 3, resident.changed)

    def _swap_reason(self, resident: Resident, rival: WaitingLine, now: float) -> StopReason | None:
        if resident.state is ResidentState.STARTING:
            return None if self._turns.is_wanted(resident) else StopReason.ABORT
        if not self._turns.is_over(resident, now) and not self._turns.is_free_to_go(resident, now):
            return None
        is_own = rival.model.id == resident.model.id
        return StopReason.RELAUNCH if is_own else StopReason.SWAP
