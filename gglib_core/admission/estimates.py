"""How long a request will probably wait: a guess for people and for `Retry-After`.

Not here: anything that is decided by it; nothing is.
"""

from __future__ import annotations

from collections.abc import Iterable

from gglib_core.admission.places import Places
from gglib_core.admission.values import AdmissionPolicy, Resident, ResidentState
from gglib_core.launch_costs import LaunchCosts
from gglib_core.models import Model
from gglib_core.swaps import launch_key

_SOON_SECONDS = 1.0
_SHARE_OF_OVERRUN = 0.1


class WaitEstimate:
    """Learns how long the loads take."""

    def __init__(self, policy: AdmissionPolicy, places: Places, costs: LaunchCosts) -> None:
        self._policy = policy
        self._places = places
        self._costs = costs

    def loaded(self, resident: Resident, now: float) -> None:
        self._costs.learn_seconds(launch_key(resident.launched_as), now - resident.launched)

    def seconds(self, model: Model, now: float) -> float:
        """Until a request for the model is served: never less than a second, and finite."""
        resident = self._places.residents.get(model.id)
        if resident is not None and not resident.is_leaving:
            return max(_SOON_SECONDS, self._rest_of_load(resident, now))
        wait = self._load(model) + self._until_free(now)
        wait += sum(
            self._load(rival) + self._policy.quantum_seconds for rival in self._ahead(model.id)
        )
        return max(_SOON_SECONDS, wait)

    def _load(self, model: Model) -> float:
        seconds = self._costs.load_seconds(launch_key(model))
        return self._policy.assumed_load_seconds if seconds is None else seconds

    def _rest_of_load(self, resident: Resident, now: float) -> float:
        """What is left of the time that it took before; then, a share of what it takes."""
        if resident.state is not ResidentState.STARTING:
            return 0.0
        taken = now - resident.launched
        return max(taken * _SHARE_OF_OVERRUN, self._load(resident.launched_as) - taken)

    def _until_free(self, now: float) -> float:
        if self._places.has_free:
            return 0.0
        return min(self._rest_of_turn(each, now) for each in self._places.residents.values())

    def _rest_of_turn(self, resident: Resident, now: float) -> float:
        quantum = self._policy.quantum_seconds
        if resident.state is ResidentState.STARTING:
            return self._rest_of_load(resident, now) + quantum
        if resident.is_leaving or not resident.leases:
            return 0.0
        return max(0.0, resident.changed + quantum - now)

    def _ahead(self, model_id: int) -> Iterable[Model]:
        """The models that wait for a place before this one; all, while it does not wait."""
        for line in self._places.demands():
            if line.model.id == model_id:
                return
            yield line.model
