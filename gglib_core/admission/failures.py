"""Which launches have failed lately, and for how long they are not tried again.

Not here: what a failure means for those that wait.
"""

from __future__ import annotations

from collections.abc import Mapping

from gglib_core.admission.values import AdmissionPolicy, Failure, Resident, ResidentState
from gglib_core.errors import LaunchFailed
from gglib_core.models import Model

_RETRY_AT_ONCE_SECONDS = 1.0
_DOUBLINGS_LIMIT = 32


class FailureMemory:
    """The failures by model id; those whose time is over are history."""

    def __init__(self, policy: AdmissionPolicy) -> None:
        self._policy = policy
        self.known: dict[int, Failure] = {}

    def current(self, model_id: int, now: float) -> LaunchFailed | None:
        """The failure that still keeps the model from being launched."""
        failure = self.known.get(model_id)
        if failure is None or now >= failure.until:
            return None
        return _retold(failure.error, failure.until - now, is_remembered=True)

    def remember_load(self, resident: Resident, error: LaunchFailed, now: float) -> LaunchFailed:
        """A load failed: that costs time at once."""
        return self._remember(resident, error, now, free=0)

    def remember_crash(self, resident: Resident, error: LaunchFailed, now: float) -> LaunchFailed:
        """A process died that had been ready: the first time costs nothing yet."""
        return self._remember(resident, error, now, free=1)

    def forget(self, model_id: int) -> None:
        self.known.pop(model_id, None)

    def forget_changed(self, models: Mapping[int, Model]) -> None:
        """Forget the failures of models that are not any more what was launched."""
        for model_id, failure in list(self.known.items()):
            if models.get(model_id) != failure.model:
                del self.known[model_id]

    def _remember(
        self, resident: Resident, error: LaunchFailed, now: float, *, free: int
    ) -> LaunchFailed:
        if resident.model != resident.launched_as:
            return _retold(error, _RETRY_AT_ONCE_SECONDS)
        count = self._count(resident, now)
        wait = self._wait_seconds(count - free)
        kept = _retold(error, wait)
        self.known[resident.model.id] = Failure(resident.model, kept, count, now + wait)
        return kept

    def _count(self, resident: Resident, now: float) -> int:
        """How many failures came in a row; a long time without one begins a new row."""
        earlier = self.known.get(resident.model.id)
        limit = self._policy.backoff_limit_seconds
        was_stable = resident.state is ResidentState.READY and now > resident.changed + limit
        if earlier is None or was_stable or resident.launched > earlier.until + limit:
            return 1
        return earlier.count + 1

    def _wait_seconds(self, costly: int) -> float:
        if costly <= 0:
            return 0.0
        doublings = min(costly - 1, _DOUBLINGS_LIMIT)
        wait = self._policy.backoff_seconds * 2.0**doublings
        return min(self._policy.backoff_limit_seconds, wait)


def _retold(
    error: LaunchFailed, retry_after_seconds: float, *, is_remembered: bool = False
) -> LaunchFailed:
    return LaunchFailed(
        error.model,
        error.failure,
        error.detail,
        error.log,
        retry_after_seconds,
        is_remembered=is_remembered,
    )
