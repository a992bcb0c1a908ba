"""Whom the simulator's faults strike, and the bytes that they spoil."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gglib_runtime.simulator.behaviour import (
    BadBehaviour,
    Behaviour,
    changed_behaviour,
    changed_plan,
    read_behaviour,
)
from gglib_runtime.simulator.faults import spoiling
from gglib_runtime.simulator.faults.injector import Asked, FaultInjector
from gglib_runtime.simulator.faults.schema import Fault, FaultKind


def asked(**facts: Any) -> Asked:
    plain: dict[str, Any] = {
        "model": "gpt-4",
        "key": "sk-1",
        "endpoint": "/v1/chat/completions",
        "body": b'{"messages":[{"content":"tell me a joke"}]}',
        "is_stream": False,
    }
    return Asked(**(plain | facts))


def struck(fault: dict[str, Any], requests: int = 6, at: float = 0.0, seed: int = 0) -> str:
    """Which of so many requests are struck, as a line of `x` and `.`."""
    injector = FaultInjector([msgspec.convert({"kind": "close"} | fault, Fault)], seed)
    return "".join(
        "x" if injector.choose(asked(), at) is not None else "." for _ in range(requests)
    )


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ({}, "xxxxxx"),
        ({"from_request": 3}, "..xxxx"),
        ({"from_request": 2, "requests": 2}, ".xx..."),
        ({"sequence": "..x"}, "..x..x"),
        ({"from_request": 2, "sequence": "x."}, ".x.x.x"),
        ({"at_most": 2}, "xx...."),
        ({"sequence": ".x", "at_most": 1}, ".x...."),
        ({"probability": 0}, "......"),
        ({"requests": 0}, "......"),
    ],
)
def test_order_and_budget_choose_requests(fault: dict[str, Any], line: str) -> None:
    assert struck(fault) == line


def test_chance_strikes_so_many_and_a_seed_repeats_it() -> None:
    line = struck({"probability": 0.3}, requests=4000)
    assert line.count("x") == pytest.approx(1200, abs=120)
    assert struck({"probability": 0.3}, requests=4000) == line
    assert struck({"probability": 0.3}, requests=4000, seed=1) != line


def test_time_chooses_requests() -> None:
    window = {"from_seconds": 10, "for_seconds": 5}
    assert [struck(window, 1, at) for at in (9.9, 10, 14.9, 15)] == [".", "x", "x", "."]
    assert struck({"from_seconds": 10}, 1, 1e9) == "x"


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        ({"model": "gpt-*"}, {}, {"model": "claude-3"}),
        ({"key": "sk-*"}, {}, {"key": ""}),
        ({"endpoint": "/v1/chat/*"}, {}, {"endpoint": "/v1/messages"}),
        ({"content": "jo[ck]e"}, {}, {"body": b'{"messages":[]}'}),
        ({"stream": False}, {}, {"is_stream": True}),
        ({"model": "gpt-4", "content": "joke"}, {}, {"model": "gpt-3.5"}),
    ],
)
def test_what_is_asked_chooses_requests(
    match: dict[str, Any], yes: dict[str, Any], no: dict[str, Any]
) -> None:
    fault = msgspec.convert({"kind": "close", "match": match}, Fault)
    injector = FaultInjector([fault])
    assert injector.choose(asked(**no), 0) is None
    assert injector.choose(asked(**yes), 0) is fault


def test_only_matching_requests_are_counted() -> None:
    fault = msgspec.convert({"kind": "close", "match": {"model": "a"}, "from_request": 2}, Fault)
    injector = FaultInjector([fault])
    models = ["a", "b", "b", "a"]
    chosen = [injector.choose(asked(model=model), 0) is not None for model in models]
    assert chosen == [False, False, False, True]


def test_the_first_fault_that_strikes_counts_and_the_others_budgets_stay() -> None:
    faults = [
        Fault(kind="status", status=503, sequence="x."),
        Fault(kind="reset", at_most=1),
    ]
    injector = FaultInjector(faults)
    kinds = [fault and fault.kind for fault in (injector.choose(asked(), 0) for _ in range(4))]
    assert kinds == ["status", "reset", "status", None]
    assert injector.struck == {"status_503": 2, "reset": 1}


# the description


@pytest.mark.parametrize(
    ("sim", "message"),
    [
        ('{"load_secs": 1}', "there is no field `load_secs`; did you mean `load_seconds`"),
        ('{"faults": [{"kind": "crush"}]}', r"faults\[0\]\.kind: there is no 'crush'"),
        ('{"faults": [{"kind": "close", "probability": 2}]}', r"faults\[0\]\.probability: "),
        ('{"faults": [{"kind": "close", "sequence": "abc"}]}', r"faults\[0\]\.sequence: "),
        (
            '{"faults": [{"kind": "close", "match": {"content": "("}}]}',
            r"faults\[0\]\.match: `cont",
        ),
        ('{"faults": [{"kind": "status", "status": 200}]}', r"faults\[0\]\.status: "),
        ('{"limits": [{"requests_per_minute": 0}]}', r"limits\[0\]\.requests_per_minute: "),
        ('{"tokens": "many"}', "tokens: Expected `int`, got `str`"),
        ("nonsense", "malformed"),
        ("@/nowhere.json", r"/nowhere\.json: No such file"),
    ],
)
def test_what_makes_no_sense_is_refused_and_the_field_named(sim: str, message: str) -> None:
    with pytest.raises(BadBehaviour, match=f"GGLIB_SIM: .*{message}"):
        read_behaviour({"GGLIB_SIM": sim})


def test_toml_says_the_same_as_json(tmp_path: Any) -> None:
    file = tmp_path / "sim.toml"
    file.write_text(
        'profile = "gpt-4"\n[[faults]]\nkind = "status"\nstatus = 429\nmatch = { model = "a" }\n'
    )
    told = read_behaviour({"GGLIB_SIM": f"@{file}"})
    fault = '{"kind": "status", "status": 429, "match": {"model": "a"}}'
    text = f'{{"profile": "gpt-4", "faults": [{fault}]}}'
    assert told == read_behaviour({"GGLIB_SIM": text})


def test_changes_leave_what_they_do_not_name() -> None:
    behaviour = Behaviour(tokens=5, max_concurrent=2)
    assert changed_behaviour(behaviour, {"slowdown": 2}) == Behaviour(
        tokens=5, max_concurrent=2, slowdown=2
    )
    assert changed_plan(behaviour, {"seed": 1}).tokens == 5
    with pytest.raises(BadBehaviour, match="gglib_sim: there is no field `load_seconds`"):
        changed_plan(behaviour, {"load_seconds": 1})


def test_every_kind_of_fault_is_described() -> None:
    documentation = Fault.__doc__ or ""
    for kind in FaultKind.__args__:  # type: ignore[attr-defined]
        assert f"`{kind}`" in documentation


# bytes

EVENTS = b'data: {"usage":{"prompt_tokens":3}}\n\nevent: x\ndata: {"input_tokens": 2}\n\n'


def test_counts_are_made_wrong_in_every_dialect() -> None:
    spoilt = spoiling.wrong_counts(EVENTS)
    assert b'"prompt_tokens":22' in spoilt
    assert b'"input_tokens":15' in spoilt
    assert len(spoilt.split(b"\n")) == len(EVENTS.split(b"\n"))


def test_json_is_cut_and_events_keep_their_borders() -> None:
    assert spoiling.truncated_json(b'{"a":1234}') == b'{"a":'
    events = spoiling.truncated_json(EVENTS).split(b"\n\n")
    assert len(events) == 3
    for event in events[:-1]:
        data = event.partition(b"data: ")[2]
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(data)


def test_events_are_broken() -> None:
    broken = spoiling.broken_events(EVENTS)
    assert b"data: " not in broken
    assert b"\n\n" not in broken


def test_the_last_event_is_taken_away() -> None:
    assert spoiling.without_last_event(EVENTS) == EVENTS[: EVENTS.index(b"event:")]
    assert spoiling.without_last_event(b"data: [DONE]\n\n") == b""
