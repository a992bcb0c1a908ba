"""Unloading by order, changes of the catalog, and closing: what happens to whom."""

from __future__ import annotations

from gglib_core.admission import StopReason
from gglib_core.errors import AdmissionWithdrawn, ShuttingDown
from tests.admission import READY, an_owner
from tests.admission_values import a_model

UNLOAD, ABORT = StopReason.UNLOAD, StopReason.ABORT


def test_unloading_lets_running_answers_end() -> None:
    owner = an_owner(a_model("a", is_pinned=True))
    owner.ask("a")
    owner.load("a")
    owner.unload("a")
    assert owner.stopped == []
    owner.finish_all()
    assert owner.stopped == [("a", UNLOAD)]


def test_unloading_rejects_those_that_wait_for_the_model() -> None:
    owner = an_owner()
    loading = owner.ask("a")
    queued = owner.ask("b")
    owner.unload("a")
    assert isinstance(loading.error, AdmissionWithdrawn)
    assert owner.stopped == [("a", ABORT)]
    owner.unload("b")
    assert isinstance(queued.error, AdmissionWithdrawn)


def test_unloading_everything_rejects_all_who_wait() -> None:
    owner = an_owner()
    owner.ask("a")
    owner.ask("b")
    owner.unload()
    assert owner.waiting == []
    owner.end("a")
    assert owner.processes == []


def test_requests_that_come_during_an_unload_wait_and_load_the_model_anew() -> None:
    owner = an_owner()
    owner.ask("a")
    owner.load("a")
    owner.unload("a")
    request = owner.ask("a")
    assert request.is_waiting
    owner.come_to_rest()
    assert request.waited is not None
    assert owner.launched == ["a", "a"]


def test_nobody_is_stopped_for_a_place_that_an_unload_will_free_soon() -> None:
    owner = an_owner(max_resident=2)
    owner.ask("b")
    owner.load("b")
    owner.pass_time(1.0)
    running = owner.ask("a")
    owner.load("a")
    owner.unload("a")
    c = owner.ask("c")
    owner.pass_time(60.0)
    assert owner.ask("b").is_leasing
    owner.finish(running)
    owner.end("a")
    owner.load("c")
    assert c.is_leasing


def test_an_idle_model_goes_rather_than_that_somebody_waits_for_an_unload() -> None:
    owner = an_owner(max_resident=2)
    owner.ask("a")
    owner.load("a")
    owner.serve("b")
    owner.unload("a")
    owner.ask("c")
    assert owner.stopped == [("b", StopReason.SWAP)]


def test_unloading_what_does_not_run_does_nothing() -> None:
    owner = an_owner()
    owner.unload("a")
    owner.unload()
    assert owner.stopped == []


# The catalog


def test_a_model_that_is_taken_out_of_the_catalog_is_unloaded() -> None:
    owner = an_owner()
    running, queued = owner.ask("a"), owner.ask("b")
    owner.load("a")
    owner.refresh(without="a")
    assert running.is_leasing
    owner.finish(running)
    assert owner.stopped == [("a", UNLOAD)]
    owner.refresh(without="b")
    assert isinstance(queued.error, AdmissionWithdrawn)


def test_a_change_that_concerns_nobody_stops_nobody() -> None:
    owner = an_owner()
    owner.serve("a")
    owner.change("a", tags=("fast",))
    owner.change("b", tags=("slow",))
    assert owner.state("a") is READY


# Closing


def test_closing_rejects_who_waits_and_who_comes_and_lets_answers_end() -> None:
    owner = an_owner()
    running, waiting = owner.ask("a"), owner.ask("b")
    owner.load("a")
    owner.close()
    assert isinstance(waiting.error, ShuttingDown)
    assert isinstance(owner.ask("a").error, ShuttingDown)
    assert isinstance(owner.ask("a", may_load=False).error, ShuttingDown)
    owner.finish(running)
    assert owner.state("a") is READY
