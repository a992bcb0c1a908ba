"""What must hold of an admission queue: after each event, and of each action that it orders."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gglib_core.admission import Resident, ResidentState, StopReason
from tests.admission_values import Process, Request

if TYPE_CHECKING:
    from tests.admission import Owner


def check_invariants(owner: Owner) -> None:
    """Fail where the queue, or what it says of itself, is not as its owner sees it."""
    _check_counts(owner)
    _check_residents(owner)
    if owner.waiting:
        is_under_way = owner.leasing or any(
            each.resident.state is not ResidentState.READY for each in owner.processes
        )
        assert is_under_way or owner.queue.deadline < math.inf, "nothing will ever wake it"


def _check_counts(owner: Owner) -> None:
    queue = owner.queue
    assert len(owner.processes) <= owner.policy.max_resident
    assert {each.resident for each in owner.processes} == set(queue.residents.values())
    assert queue.waiting_count == len(owner.waiting)
    assert queue.waiting_models() == {owner.models[each.model].id for each in owner.waiting}
    for name, model in owner.models.items():
        assert queue.waiting_for(model.id) == sum(each.model == name for each in owner.waiting)
        assert 1.0 <= queue.expected_wait(model, owner.now) < math.inf


def _check_residents(owner: Owner) -> None:
    for process in owner.processes:
        resident = process.resident
        held = sum(each.resident is resident for each in owner.leasing)
        assert resident.leases == held, "a lease has leaked"
        is_ending = process.is_told_to_stop or process.has_died
        assert is_ending == (resident.state is ResidentState.STOPPING)
        assert 0 <= resident.avoided <= max(0, resident.served - 1), "more saved than served"


def check_lease(request: Request, process: Process, resident: Resident) -> None:
    """Fail where the request must not be sent to that process."""
    assert request.is_waiting, "a request ends once"
    assert process.resident is resident
    assert resident.state is ResidentState.READY
    assert not process.is_told_to_stop, "nothing is sent into a stopping process"
    assert not process.has_died
    assert not resident.is_unloading
    assert request.is_visit or request.context <= resident.context
    limit = resident.model.max_concurrent
    assert request.is_visit or limit is None or resident.leases <= limit


def check_stop(owner: Owner, process: Process, resident: Resident, reason: StopReason) -> None:
    """Fail where that process must not be stopped, or not for that reason."""
    name = resident.model.name
    assert process.resident is resident
    assert not process.is_told_to_stop, "a process is stopped once"
    assert not process.has_died, "what is dead is not stopped"
    assert not any(each.resident is resident for each in owner.leasing), f"{name} is leased"
    if not resident.is_unloading:
        waiting = (each for each in owner.waiting if each.model == name)
        is_wanted = any(each.context <= resident.context for each in waiting)
        assert process.has_served or not is_wanted, f"{name} never served its first request"
    if reason in {StopReason.SWAP, StopReason.IDLE}:
        assert not resident.model.is_pinned
