"""Pinned models: they go for no rival."""

from __future__ import annotations

from gglib_core.admission import StopReason
from gglib_core.errors import EveryModelPinned
from tests.admission import READY, an_owner
from tests.admission_values import a_model


def test_a_pinned_model_goes_for_no_rival_and_the_rival_is_told_at_once() -> None:
    owner = an_owner(a_model("a", is_pinned=True), "b")
    owner.serve("a")
    assert isinstance(owner.ask("b").error, EveryModelPinned)
    assert owner.stopped == []


def test_a_pinned_model_that_still_loads_is_in_nobodys_way_either() -> None:
    owner = an_owner(a_model("a", is_pinned=True), "b")
    owner.leave(owner.ask("a"))
    assert isinstance(owner.ask("b").error, EveryModelPinned)


def test_beside_a_pinned_model_the_others_share_what_is_left() -> None:
    owner = an_owner(a_model("a", is_pinned=True), "b", "c", max_resident=2)
    owner.serve("a")
    owner.serve("b")
    owner.ask("c")
    assert owner.stopped == [("b", StopReason.SWAP)]


def test_a_pinned_model_that_is_being_unloaded_leaves_its_place_to_a_rival() -> None:
    owner = an_owner(a_model("a", is_pinned=True), "b")
    owner.serve("a")
    owner.unload("a")
    rival = owner.ask("b")
    owner.end("a")
    owner.load("b")
    assert rival.is_leasing


def test_who_waits_when_the_last_place_becomes_a_pinned_ones_is_told() -> None:
    owner = an_owner("a", a_model("b", is_pinned=True), "c")
    owner.serve("a")
    owner.ask("b")
    c = owner.ask("c")
    assert c.is_waiting
    owner.end("a")
    assert isinstance(c.error, EveryModelPinned)


def test_pinning_a_model_saves_it_from_a_rival_that_waits_for_it() -> None:
    owner = an_owner()
    running = owner.ask("a")
    owner.load("a")
    rival = owner.ask("b")
    owner.change("a", is_pinned=True)
    assert isinstance(rival.error, EveryModelPinned)
    owner.finish(running)
    assert owner.state("a") is READY


def test_a_pin_set_while_the_model_waits_counts_from_its_launch() -> None:
    owner = an_owner()
    owner.serve("b")
    owner.ask("a")
    owner.change("a", is_pinned=True)
    owner.end("b")
    assert isinstance(owner.ask("b").error, EveryModelPinned)


def test_a_pinned_model_is_relaunched_for_a_larger_context_of_its_own() -> None:
    owner = an_owner(a_model("a", is_pinned=True))
    owner.serve("a")
    owner.ask("a", 8192)
    assert owner.stopped == [("a", StopReason.RELAUNCH)]
