"""Bodies of the admin API: read whole, and refused with the field that is wrong.

Not here: what the fields mean.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar, cast

import msgspec
from quart import request

from gglib_core.errors import InvalidRequest
from gglib_proxy.errors import Refusal

_T = TypeVar("_T")
_path = re.compile(r" - at `\$\.?([^`]*)`$").search
_unknown = re.compile(r"unknown field `([^`]+)`").search


async def read_body(kind: type[_T]) -> _T:
    """The body as a `kind`; an absent one is an empty object. Raises InvalidRequest, Refusal."""
    content_type = request.mimetype
    body = await request.get_data()
    if body and content_type != "application/json":  # what a page of another site can send unasked
        raise Refusal(
            415,
            "unsupported_media_type",
            "Send JSON, and say so: content-type: application/json.",
            close=False,
        )
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_said(str(error)), param=_field(str(error))) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error


async def read_object() -> dict[str, Any]:
    """The body, which has to be an object of whatever fields."""
    return cast("dict[str, Any]", await read_body(dict))


def _said(message: str) -> str:
    return message if message.endswith(".") else f"{message}."


def _field(message: str) -> str | None:
    unknown, found = _unknown(message), _path(message)
    parts = [each[1] for each in (found, unknown) if each and each[1]]
    return ".".join(parts) or None
