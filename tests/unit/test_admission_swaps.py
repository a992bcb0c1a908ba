"""What the queue tells the ledger: who gave way and why, for whom, and what turns have saved."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from gglib_core.admission import AdmissionPolicy, Resident
from gglib_core.admission.arrivals import ArrivalOrder
from gglib_core.swaps import Requester, Victim, VictimReason
from tests.admission import Owner, an_owner, busy
from tests.admission_values import a_model


def victim_of(owner: Owner, model: str) -> Victim | None:
    return resident_of(owner, model).victim


def resident_of(owner: Owner, model: str) -> Resident:
    process = owner.process(model)
    assert process is not None
    return process.resident


def told(owner: Owner, model: str) -> tuple[str, VictimReason]:
    victim = victim_of(owner, model)
    assert victim is not None
    assert victim.model_id == owner.models[victim.name].id
    return victim.name, victim.reason


# Who gave way, and why


def test_a_free_place_is_taken_from_nobody() -> None:
    owner = an_owner()
    owner.ask("a")
    assert victim_of(owner, "a") is None


def test_an_idle_model_goes_for_a_rival() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.ask("b")
    owner.end("a")
    assert told(owner, "b") == ("a", VictimReason.IDLE)


def test_a_model_whose_turn_is_over_goes_although_it_is_wanted() -> None:
    owner = busy("a", quantum_seconds=10.0)
    owner.ask("b")
    owner.pass_time(10.0)
    owner.ask("a")
    owner.finish_all()
    owner.end("a")
    assert told(owner, "b") == ("a", VictimReason.TURN_OVER)


def test_a_model_goes_for_itself_with_a_larger_context() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.ask("a", 8192)
    owner.end("a")
    assert told(owner, "a") == ("a", VictimReason.LARGER_CONTEXT)


def test_a_model_that_was_being_unloaded_for_its_idle_time_is_told_of_as_that() -> None:
    owner = an_owner(idle_seconds=60.0)
    owner.serve("a")
    owner.pass_time(60.0)
    owner.ask("b")
    owner.end("a")
    assert told(owner, "b") == ("a", VictimReason.IDLE_TIMEOUT)


def test_an_unloaded_model_is_told_of_as_that() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.unload("a")
    owner.ask("b")
    owner.end("a")
    assert told(owner, "b") == ("a", VictimReason.UNLOAD)


def test_a_model_that_was_unloaded_in_its_load_is_told_of_as_that() -> None:
    owner = an_owner()
    owner.ask("a")
    owner.unload("a")
    owner.ask("b")
    owner.end("a")
    assert told(owner, "b") == ("a", VictimReason.UNLOAD)


def test_a_removed_model_is_told_of_as_that() -> None:
    owner = busy("a")
    owner.refresh(without="a")
    owner.ask("b")
    owner.finish_all()
    owner.end("a")
    assert told(owner, "b") == ("a", VictimReason.REMOVED)


def test_a_load_that_nobody_wants_goes_as_unwanted() -> None:
    owner = an_owner()
    gone = owner.ask("a")
    owner.ask("b")
    owner.leave(gone)
    owner.end("a")
    assert told(owner, "b") == ("a", VictimReason.UNWANTED)


def test_the_place_of_a_crashed_model_is_told_of_as_that() -> None:
    owner = busy("a")
    owner.ask("b")
    owner.die("a")
    owner.end("a")
    assert told(owner, "b") == ("a", VictimReason.CRASHED)


def test_the_place_of_a_failed_load_is_told_of_as_that() -> None:
    owner = an_owner()
    owner.ask("a")
    owner.ask("b")
    owner.fail("a")
    assert told(owner, "b") == ("a", VictimReason.FAILED)


def test_who_takes_the_place_later_takes_it_from_nobody() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.unload("a")
    owner.end("a")
    owner.ask("b")
    assert victim_of(owner, "b") is None


def test_the_pinned_models_that_were_spared_are_named() -> None:
    models = [a_model("a"), a_model("b", is_pinned=True), a_model("c", is_pinned=True), "d"]
    owner = an_owner(*models, max_resident=3)
    for name in ("a", "b", "c"):
        owner.serve(name)
    owner.ask("d")
    owner.end("a")
    victim = victim_of(owner, "d")
    assert victim is not None
    assert victim.spared == ("b", "c")


# For whom


def test_the_one_who_has_waited_longest_is_named() -> None:
    owner = busy("a")
    first, second = Requester(request_id="1", key_name="k"), Requester(request_id="2")
    model = owner.models["b"]
    for requester in (first, second):
        owner.queue.request(model, 4096, owner.now, handle=None, requester=requester)
    resident = resident_of(owner, "a")
    owner.queue.release(resident, owner.now)
    owner.queue.exited(resident, owner.now)
    assert owner.queue.residents[model.id].requester == first


def test_requests_that_waited_for_the_launch_have_smaller_numbers_than_it() -> None:
    owner = an_owner()
    waited = owner.ask("a")
    owner.load("a")
    owner.pass_time(1.0)
    visit = owner.ask("a", may_load=False)
    number = resident_of(owner, "a").ready_number
    assert waited.ticket is not None
    assert visit.ticket is not None
    assert waited.ticket.number < number < visit.ticket.number


# What turns have saved


def test_requests_that_come_by_turns_are_swaps_that_were_avoided() -> None:
    owner = an_owner()
    for model in ("a", "b", "a", "b", "a"):
        owner.ask(model)
    owner.load("a")
    first = resident_of(owner, "a")
    owner.finish_all()
    owner.end("a")
    owner.load("b")
    second = resident_of(owner, "b")
    assert (first.served, first.avoided) == (3, 2)
    assert (second.served, second.avoided) == (2, 1)


def test_requests_of_one_model_in_a_row_save_nothing() -> None:
    owner = an_owner()
    for _ in range(3):
        owner.ask("a")
    owner.load("a")
    owner.ask("a")
    assert (resident_of(owner, "a").served, resident_of(owner, "a").avoided) == (4, 0)


def test_a_request_that_is_leased_at_once_may_have_been_saved_too() -> None:
    owner = busy("a")
    gone = owner.ask("b")
    owner.leave(gone)
    owner.ask("a")
    assert resident_of(owner, "a").avoided == 1


def test_models_that_have_places_beside_each_other_save_each_other_nothing() -> None:
    owner = an_owner(max_resident=2)
    owner.serve("a")
    owner.serve("b")
    for model in ("a", "b", "a"):
        owner.ask(model)
    assert [resident_of(owner, model).avoided for model in ("a", "b")] == [0, 0]


def test_visits_and_refused_requests_are_in_no_order() -> None:
    owner = busy("a", queue_limit=1)
    owner.ask("b", may_load=False)
    owner.ask("c")
    owner.ask("b")
    assert owner.queue.waiting_count == 1
    owner.ask("a", may_load=False)
    assert resident_of(owner, "a").avoided == 0


@given(st.integers(1, 3), st.lists(st.integers(1, 5), max_size=60))
def test_the_order_of_arrival_costs_what_least_recently_used_costs(
    places: int, arrivals: list[int]
) -> None:
    order = ArrivalOrder(AdmissionPolicy(max_resident=places))
    cache, misses, noted = OrderedDict[int, None](), 0, 0
    for model_id in arrivals:
        if model_id in cache:
            cache.move_to_end(model_id)
        else:
            misses += 1
            cache[model_id] = None
            if len(cache) > places:
                cache.popitem(last=False)
        noted += order.note(model_id)
        assert order.latest == model_id
    assert noted == misses
