"""Which generations a request asks for: the parameters of its query, read and judged.

Not here: the answer, and whose generations may be seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gglib_core.errors import InvalidRequest
from gglib_core.generations import GenerationFilter

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
_SWITCH = {"0": False, "false": False, "1": True, "true": True}
_SECONDS = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)
_LARGEST_ID = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationQuery:
    """What is asked for."""

    wanted: GenerationFilter
    limit: int
    cursor: str | None
    is_followed: bool


def read_query(parameters: Mapping[str, str]) -> GenerationQuery:
    """The query of a request for a list. Raises InvalidRequest."""
    key = _text(parameters, "key")
    is_id = key is not None and key.isascii() and key.isdecimal()
    return GenerationQuery(
        wanted=GenerationFilter(
            key_id=_whole(parameters, "key", 0, _LARGEST_ID) if is_id else None,
            api_key_id=None if is_id else key,
            model=_text(parameters, "model"),
            endpoint=_text(parameters, "endpoint"),
            status=_whole(parameters, "status", 100, 599),
            has_failed=_switch(parameters, "failed"),
            since_ms=_moment(parameters, "since"),
            until_ms=_moment(parameters, "until"),
        ),
        limit=_whole(parameters, "limit", 1, MAX_LIMIT) or DEFAULT_LIMIT,
        cursor=_text(parameters, "cursor"),
        is_followed=_switch(parameters, "follow") or False,
    )


def _text(parameters: Mapping[str, str], name: str) -> str | None:
    text = parameters.get(name)
    if text is not None and "\0" in text:
        raise InvalidRequest(f"{name} has a NUL character.", param=name)
    return text


def _whole(parameters: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    is_number = text.isascii() and text.isdecimal() and len(text) < 12
    if not (is_number and least <= int(text) <= most):
        raise InvalidRequest(
            f"{name} is {text!r}; it has to be a number from {least} to {most}.", param=name
        )
    return int(text)


def _switch(parameters: Mapping[str, str], name: str) -> bool | None:
    text = parameters.get(name)
    if text is None:
        return None
    if text not in _SWITCH:
        raise InvalidRequest(f"{name} is {text!r}; it has to be 1 or 0.", param=name)
    return _SWITCH[text]


def _moment(parameters: Mapping[str, str], name: str) -> int | None:
    """In Unix milliseconds."""
    text = parameters.get(name)
    if text is None:
        return None
    if _SECONDS.fullmatch(text):
        return round(float(text) * 1000)
    try:
        # A plus sign that was not encoded arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise InvalidRequest(
            f"{name} is {text!r}; it has to be a time such as 2026-11-21T12:00:00Z, or in Unix "
            "seconds.",
            param=name,
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
