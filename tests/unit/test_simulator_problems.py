"""What is wrong with what the simulator is told: where, and what could have been meant."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gglib_runtime.simulator.behaviour import BadBehaviour, Behaviour, changed_behaviour
from gglib_runtime.simulator.latency.profile import LatencyProfile
from gglib_runtime.simulator.problems import explained
from gglib_runtime.simulator.scenarios.schema import Scenario


def problem(value: Any, kind: type) -> str:
    """What is said of `value`, which is none of that kind."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, kind)
    return explained(caught.value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (
            {"profle": "none"},
            Behaviour,
            "there is no field `profle`; did you mean `profile`?",
        ),
        (
            {"faults": [{"kind": "stauts"}]},
            Behaviour,
            "faults[0].kind: there is no 'stauts'; did you mean 'status'?",
        ),
        (
            {"limits": [{"per": "day"}]},
            Behaviour,
            "limits[0].per: there is no 'day'; known are 'address', 'all', 'client'.",
        ),
        (
            {"phases": [{"name": "x", "faults": [{"kind": "reset", "match": {"zzzz": 1}}]}]},
            Scenario,
            (
                "phases[0].faults[0].match: there is no field `zzzz`; known are `content`, "
                "`endpoint`, `key`, `model`, `stream`."
            ),
        ),
        (
            {"token_gap": {"kind": "lognormal"}},
            LatencyProfile,
            "token_gap.kind: there is no 'lognormal'; did you mean 'log-normal' or 'normal'?",
        ),
        (
            {"token_gap": {"kind": "bimodal", "second_share": 2.0}},
            LatencyProfile,
            "token_gap.second_share: Expected `float` <= 1.0",
        ),
    ],
)
def test_who_misspells_is_told_what_there_is(value: Any, kind: type, said: str) -> None:
    assert problem(value, kind) == said


def test_a_change_by_the_admin_api_is_explained_alike() -> None:
    with pytest.raises(BadBehaviour, match="no field `scenaro`; did you mean `scenario`"):
        changed_behaviour(Behaviour(), {"scenaro": "flaky"})
