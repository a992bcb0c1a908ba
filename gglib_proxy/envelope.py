"""Reading the few fields of a body that routing needs; the rest is not looked at."""

from __future__ import annotations

import codecs
import re
from typing import Annotated
from urllib.parse import parse_qs, unquote

import msgspec

from gglib_core.errors import InvalidRequest
from gglib_proxy.large_body import SUBSTITUTES, LargeBody

MAX_EMBEDDING_INPUTS = 2048
MAX_PROMPTS = 2048
"""That are counted, of one request for completions."""
_MAX_CONTEXT = 1 << 31
_CONTEXT = Annotated[int, msgspec.Meta(ge=1, le=_MAX_CONTEXT)]
_WANTED = {
    "model": "a string",
    "stream": "true or false",
    "num_ctx": f"a whole number from 1 to {_MAX_CONTEXT}",
}
_MAX_DIGITS = 18
_SLICE_BYTES = 1 << 20

# One item of a list and what follows it; a list with a number among its items is one prompt, of
# texts and tokens. JSON is known to be valid by then; possessive quantifiers keep the matcher from
# remembering where it might turn back, which a long item would make dear.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+"
_item = re.compile(
    rb"\s*+(?:%b|\[%b\]|\{%b\}|[a-z]++)\s*+([,\]])" % (_STRING, _FLAT, _FLAT), re.DOTALL
).match
_is_list = re.compile(rb"\[\s*+[^-\d]").match  # of inputs: numbers would be the tokens of one


class Envelope(msgspec.Struct, frozen=True):
    """What a request says of itself; None where it is silent. Nothing of its body is held by it."""

    model: str | None = None
    stream: bool | None = None
    num_ctx: int | None = None
    answer_tokens: int | None = None
    """The most tokens that an answer may have; whether they are a number, the engine says.

    Of several numbers the largest: which one counts is the engine's affair.
    """
    choices: int = 1
    """How many answers the request asks for to each of its prompts."""
    prompts: int = 1
    """How many prompts it has, as far as they were looked at."""


_ABSENT = msgspec.Raw(b"null")


class _Fields(msgspec.Struct):
    """As they stand in the body; those that may be anything are not made into objects."""

    model: str | None = None
    stream: bool | None = None
    num_ctx: _CONTEXT | None = None
    max_tokens: msgspec.Raw = _ABSENT
    max_completion_tokens: msgspec.Raw = _ABSENT
    max_output_tokens: msgspec.Raw = _ABSENT
    n_predict: msgspec.Raw = _ABSENT
    n: msgspec.Raw = _ABSENT


class _FieldsWithInput(_Fields):
    input: msgspec.Raw = _ABSENT


class _FieldsWithPrompt(_Fields):
    prompt: msgspec.Raw = _ABSENT


_decode = msgspec.json.Decoder(_Fields).decode
_decode_with_input = msgspec.json.Decoder(_FieldsWithInput).decode
_decode_with_prompt = msgspec.json.Decoder(_FieldsWithPrompt).decode
EMPTY = Envelope()


def read_envelope(
    body: bytes | bytearray | LargeBody, *, has_inputs: bool = False, has_prompts: bool = False
) -> Envelope:
    """Read a JSON body's envelope; of several prompts it tells only where it `has_prompts`.

    Where a name stands twice the last one counts, as it does in llama.cpp. Raises InvalidRequest
    for a body that is not one JSON object in UTF-8, or whose envelope has wrong types.
    """
    if type(body) is LargeBody:
        envelope = _read_outline(body, has_inputs=has_inputs, has_prompts=has_prompts)
        if envelope is not None:
            return envelope
        body = bytes(body)
    if not body.isascii():
        _check_utf8(body)
    try:
        if has_prompts:
            fields = _decode_with_prompt(body)
            return _envelope_of(fields, _count_prompts(fields.prompt))
        if not has_inputs:
            return _envelope_of(_decode(body))
        fields = _decode_with_input(body)
        if body.count(b",") >= MAX_EMBEDDING_INPUTS:
            _check_inputs(fields.input)
        return _envelope_of(fields)
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error)) from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(_no_json(body, str(error))) from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.") from error


def _envelope_of(fields: _Fields, prompts: int = 1) -> Envelope:
    most = 0
    for raw in (
        fields.max_tokens,
        fields.max_completion_tokens,
        fields.max_output_tokens,
        fields.n_predict,
    ):
        if raw is not _ABSENT and (tokens := _number(raw)) > most:
            most = tokens
    choices = 1 if fields.n is _ABSENT else _number(fields.n) or 1
    return Envelope(fields.model, fields.stream, fields.num_ctx, most or None, choices, prompts)


def _number(raw: msgspec.Raw) -> int:
    """A whole number above 0, and not beyond what anybody could mean; 0 for all else."""
    if len(raw) > _MAX_DIGITS:
        return 0
    text = bytes(raw)
    return int(text) if text.isdigit() else 0


def _read_outline(body: LargeBody, *, has_inputs: bool, has_prompts: bool) -> Envelope | None:
    """The envelope of a body whose outline shows that it is valid, and what it says of itself."""
    outline = body.take_outline()
    if outline is None:
        return None
    try:
        envelope = read_envelope(outline, has_inputs=has_inputs, has_prompts=has_prompts)
    except InvalidRequest:
        return None  # the body itself will tell why, if it is not valid either
    name = envelope.model or ""
    return None if any(each in name for each in SUBSTITUTES) else envelope


def _check_utf8(body: bytes | bytearray) -> None:
    """Decode in slices: one character beyond ASCII may make a text four times its bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(body)
    try:
        for start in range(0, len(view), _SLICE_BYTES):
            end = start + _SLICE_BYTES
            decoder.decode(view[start:end], final=end >= len(view))
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8: {error.reason}.") from error


def _wrong_type(message: str) -> InvalidRequest:
    """For what the decoder says of a value that is JSON, but not what was looked for."""
    _, separator, path = message.rpartition("at `$.")
    param = path.rstrip("`")
    if not separator:
        return InvalidRequest("The body has to be one JSON object.")
    return InvalidRequest(f"`{param}` has to be {_WANTED[param]}.", param=param)


def _no_json(body: bytes | bytearray, message: str) -> str:
    if not body.strip():
        return "The body is empty: send a JSON object."
    if "truncated" in message:
        return "The body is not valid JSON: it ends too early."
    return f"The body is not valid JSON: {message.removeprefix('JSON is malformed: ')}."


def _check_inputs(raw: msgspec.Raw) -> None:
    content = memoryview(raw)
    limit = MAX_EMBEDDING_INPUTS
    if _is_list(content) and _count_items(content, limit + 1) > limit:
        raise InvalidRequest(
            f"`input` has more than {MAX_EMBEDDING_INPUTS} inputs, which is the limit.",
            param="input",
        )


def _count_prompts(raw: msgspec.Raw) -> int:
    content = memoryview(raw)
    return _count_items(content, MAX_PROMPTS) if _is_list(content) else 1


def _count_items(content: memoryview, limit: int) -> int:
    """How many items a JSON array has, as far as they are ones that count; `limit` at most."""
    position = 1
    for count in range(1, limit + 1):
        found = _item(content, position)
        if found is None or found[1] == b"]":
            return count
        position = found.end()
    return limit


def model_of_query(query: bytes) -> str | None:
    """The value of `model` in a query string; None when it is absent."""
    try:
        values = parse_qs(query.decode("ascii"), max_num_fields=100).get("model")
    except ValueError as error:
        raise InvalidRequest("The query string is malformed.") from error
    return values[-1] if values else None


def split_upstream_path(path: bytes) -> list[tuple[str, bytes]]:
    """The ways to read `{model}/…`, the longest name first: (name, the rest with its slash)."""
    segments = path.split(b"/")
    most = min(len(segments), 9)
    return [
        (unquote(b"/".join(segments[:count]).decode("latin-1")), b"/" + b"/".join(segments[count:]))
        for count in range(most, 0, -1)
    ]
