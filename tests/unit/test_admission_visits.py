"""Visits: requests that may not load a model, and do not count as its use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gglib_core.admission import AdmissionPolicy, Resident, StopReason
from gglib_core.admission_desk import AdmissionDesk
from gglib_core.errors import ModelNotLoaded
from gglib_core.models import Target
from tests.admission import an_owner
from tests.admission_values import a_model


def test_a_visit_never_loads_a_model() -> None:
    owner = an_owner()
    assert isinstance(owner.ask("a", may_load=False).error, ModelNotLoaded)
    owner.ask("a")
    assert isinstance(owner.ask("a", may_load=False).error, ModelNotLoaded)
    assert owner.launched == ["a"]


def test_a_visit_is_let_in_past_max_concurrent_and_any_context() -> None:
    owner = an_owner(a_model("a", max_concurrent=1))
    owner.ask("a")
    owner.load("a")
    assert owner.ask("a", 1 << 20, may_load=False).is_leasing


def test_a_visited_model_is_not_stopped() -> None:
    owner = an_owner()
    owner.serve("a")
    visit = owner.ask("a", may_load=False)
    owner.ask("b")
    owner.pass_time(60.0)
    assert owner.stopped == []
    owner.finish(visit)
    assert owner.stopped == [("a", StopReason.SWAP)]


def test_visits_do_not_hold_a_model_against_a_rival_after_its_turn() -> None:
    owner = an_owner()
    owner.serve("a")
    visit = owner.ask("a", may_load=False)
    owner.ask("b")
    owner.pass_time(60.0)
    assert isinstance(owner.ask("a", may_load=False).error, ModelNotLoaded)
    assert visit.is_leasing


def test_visits_do_not_keep_a_model_from_idling() -> None:
    """A page that polls a model would otherwise keep it in memory for ever."""
    owner = an_owner(idle_seconds=60.0)
    owner.serve("a")
    for _ in range(6):
        owner.finish(owner.ask("a", may_load=False))
        owner.pass_time(10.0)
    assert owner.stopped == [("a", StopReason.IDLE)]


def test_a_visit_during_which_the_idle_time_ended_is_the_last_one() -> None:
    owner = an_owner(idle_seconds=60.0)
    owner.serve("a")
    visit = owner.ask("a", may_load=False)
    owner.pass_time(100.0)
    owner.finish(visit)
    assert owner.stopped == [("a", StopReason.IDLE)]


@dataclass
class FakeEngines:
    """Notes what it is to launch, and does nothing."""

    launched: list[Resident] = field(default_factory=list)

    def launch(self, resident: Resident) -> None:
        self.launched.append(resident)

    def stop(self, resident: Resident, reason: StopReason) -> None:
        raise AssertionError(f"nobody is to be stopped: {resident}, {reason}")


@dataclass
class FakeEngine:
    target: Target
    is_live: bool = True
    swap_id: str = "swap-1"


async def test_the_desk_tells_visits_from_other_requests() -> None:
    engines, model = FakeEngines(), a_model("a")
    desk = AdmissionDesk(AdmissionPolicy(), engines)
    first = asyncio.create_task(desk.admit(model, context=4096))
    await asyncio.sleep(0)
    [resident] = engines.launched
    target = Target(
        launch_id="1",
        model_id=model.id,
        model_name="a",
        host="127.0.0.1",
        port=1,
        api_key="",
        context=4096,
    )
    desk.ready(resident, FakeEngine(target))
    (await first).release()
    idle_since = resident.idle_since
    (await desk.admit(model, context=4096, may_load=False)).release()
    assert resident.served == 1
    assert resident.idle_since == idle_since
    desk.close()
