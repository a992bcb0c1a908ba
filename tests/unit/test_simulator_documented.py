"""What docs/simulator.md says of the simulator is so, and nothing is missing there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import msgspec

from gglib_runtime.simulator.admin.metrics import render_metrics
from gglib_runtime.simulator.behaviour import Behaviour
from gglib_runtime.simulator.faults.schema import FaultKind, Match
from gglib_runtime.simulator.latency.library import shipped_profiles
from gglib_runtime.simulator.latency.profile import LatencyProfile
from gglib_runtime.simulator.scenarios.library import shipped_names
from gglib_runtime.simulator.scenarios.schema import Phase, Scenario
from gglib_runtime.simulator.tallies import Tallies

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
WORDS = set(re.findall(r"`([^`\n]+)`", PAGE))


def test_every_profile_scenario_and_fault_is_there() -> None:
    named = {*shipped_profiles(), *shipped_names(), *get_args(FaultKind)}
    assert named <= WORDS


def test_every_field_of_a_phase_and_of_a_match_is_there() -> None:
    fields = {*Phase.__struct_fields__, *Match.__struct_fields__} - {"name", "seconds"}
    assert fields <= WORDS


def test_every_metric_is_there() -> None:
    names = re.findall(rb"^# TYPE (\S+)", render_metrics(Tallies()), re.MULTILINE)
    assert all(f"`{name.decode()}" in PAGE for name in names)


def test_the_examples_are_what_the_simulator_takes() -> None:
    kinds = {"first_token": LatencyProfile, "description": Scenario, "profile": Behaviour}
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    taken = [msgspec.convert(tomllib.loads(text), kinds[text.split()[0]]) for text in examples]
    assert {type(each) for each in taken} == set(kinds.values())
