"""Every short sequence of events, from several beginnings: what must hold, holds after each step.

`tests.admission.Owner` checks after each event; here everything that may happen next does happen.
From the end of each sequence the queue is brought to rest, and nobody may be left waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.admission import READY, STARTING, STOPPING, Owner, an_owner

Event = tuple[str, object]
Beginning = Callable[[Owner], None]


def nothing_yet(owner: Owner) -> None:
    pass


def a_answers(owner: Owner) -> None:
    owner.ask("a")
    owner.load("a")


def a_answers_and_b_waits(owner: Owner) -> None:
    a_answers(owner)
    owner.ask("b")


def a_has_had_its_turn_and_both_wait(owner: Owner) -> None:
    a_answers_and_b_waits(owner)
    owner.pass_to_deadline()
    owner.ask("a")


def a_lingers_and_b_waits(owner: Owner) -> None:
    owner.serve("a")
    owner.serve("a")
    owner.ask("b")


def a_goes_and_both_wait(owner: Owner) -> None:
    owner.serve("a")
    owner.ask("b")
    owner.ask("a")


def a_loads_for_nobody(owner: Owner) -> None:
    owner.leave(owner.ask("a"))


def a_has_crashed_once(owner: Owner) -> None:
    a_answers(owner)
    owner.crash("a")
    owner.ask("a")


BEGINNINGS = [
    nothing_yet,
    a_answers,
    a_answers_and_b_waits,
    a_has_had_its_turn_and_both_wait,
    a_lingers_and_b_waits,
    a_goes_and_both_wait,
    a_loads_for_nobody,
    a_has_crashed_once,
]


def possible_events(owner: Owner) -> Iterator[Event]:
    for model in owner.models:
        if sum(each.model == model and not each.has_ended for each in owner.requests) < 2:
            yield "ask", model
    for request in {id(each): each for each in (*owner.waiting[:1], *owner.waiting[-1:])}.values():
        yield "leave", owner.requests.index(request)
    for model in owner.models:
        for request in [each for each in owner.leasing if each.model == model][:1]:
            yield "finish", owner.requests.index(request)
    for process in owner.processes:
        model = process.resident.model.name
        if process.resident.state is STOPPING:
            yield from [("end", model), ("load", model)]
        elif process.resident.state is STARTING:
            yield from [("load", model), ("fail", model), ("unload", model)]
        elif process.resident.state is READY:
            yield from [("die", model), ("unload", model)]
    if owner.queue.deadline < float("inf"):
        yield "pass_to_deadline", None


def happen(owner: Owner, event: Event) -> None:
    name, argument = event
    if isinstance(argument, int):
        argument = owner.requests[argument]
    try:
        getattr(owner, name)(*([] if argument is None else [argument]))
    except AssertionError as error:
        error.add_note(f"after {event}")
        raise


def explore(owner: Owner, depth: int) -> int:
    """Let everything happen that may; return the number of sequences."""
    sequences = 0
    events = list(possible_events(owner)) if depth else []
    for event in events:
        other = owner.fork()
        happen(other, event)
        try:
            sequences += explore(other, depth - 1)
        except AssertionError as error:
            error.add_note(f"after {event}")
            raise
    deadline = owner.queue.deadline
    owner.tick()
    assert owner.fresh_actions == [], "something was left undone"
    assert owner.now < deadline <= owner.queue.deadline
    if not depth:
        owner.come_to_rest()
    return sequences or 1


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("max_resident", [1, 2])
def test_whatever_happens_next_everything_holds_and_everybody_is_served(
    beginning: Beginning, max_resident: int
) -> None:
    owner = an_owner("a", "b", max_resident=max_resident)
    beginning(owner)
    assert explore(owner, depth=4) > 100


def test_with_two_places_and_three_models_too() -> None:
    owner = an_owner("a", "b", "c", max_resident=2)
    a_answers_and_b_waits(owner)
    owner.load("b")
    owner.ask("c")
    assert explore(owner, depth=3) > 100


def test_with_an_idle_time_out_and_no_quantum_too() -> None:
    owner = an_owner("a", "b", quantum_seconds=0.0, idle_seconds=5.0)
    owner.serve("a")
    assert explore(owner, depth=4) > 100
