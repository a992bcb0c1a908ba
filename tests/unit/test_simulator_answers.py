"""What the simulator's answers say: limits, stop strings, tools and forms."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gglib_runtime.simulator.answers import Author, Wanted, make_choices
from gglib_runtime.simulator.generation import ApiError
from gglib_runtime.simulator.tools import Tool, ToolUse, tools_to_call

HOSTED = Author(model="m", length=96, is_plain=False)
ENGINE = Author(model="alpha", length=8, is_plain=True)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = Tool(name="get_weather", description="The forecast of a place", schema=SCHEMA)
CLOCK = Tool(name="clock", description="Tells what time it is")


@given(st.text("ab \n", max_size=60), st.integers(1, 200), st.lists(st.text("ab ", min_size=1)))
def test_a_stop_string_is_never_in_the_answer(asked: str, most: int, stops: list[str]) -> None:
    free = make_choices(HOSTED, Wanted(asked=asked), most)[0].text
    wanted = Wanted(asked=asked, stops=tuple(stops))
    choice = make_choices(HOSTED, wanted, most)[0]
    assert free.startswith(choice.text)
    assert not any(stop in choice.text for stop in stops)
    if choice.stopped_by is None:
        assert choice.text == free
    else:
        assert free[len(choice.text) :].startswith(choice.stopped_by)
        assert choice.finish == "stop"
    assert choice.count >= 1


@pytest.mark.parametrize(("most", "count", "finish"), [(5, 5, "length"), (96, 96, "stop")])
def test_a_limit_ends_an_answer(most: int, count: int, finish: str) -> None:
    [choice] = make_choices(HOSTED, Wanted(asked="hello"), most)
    assert (choice.count, choice.finish) == (count, finish)


def test_the_request_s_seed_goes_before_the_simulator_s() -> None:
    def text(own: int | None, asked: int | None) -> str:
        author = replace(HOSTED, seed=own)
        return make_choices(author, Wanted(asked="hello", seed=asked), 96)[0].text

    assert text(1, None) == text(2, 1) == text(None, 1)
    assert text(1, None) != text(2, None)


def test_an_engine_says_its_name_and_what_was_asked() -> None:
    choices = make_choices(ENGINE, Wanted(asked="hello there", count=2), 100)
    assert [choice.text for choice in choices] == ["alpha" + " hello there" * 3 + " hello"] * 2


@given(st.integers(), st.text(max_size=30))
def test_json_is_valid_whatever_is_asked(seed: int, asked: str) -> None:
    [choice] = make_choices(HOSTED, Wanted(asked=asked, seed=seed, schema=SCHEMA), 4096)
    jsonschema.validate(json.loads(choice.text), SCHEMA)
    assert choice.finish == "stop"


def test_a_schema_without_an_end_is_refused() -> None:
    endless: Any = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    with pytest.raises(ApiError, match="Failed to initialize samplers"):
        make_choices(HOSTED, Wanted(asked="x", schema=endless), 10)


def test_arguments_are_made_of_what_was_asked() -> None:
    use = ToolUse(tools=(WEATHER, CLOCK))
    wanted = Wanted(asked="What is the weather in Reykjavik?", use=use)
    [choice] = make_choices(HOSTED, wanted, 4096)
    [call] = choice.calls
    arguments = json.loads(call.arguments)
    jsonschema.validate(arguments, SCHEMA)
    assert {*arguments["city"].split()} <= {"weather", "Reykjavik"}
    assert choice.finish == "tool_calls"
    assert make_choices(HOSTED, wanted, 4096)[0].calls[0].arguments == call.arguments


def test_a_tool_without_a_schema_takes_nothing() -> None:
    use = ToolUse(tools=(CLOCK,), mode="required")
    [choice] = make_choices(HOSTED, Wanted(asked="x", use=use), 100)
    assert choice.calls[0].arguments == "{}"


@pytest.mark.parametrize(
    ("asked", "use", "names"),
    [
        ("weather", {}, ["get_weather"]),
        ("Which places are there?", {}, ["get_weather"]),
        ("hello", {}, []),
        ("get it", {}, []),
        ("weather and clock", {}, ["get_weather", "clock"]),
        ("weather and clock", {"is_parallel": False}, ["get_weather"]),
        ("hello", {"mode": "required"}, ["get_weather"]),
        ("weather", {"mode": "none"}, []),
        ("weather", {"follows_result": True}, []),
        ("weather", {"follows_result": True, "mode": "required"}, ["get_weather"]),
        ("weather", {"only": "clock"}, ["clock"]),
    ],
)
def test_which_tools_are_called(asked: str, use: dict[str, Any], names: list[str]) -> None:
    found = tools_to_call(ToolUse(tools=(WEATHER, CLOCK), **use), asked)
    assert [tool.name for tool in found] == names
