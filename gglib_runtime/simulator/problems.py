"""What is wrong with a file or a JSON value that tells the simulator what to do, in words.

msgspec knows where in the value the error is; here that place comes first, as one would write it,
and who misspelt a word is told which there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

_PLACE = re.compile(r"^(?P<problem>.*) - at `(?:key in )?\$\.?(?P<place>[^`]*)`$", re.DOTALL)
_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_VALUE = re.compile(r"Invalid (?:enum )?value ('.*')", re.DOTALL)
_STEP = re.compile(r"\w+|\[[^]]*\]")


def explained(error: Exception, kind: Any = None) -> str:  # noqa: ANN401 -- any type
    """`error` with the field that it is about in front, where one is.

    `kind` is what the value should have been.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    found = _PLACE.match(str(error))
    problem, place = (found["problem"], found["place"]) if found else (str(error), "")
    if kind is not None:
        problem = _with_choice(problem, place, kind)
    if found is None:
        return problem
    return f"{place or 'the whole'}: {problem}"


def _with_choice(problem: str, place: str, kind: Any) -> str:  # noqa: ANN401
    """The problem and what there is to choose from, where it is a word that is not known."""
    steps: list[str] = _STEP.findall(place)
    if named := _FIELD.fullmatch(problem):
        known = {name for each in _types_at(kind, steps) for name in _fields(each)}
        return (
            f"there is no field `{named[1]}`; {_choice(named[1], known, '`')}" if known else problem
        )
    if named := _VALUE.fullmatch(problem):
        word = named[1].strip("'")
        known = {name for each in _types_at(kind, steps) for name in _words(each)}
        known |= {each.tag for each in _types_at(kind, steps[:-1]) if _is_tag(each, steps)}
        return f"there is no {named[1]}; {_choice(word, known, chr(39))}" if known else problem
    return problem


def _choice(word: str, known: Iterable[str], quote: str) -> str:
    from difflib import get_close_matches

    def shown(names: Iterable[str]) -> list[str]:
        return [f"{quote}{name}{quote}" for name in names]

    close = get_close_matches(word, sorted(known), n=2, cutoff=0.7)
    if close:
        return f"did you mean {' or '.join(shown(close))}?"
    return f"known are {', '.join(shown(sorted(known)))}."


# the types on the way to a place


def _types_at(kind: Any, steps: list[str]) -> list[Any]:  # noqa: ANN401
    """What may stand there: several types where one of them is a union."""
    from msgspec import inspect

    types = [*_alternatives(inspect.type_info(kind))]
    for step in steps:
        types = [inner for found in types for inner in _within(found, step)]
    return types


def _within(found: Any, step: str) -> Iterator[Any]:  # noqa: ANN401
    if step.startswith("["):
        inner = getattr(found, "item_type", None) or getattr(found, "value_type", None)
        yield from _alternatives(inner)
        return
    for field in getattr(found, "fields", ()):
        if field.encode_name == step:
            yield from _alternatives(field.type)


def _alternatives(found: Any) -> Iterator[Any]:  # noqa: ANN401
    if found is not None:
        yield from getattr(found, "types", (found,))


def _fields(found: Any) -> list[str]:  # noqa: ANN401
    return [field.encode_name for field in getattr(found, "fields", ())]


def _words(found: Any) -> list[str]:  # noqa: ANN401
    return [*map(str, getattr(found, "values", ()))]


def _is_tag(found: Any, steps: list[str]) -> bool:  # noqa: ANN401
    return bool(steps) and getattr(found, "tag_field", None) == steps[-1]
