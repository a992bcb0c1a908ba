"""Conversations as three APIs write them, read into one form: the turns of a chat template.

Checks what each API checks. Not here: tools that are offered (`tool_offers.py`), parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from gglib_runtime.simulator.generation import ApiError
from gglib_runtime.simulator.reading.parameters import as_object
from gglib_runtime.simulator.text import content_text

JsonObject = dict[str, Any]
Turn = dict[str, Any]
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_SPEAKERS = frozenset({"system", "assistant", "user", "developer"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})
_MEDIA_PARTS = frozenset({"image_url", "input_image", "input_audio", "input_file", "file"})


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """The turns so far, and what is to be answered."""

    turns: list[Turn]
    asked: str
    """What the last turn says."""
    follows_result: bool = False
    """Whether that is a tool's result."""


def conversation(turns: list[Turn]) -> Conversation:
    """The conversation that these turns are."""
    if not turns:
        return Conversation(turns=turns, asked="")
    last = turns[-1]
    return Conversation(
        turns=turns,
        asked=content_text(last.get("content")),
        follows_result=last.get("role") in {"tool", "function"},
    )


# OpenAI's chats


def read_engine_chat(messages: Any) -> Conversation:  # noqa: ANN401
    """The messages as llama-server takes them; raises ApiError in its words."""
    if not isinstance(messages, list):
        raise ApiError(400, "Expected 'messages' to be an array")
    for message in cast("list[Any]", messages):
        _check_engine_message(as_object(message))
    return conversation(cast("list[Turn]", messages))


def _check_engine_message(message: Turn) -> None:
    role, content = message.get("role"), message.get("content")
    if content is None and role != "assistant":
        raise ApiError(400, "All non-assistant messages must contain 'content'")
    if not isinstance(content, str | list | None):
        raise ApiError(400, "Expected 'content' to be a string or an array")
    if role is None:
        shown = msgspec.json.encode(message).decode()
        raise ApiError(500, f"Failed to parse messages: Missing 'role' in message: {shown}")
    for part in cast("list[Any]", content if isinstance(content, list) else []):
        kind = as_object(part).get("type")
        if kind in _MEDIA_PARTS:
            raise ApiError(
                500,
                "image input is not supported - hint: if this is unexpected, you may need to "
                "provide the mmproj",
            )
        if kind != "text":
            raise ApiError(400, "unsupported content[].type")


def read_chat(messages: list[Any]) -> Conversation:
    """The messages as OpenAI takes them; raises ApiError in its words."""
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _invalid(f"messages[{index}]", "expected an object", "invalid_type")
        turn = cast("Turn", message)
        if not _is_plain(turn):
            _check_turn(turn, f"messages[{index}]")
            open_calls = _check_calls(turn, open_calls)
        elif open_calls:
            raise _unanswered(open_calls)
    if open_calls:
        raise _unanswered(open_calls)
    return conversation(cast("list[Turn]", messages))


def _is_plain(turn: Turn) -> bool:
    """Whether there is nothing to check: text of somebody who calls no tools, as most turns are."""
    role = turn.get("role")
    return (
        isinstance(role, str)
        and role in _SPEAKERS
        and isinstance(turn.get("content"), str)
        and "tool_calls" not in turn
    )


def _check_turn(turn: Turn, place: str) -> None:
    role, content = turn.get("role"), turn.get("content")
    if role is None:
        raise ApiError(
            400,
            f"Missing required parameter: '{place}.role'.",
            param=f"{place}.role",
            name="missing_required_parameter",
        )
    if role not in _ROLES:
        listed = ", ".join(f"'{each}'" for each in _ROLES[:-1])
        raise ApiError(
            400,
            f"Invalid value: '{role}'. Supported values are: {listed}, and '{_ROLES[-1]}'.",
            param=f"{place}.role",
            name="invalid_value",
        )
    if content is None and not turn.get("tool_calls") and role != "function":
        problem = "expected a string, got null"
        raise _invalid(f"{place}.content", problem, "invalid_type")
    if not isinstance(content, str | list | None):
        raise _invalid(f"{place}.content", "expected a string or an array", "invalid_type")
    for number, part in enumerate(cast("list[Any]", content if isinstance(content, list) else [])):
        _check_part(part, f"{place}.content[{number}]")


def _check_part(part: Any, place: str) -> None:  # noqa: ANN401
    kind = as_object(part).get("type")
    if kind not in _TEXT_PARTS and kind not in _MEDIA_PARTS:
        raise ApiError(
            400,
            f"Invalid value: '{kind}'. Supported values are: 'text', 'image_url', 'input_audio', "
            "'refusal', and 'file'.",
            param=f"{place}.type",
            name="invalid_value",
        )


def _check_calls(turn: Turn, open_calls: list[str]) -> list[str]:
    """The calls that have no result yet after `turn`."""
    if turn["role"] == "tool":
        if turn.get("tool_call_id") not in open_calls:
            raise ApiError(
                400,
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                "message with 'tool_calls'.",
                param="messages",
            )
        return [each for each in open_calls if each != turn["tool_call_id"]]
    if open_calls:
        raise _unanswered(open_calls)
    return [str(call.get("id")) for call in turn.get("tool_calls") or ()]


def _unanswered(calls: Iterable[str]) -> ApiError:
    return ApiError(
        400,
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
        + ", ".join(calls),
        param="messages",
    )


def _invalid(place: str, problem: str, code: str) -> ApiError:
    return ApiError(400, f"Invalid value for '{place}': {problem}.", param=place, name=code)


# Anthropic's messages


def read_messages(body: JsonObject, *, is_strict: bool) -> Conversation:
    """The system prompt and messages; with `is_strict` as Anthropic itself checks them."""
    system = body.get("system")
    turns: list[Turn] = [{"role": "system", "content": system}] if system else []
    open_calls: list[str] = []
    for index, message in enumerate(body["messages"]):
        if is_strict:
            open_calls = _check_message(message, index, open_calls)
        turns += _message_turns(message)
    if open_calls:
        raise _resultless(len(body["messages"]) - 1, open_calls)
    return conversation(turns)


def _check_message(message: Any, index: int, open_calls: list[str]) -> list[str]:  # noqa: ANN401
    place = f"messages.{index}"
    if not isinstance(message, dict):
        raise ApiError(400, f"{place}: Input should be a valid dictionary")
    found = cast("JsonObject", message)
    if found.get("role") not in {"user", "assistant"}:
        raise ApiError(400, f"{place}.role: Input should be 'user' or 'assistant'")
    content = found.get("content")
    if content is None:
        raise ApiError(400, f"{place}.content: Field required")
    blocks = _blocks(content)
    results = [block.get("tool_use_id") for block in blocks if _is(block, "tool_result")]
    if any(result not in open_calls for result in results):
        raise ApiError(
            400,
            f"{place}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
            f"{results[0]}. Each `tool_result` block must have a corresponding `tool_use` block "
            "in the previous message.",
        )
    if any(call not in results for call in open_calls):
        raise _resultless(index - 1, [call for call in open_calls if call not in results])
    return [str(block.get("id")) for block in blocks if _is(block, "tool_use")]


def _resultless(index: int, calls: list[str]) -> ApiError:
    return ApiError(
        400,
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately "
        f"after: {', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result` "
        "block in the next message.",
    )


def _message_turns(message: JsonObject) -> list[Turn]:
    """A message's turns: results of tools come before what else it says."""
    content, role = message.get("content"), message.get("role", "user")
    blocks = _blocks(content)
    results: list[Turn] = [
        {"role": "tool", "content": block.get("content") or ""}
        for block in blocks
        if _is(block, "tool_result")
    ]
    calls = [_as_call(block) for block in blocks if _is(block, "tool_use")]
    text = content if isinstance(content, str) else content_text(_texts(blocks))
    if calls:
        return [{"role": role, "content": text, "tool_calls": calls}]
    return [*results, *([{"role": role, "content": text}] if text or not results else [])]


def _as_call(block: JsonObject) -> JsonObject:
    arguments = msgspec.json.encode(block.get("input") or {}).decode()
    return {"id": block.get("id"), "function": {"name": block.get("name"), "arguments": arguments}}


def _blocks(content: Any) -> list[JsonObject]:  # noqa: ANN401
    return cast("list[JsonObject]", content) if isinstance(content, list) else []


def _texts(blocks: list[JsonObject]) -> list[JsonObject]:
    return [block for block in blocks if _is(block, "text")]


def _is(block: Any, kind: str) -> bool:  # noqa: ANN401
    return as_object(block).get("type") == kind


# OpenAI's responses


def read_response_input(body: JsonObject) -> Conversation:
    """The instructions and input of a response; raises ApiError."""
    given, instructions = body["input"], body.get("instructions")
    turns: list[Turn] = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(given, str):
        return conversation([*turns, {"role": "user", "content": given}])
    if not isinstance(given, list):
        raise ApiError(400, "'input' must be a string or array of objects", param="input")
    for item in cast("list[Any]", given):
        turns += _item_turns(as_object(item))
    return conversation(turns)


def _item_turns(item: JsonObject) -> list[Turn]:
    kind = item.get("type")
    if "role" in item and kind in {None, "message"}:
        return [{"role": item["role"], "content": item.get("content")}]
    if kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments", "{}")}
        call = {"id": item.get("call_id"), "function": function}
        return [{"role": "assistant", "content": "", "tool_calls": [call]}]
    if kind == "function_call_output":
        return [{"role": "tool", "content": item.get("output")}]
    if kind in {"reasoning", "item_reference"}:
        return []
    raise ApiError(400, "Cannot determine type of 'item'", param="input")
