"""Bodies of the admin API: read whole, and refused with every field that is wrong.

Not here: what the fields mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar, cast

import msgspec
from quart import request

from gglib_core.errors import InvalidRequest
from gglib_proxy.errors import Refusal

_T = TypeVar("_T", bound=msgspec.Struct)
_path = re.compile(r" - at `\$\.?([^`]*)`$").search
_END_OF_ISSUE = re.compile(r" - at `[^`]*`$")


async def read_body(kind: type[_T]) -> _T:
    """The body as a `kind`; an absent one is an empty object. Raises InvalidRequest, Refusal."""
    document = await read_object()
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        problems = list(_problems(kind, document)) or [("", str(error))]
        summary = "; ".join(f"{name}: {issue}" if name else issue for name, issue in problems)
        raise InvalidRequest(f"{summary}.", problems=problems) from error


async def read_object() -> dict[str, Any]:
    """The body, which has to be an object of whatever fields. Raises InvalidRequest, Refusal."""
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
        document: Any = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise InvalidRequest("The body has to be a JSON object.")
    return cast("dict[str, Any]", document)


def _problems(kind: type[msgspec.Struct], document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every field that is wrong, with what is."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, value in document.items():
        if name in fields:
            yield from _problem(name, value, fields[name].type)
        elif kind.__struct_config__.forbid_unknown_fields:
            yield name, "there is no such field"
    for name, field in fields.items():
        if field.required and name not in document:
            yield name, "it is missing"


def _problem(name: str, value: object, kind: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 -- a type
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        found = _path(str(error))
        inner = found[1] if found else ""
        separator = "." if inner and not inner.startswith("[") else ""
        yield f"{name}{separator}{inner}", _END_OF_ISSUE.sub("", str(error))
