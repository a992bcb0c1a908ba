"""Structured outputs: which JSON a request wants, and whether its schema can be had."""

from __future__ import annotations

from typing import Any, cast

from gglib_runtime.simulator.generation import ApiError
from gglib_runtime.simulator.reading.parameters import as_object
from gglib_runtime.simulator.schemas.checks import check_schema
from gglib_runtime.simulator.schemas.merging import SchemaError

JsonObject = dict[str, Any]
ANY_OBJECT: JsonObject = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
}
"""What is written where any JSON object will do."""
_PARSER = "Unable to generate parser for this template. Automatic parser generation failed: "
_FORMATS = ("json_object", "json_schema", "text")


def check_llama_schema(schema: Any) -> None:  # noqa: ANN401
    """Raise ApiError in llama-server's words where it makes no grammar of the schema."""
    try:
        check_schema(schema)
    except SchemaError as error:
        raise ApiError(400, f"{_PARSER}{error}") from error


def engine_schema(body: JsonObject) -> Any:  # noqa: ANN401
    """The schema that llama-server keeps an answer to; None where the answer is free."""
    schema = body.get("json_schema")
    form: Any = body.get("response_format")
    if isinstance(form, dict):
        found = cast("JsonObject", form)
        kind = found.get("type")
        if kind == "json_object":
            schema = found.get("schema", {})
        elif kind == "json_schema":
            schema = as_object(found.get("json_schema")).get("schema", {})
        elif kind not in {None, "text"}:
            message = 'response_format type must be one of "text" or "json_object", but got: '
            raise ApiError(400, f"{message}{kind}")
    if not isinstance(schema, dict):
        return None
    check_llama_schema(schema)
    return cast("JsonObject", schema) or ANY_OBJECT


def chat_schema(body: JsonObject) -> Any:  # noqa: ANN401
    """The schema that OpenAI keeps a chat's answer to; None where the answer is free."""
    form: JsonObject | None = body.get("response_format")
    if form is None:
        return None
    kind = _format_type(form, "response_format")
    if kind == "json_object":
        if "json" not in str(body.get("messages")).casefold():
            raise ApiError(
                400,
                "'messages' must contain the word 'json' in some form, to use 'response_format' of "
                "type 'json_object'.",
                param="messages",
            )
        return ANY_OBJECT
    return _named_schema(form.get("json_schema"), "response_format.json_schema", kind)


def response_schema(body: JsonObject) -> Any:  # noqa: ANN401
    """The schema that OpenAI keeps a response's text to; None where it is free."""
    text: JsonObject = body.get("text") or {}
    form: Any = text.get("format")
    if form is None:
        return None
    found = as_object(form)
    kind = _format_type(found, "text.format")
    return ANY_OBJECT if kind == "json_object" else _named_schema(found, "text.format", kind)


def _format_type(form: JsonObject, place: str) -> str:
    kind = form.get("type")
    if kind not in _FORMATS:
        listed = "'json_object', 'json_schema', and 'text'"
        raise ApiError(
            400,
            f"Invalid value: '{kind}'. Supported values are: {listed}.",
            param=f"{place}.type",
            name="invalid_value",
        )
    return cast("str", kind)


def _named_schema(form: Any, place: str, kind: str) -> Any:  # noqa: ANN401
    if kind == "text":
        return None
    found = as_object(form)
    for name in ("name", "schema"):
        if not found.get(name):
            where = f"{place}.{name}" if found else place
            raise ApiError(
                400,
                f"Missing required parameter: '{where}'.",
                param=where,
                name="missing_required_parameter",
            )
    problem = check_strict_schema(found["schema"], is_strict=found.get("strict") is True)
    if problem:
        raise ApiError(
            400,
            f"Invalid schema for response_format '{found['name']}': {problem}",
            param=place.partition(".")[0] if place != "text.format" else "text.format.schema",
            name=None if place != "text.format" else "invalid_json_schema",
        )
    return found["schema"]


def check_strict_schema(schema: Any, *, is_strict: bool) -> str | None:  # noqa: ANN401
    """What OpenAI would say against a schema; strict ones must name and close all objects."""
    try:
        check_schema(schema, refers_to_root=True)
    except SchemaError as error:
        return f"In context={_context(error.path)}, {error.problem}."
    return _looseness(schema, ()) if is_strict else None


def _looseness(schema: Any, context: tuple[str, ...]) -> str | None:  # noqa: ANN401
    """Where the schema lets an object have properties that it does not require."""
    if not isinstance(schema, dict):
        return None
    found = cast("JsonObject", schema)
    properties: JsonObject = found.get("properties") or {}
    if found.get("type") == "object" or properties:
        if found.get("additionalProperties") is not False:
            wanted = "'additionalProperties' is required to be supplied and to be false."
            return f"In context={context}, {wanted}"
        for name in properties:
            if name not in (found.get("required") or ()):
                return (
                    f"In context={context}, 'required' is required to be supplied and to be an "
                    f"array including every key in properties. Missing '{name}'."
                )
    for path, each in _parts(found):
        problem = _looseness(each, (*context, *path))
        if problem:
            return problem
    return None


def _parts(schema: JsonObject) -> list[tuple[tuple[str, ...], Any]]:
    """The schemas within a schema, and how one gets there."""
    parts: list[tuple[tuple[str, ...], Any]] = []
    for name in ("properties", "$defs", "definitions"):
        inner: JsonObject = schema.get(name) or {}
        parts += [((name, key), value) for key, value in inner.items()]
    for index, each in enumerate(schema.get("anyOf") or ()):
        parts.append((("anyOf", str(index)), each))
    if "items" in schema:
        parts.append((("items",), schema["items"]))
    return parts


def _context(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")[1:])
