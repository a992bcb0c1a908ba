"""The tools that a request offers, whether one is called, and with which arguments.

With `auto` a tool is called where the last message shares a word with its name or description and
is no tool's result: so an agent's loop comes to an end. Its arguments are valid for its schema.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any, Literal, cast

import msgspec

from gglib_runtime.simulator.generation import ToolCall
from gglib_runtime.simulator.reading.parameters import as_object
from gglib_runtime.simulator.schemas.values import make_value
from gglib_runtime.simulator.text import split_tokens

Mode = Literal["none", "auto", "required"]
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_EMPTY = """
a an and any are as at be by call do for from function get has have how i in is it list me my new of
on or read run set that the this to tool use using what with you your
"""
_EMPTY_WORDS = frozenset(_EMPTY.split())
_FALLBACK_WORDS = ("alpha", "beta", "gamma")


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call."""

    name: str
    description: str = ""
    schema: Any = None
    """The JSON schema of its arguments; None takes none."""


class ToolUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says about its tools."""

    tools: tuple[Tool, ...] = ()
    mode: Mode = "auto"
    only: str | None = None
    """The one tool that must be called."""
    is_parallel: bool = True
    follows_result: bool = False
    """Whether the last message is a tool's result."""


NO_TOOLS = ToolUse()


def tools_to_call(use: ToolUse, asked: str) -> list[Tool]:
    """The tools that are called for what was asked, in the order they were offered."""
    if use.mode == "none" or not use.tools:
        return []
    if use.only is not None:
        return [tool for tool in use.tools if tool.name == use.only][:1]
    if use.follows_result and use.mode == "auto":
        return []
    wanted = _words(asked)
    found = [tool for tool in use.tools if _words(tool.name) & wanted]
    found = found or [tool for tool in use.tools if _words(tool.description) & wanted][:1]
    if not found and use.mode == "required":
        found = [use.tools[0]]
    return found if use.is_parallel else found[:1]


def tool_call(tool: Tool, asked: str, random: Random) -> ToolCall:
    """A call of the tool, with valid arguments made of what was asked."""
    words = [word.strip("?!.,:;") for word in asked[:2000].split()]
    able = [word for word in words if word.casefold() not in _EMPTY_WORDS and word]
    schema = as_object(tool.schema)
    takes_some = bool(schema.keys() - {"type", "$schema", "additionalProperties"})
    value: Any = make_value(schema, random, able or _FALLBACK_WORDS) if takes_some else {}
    arguments = msgspec.json.encode(as_object(value)).decode()
    return ToolCall(name=tool.name, pieces=split_tokens(arguments))


def _words(text: str) -> set[str]:
    """The words that say something, without the plural's s."""
    return {
        word.removesuffix("s")
        for word in map(str.casefold, cast("Sequence[str]", _WORD.findall(text[:4000])))
        if word not in _EMPTY_WORDS and len(word) > 2
    }
