"""Tools and tool choices as three APIs write them, checked as each of them checks."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from gglib_runtime.simulator.generation import ApiError
from gglib_runtime.simulator.reading.json_forms import check_llama_schema, check_strict_schema
from gglib_runtime.simulator.reading.parameters import as_object
from gglib_runtime.simulator.tools import NO_TOOLS, Mode, Tool, ToolUse

JsonObject = dict[str, Any]


def engine_tools(body: JsonObject, *, follows_result: bool) -> ToolUse:
    """A chat's tools as llama-server takes them: a tool that is named by an object is ignored."""
    tools, mode = body.get("tools"), body.get("tool_choice")
    if isinstance(mode, str) and mode not in {"none", "auto", "required"}:
        raise ApiError(400, f"Invalid tool_choice: {mode}")
    if tools is None:
        return NO_TOOLS
    if not isinstance(tools, list):
        shown = msgspec.json.encode(tools).decode()
        problem = f"Expected 'tools' to be an array, got {shown}; tools = {shown}"
        raise ApiError(500, f"Failed to parse tools: {problem}")
    offered = cast("list[Any]", tools)
    return ToolUse(
        tools=tuple(_engine_tool(tool, offered) for tool in offered),
        mode=cast("Mode", mode) if isinstance(mode, str) else "auto",
        is_parallel=body.get("parallel_tool_calls") is True,
        follows_result=follows_result,
    )


def _engine_tool(tool: Any, tools: list[Any]) -> Tool:  # noqa: ANN401
    found = as_object(tool)
    for name in ("type", "function"):
        if name not in found:
            shown = msgspec.json.encode(tool).decode()
            every = msgspec.json.format(msgspec.json.encode(tools), indent=2).decode()
            problem = f"Missing tool {name}: {shown}; tools = {every}"
            raise ApiError(500, f"Failed to parse tools: {problem}")
    function: JsonObject = found["function"]
    schema = function.get("parameters")
    if "parameters" in function:
        check_llama_schema(schema)
    return _tool(function, schema)


def _tool(function: JsonObject, schema: Any) -> Tool:  # noqa: ANN401
    return Tool(
        name=str(function.get("name", "")),
        description=str(function.get("description") or ""),
        schema=schema,
    )


# OpenAI


def chat_tools(body: JsonObject, *, follows_result: bool) -> ToolUse:
    """A chat's tools as OpenAI takes them."""
    if not body.get("tools") and body.get("tool_choice") is None:
        return NO_TOOLS
    tools = [
        _function_tool(tool, tool.get("function"), f"tools[{index}].function")
        for index, tool in _functions(body)
    ]
    choice = body.get("tool_choice")
    named = as_object(as_object(choice).get("function")).get("name")
    return _openai_use(body, tools, named, follows_result=follows_result)


def response_tools(body: JsonObject, *, follows_result: bool) -> ToolUse:
    """A response's tools, whose functions are not nested; tools that OpenAI runs are left out."""
    if not body.get("tools") and body.get("tool_choice") is None:
        return NO_TOOLS
    tools = [
        _function_tool(tool, tool, f"tools[{index}]")
        for index, tool in _functions(body)
        if tool.get("type") == "function"
    ]
    choice = body.get("tool_choice")
    named = as_object(choice).get("name")
    return _openai_use(body, tools, named, follows_result=follows_result)


def _functions(body: JsonObject) -> list[tuple[int, JsonObject]]:
    tools: list[Any] = body.get("tools") or []
    return [*enumerate(map(as_object, tools))]


def _function_tool(tool: JsonObject, function: Any, place: str) -> Tool:  # noqa: ANN401
    if not isinstance(function, dict) or not tool.get("type"):
        raise _missing(place if tool.get("type") else place.partition(".")[0] + ".type")
    found = cast("JsonObject", function)
    if not isinstance(found.get("name"), str) or not found["name"]:
        raise _missing(f"{place}.name")
    schema = found.get("parameters")
    if schema is not None:
        problem = check_strict_schema(schema, is_strict=found.get("strict") is True)
        if problem:
            raise ApiError(
                400,
                f"Invalid schema for function '{found['name']}': {problem}",
                param=f"{place}.parameters",
                name="invalid_function_parameters",
            )
    return _tool(found, schema)


def _openai_use(
    body: JsonObject,
    tools: list[Tool],
    named: object,
    *,
    follows_result: bool,
) -> ToolUse:
    choice = body.get("tool_choice")
    if choice is not None and not tools and not body.get("tools"):
        message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are "
        raise ApiError(400, message + "specified.", param="tool_choice")
    if isinstance(choice, str) and choice not in {"none", "auto", "required"}:
        message = (
            f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'."
        )
        raise ApiError(400, message, param="tool_choice", name="invalid_value")
    if named is not None and named not in {tool.name for tool in tools}:
        message = f"Tool choice '{named}' not found in 'tools' parameter."
        raise ApiError(400, message, param="tool_choice")
    return ToolUse(
        tools=tuple(tools),
        mode=cast("Mode", choice) if isinstance(choice, str) else "auto",
        only=cast("str | None", named),
        is_parallel=body.get("parallel_tool_calls") is not False,
        follows_result=follows_result,
    )


def _missing(place: str) -> ApiError:
    message = f"Missing required parameter: '{place}'."
    return ApiError(400, message, param=place, name="missing_required_parameter")


# Anthropic


def message_tools(body: JsonObject, *, follows_result: bool, is_strict: bool) -> ToolUse:
    """A message's tools; with `is_strict` as Anthropic itself checks them."""
    offered = body.get("tools")
    if not offered and body.get("tool_choice") is None:
        return NO_TOOLS
    tools: list[Tool] = []
    for index, tool in enumerate(cast("list[Any]", offered if isinstance(offered, list) else [])):
        found = as_object(tool)
        if is_strict:
            _check_tool(found, index)
        elif "input_schema" in found:
            check_llama_schema(found["input_schema"])
        if "input_schema" in found:  # others are run by Anthropic
            tools.append(_tool(found, found["input_schema"]))
    choice = body.get("tool_choice")
    chosen = as_object(choice)
    return _anthropic_use(tools, chosen, follows_result=follows_result, is_strict=is_strict)


def _check_tool(tool: JsonObject, index: int) -> None:
    if not tool.get("name"):
        raise ApiError(400, f"tools.{index}.custom.name: Field required")
    if tool.get("type") in {None, "custom"}:
        schema: Any = tool.get("input_schema")
        place = f"tools.{index}.custom.input_schema"
        if schema is None:
            raise ApiError(400, f"{place}: Field required")
        if as_object(schema).get("type") != "object":
            raise ApiError(400, f"{place}.type: Input should be 'object'")
        problem = check_strict_schema(schema, is_strict=False)
        if problem:
            raise ApiError(400, f"{place}: JSON schema is invalid: {problem}")


def _anthropic_use(
    tools: list[Tool], choice: JsonObject, *, follows_result: bool, is_strict: bool
) -> ToolUse:
    modes: dict[str, Mode] = {"none": "none", "any": "required", "tool": "required"}
    named = choice.get("name") if choice.get("type") == "tool" else None
    if is_strict and named is not None and named not in {tool.name for tool in tools}:
        raise ApiError(400, f"tool_choice.name: Tool '{named}' not found in provided tools")
    return ToolUse(
        tools=tuple(tools),
        mode=modes.get(str(choice.get("type")), "auto"),
        only=named,
        is_parallel=choice.get("disable_parallel_tool_use") is not True,
        follows_result=follows_result,
    )
