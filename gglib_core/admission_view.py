"""What people are shown of admission: each model that has a place, waits for one, or failed.

Not here: what only a process can tell.
"""

from __future__ import annotations

from collections.abc import Mapping

from gglib_core.admission import AdmissionQueue, Failure, Resident, ResidentState
from gglib_core.models import Model, ModelState, RunningModel

_STATES = {
    ResidentState.STARTING: ModelState.LOADING,
    ResidentState.READY: ModelState.LOADED,
    ResidentState.STOPPING: ModelState.STOPPING,
}


def current_models(
    queue: AdmissionQueue, asked: Mapping[int, Model], now: float
) -> list[RunningModel]:
    """By id; `asked` has every model that is waited for."""
    shown = {
        model_id: _resident(queue, resident, now) for model_id, resident in queue.residents.items()
    }
    for model_id, failure in queue.failures.items():
        if model_id not in shown:
            shown[model_id] = _failed(model_id, failure)
    for model_id in queue.waiting_models() - shown.keys():
        shown[model_id] = _waiting(queue, asked[model_id], now)
    return [shown[model_id] for model_id in sorted(shown)]


def _resident(queue: AdmissionQueue, resident: Resident, now: float) -> RunningModel:
    model, waiting = resident.model, queue.waiting_for(resident.model.id)
    is_expected = waiting or resident.state is not ResidentState.READY
    return RunningModel(
        model_id=model.id,
        name=model.name,
        state=_STATES[resident.state],
        context=resident.context,
        leases=resident.leases,
        waiting=waiting,
        since_seconds=now - resident.changed,
        is_pinned=model.is_pinned,
        expected_seconds=queue.expected_wait(model, now) if is_expected else None,
    )


def _failed(model_id: int, failure: Failure) -> RunningModel:
    return RunningModel(
        model_id=model_id,
        name=failure.model.name,
        state=ModelState.FAILED,
        context=0,
        failure=str(failure.error),
        is_pinned=failure.model.is_pinned,
    )


def _waiting(queue: AdmissionQueue, model: Model, now: float) -> RunningModel:
    return RunningModel(
        model_id=model.id,
        name=model.name,
        state=ModelState.UNLOADED,
        context=0,
        waiting=queue.waiting_for(model.id),
        is_pinned=model.is_pinned,
        expected_seconds=queue.expected_wait(model, now),
    )
