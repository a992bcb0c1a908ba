"""What an answer to a request says: prose, JSON of a form, or tools that are called.

Knows limits and stop strings. Not here: how the request was read, and in which shape it answers.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from gglib_runtime.simulator.generation import ApiError, Choice, ToolCall
from gglib_runtime.simulator.prose import echoing_words, prose_words
from gglib_runtime.simulator.schemas.merging import SchemaError
from gglib_runtime.simulator.schemas.values import make_value
from gglib_runtime.simulator.text import split_tokens
from gglib_runtime.simulator.tools import NO_TOOLS, ToolUse, tool_call, tools_to_call


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks of its answers."""

    asked: str
    """The text to answer."""
    limit: int | None = None
    """The most tokens of one answer; None for as many as there are."""
    count: int = 1
    """How many answers."""
    stops: tuple[str, ...] = ()
    seed: int | None = None
    schema: Any = None
    """A JSON schema that the text must be valid for; None for prose."""
    use: ToolUse = NO_TOOLS


class Author(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers."""

    model: str
    length: int
    """Tokens of prose, where nothing limits it."""
    seed: int | None = None
    """Of answers whose request has none of its own."""
    is_plain: bool
    """Whether the answers name the model and echo what was asked, for tests to see; else prose."""


def make_choices(author: Author, wanted: Wanted, most: int) -> list[Choice]:
    """The answers, none longer than `most` tokens; raises ApiError where none can be made."""
    return [_choice(author, wanted, most, index) for index in range(wanted.count)]


def _choice(author: Author, wanted: Wanted, most: int, index: int) -> Choice:
    called = tools_to_call(wanted.use, wanted.asked)
    if called or wanted.schema is not None:
        random = Random(_seed(author, wanted, index))  # noqa: S311 - nothing secret is made
        try:
            if called:
                calls = [tool_call(tool, wanted.asked, random) for tool in called]
                return _limited(Choice(words=[], calls=calls, finish="tool_calls"), most)
            value = make_value(wanted.schema, random, wanted.asked.split())
        except SchemaError as error:
            raise ApiError(400, f"Failed to initialize samplers: {error}") from error
        return _stopped(_limited(Choice(words=_json_words(value)), most), wanted.stops)
    return _stopped(_prose(author, wanted, most, index), wanted.stops)


def _prose(author: Author, wanted: Wanted, most: int, index: int) -> Choice:
    count = min(author.length, most)
    finish = "length" if most < author.length else "stop"
    if author.is_plain:
        return Choice(words=echoing_words(author.model, wanted.asked, count), finish=finish)
    seed = _seed(author, wanted, index)
    words = prose_words(wanted.asked, count, seed, is_ended=finish == "stop")
    return Choice(words=words, finish=finish)


def _seed(author: Author, wanted: Wanted, index: int) -> str:
    seed = author.seed if wanted.seed is None else wanted.seed
    return f"{seed} {author.model} {index} {wanted.asked}"


def _json_words(value: object) -> list[str]:
    return split_tokens(msgspec.json.encode(value).decode())


def _limited(choice: Choice, most: int) -> Choice:
    """The choice without what is beyond its limit."""
    if choice.count <= most:
        return choice
    choice.words = choice.words[:most]
    left = most - len(choice.words)
    kept: list[ToolCall] = []
    for call in choice.calls:
        if left <= 0:
            break
        call.pieces = call.pieces[:left]
        left -= len(call.pieces)
        kept.append(call)
    choice.calls = kept
    choice.finish = "length"
    return choice


def _stopped(choice: Choice, stops: tuple[str, ...]) -> Choice:
    """The choice up to where the first of the stop strings begins."""
    if not stops:
        return choice
    text = choice.text
    found = [(text.find(stop), stop) for stop in stops if stop in text]
    if not found:
        return choice
    end, stop = min(found)
    words: list[str] = []
    for word in choice.words:
        if end <= 0:
            break
        words.append(word[:end])
        end -= len(word)
    choice.words = words or [""]
    choice.finish, choice.stopped_by = "stop", stop
    return choice
