"""Reading the few fields of a body that routing needs; the rest is not looked at."""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote

import msgspec

from gglib_core.errors import InvalidRequest
from gglib_proxy.large_body import PLACEHOLDER, LargeBody

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
_SLICE_BYTES = 1 << 20

# One item of a list and what follows it. JSON is known to be valid by then; possessive quantifiers
# keep the matcher from remembering where it might turn back, which a long item would make dear.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+"
_item = re.compile(
    rb"\s*+(?:%b|\[%b\]|\{%b\}|[^\s,\[\]{}\"]++)\s*+([,\]])" % (_STRING, _FLAT, _FLAT), re.DOTALL
).match
_is_list = re.compile(rb"\[\s*+[^-\d]").match  # of inputs: numbers would be the tokens of one


class Envelope(msgspec.Struct, frozen=True):
    """What a request says of itself; None where it is silent."""

    model: str | None = None
    stream: bool | None = None
    num_ctx: _CONTEXT | None = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    n_predict: Any = None
    n: Any = None
    """How many answers; whether it is a number, the engine says."""

    @property
    def answer_tokens(self) -> int | None:
        """The most tokens that an answer may have; whether they are a number, the engine says.

        Of several numbers the largest: which one counts is the engine's affair.
        """
        most = 0
        for each in (
            self.max_tokens,
            self.max_completion_tokens,
            self.max_output_tokens,
            self.n_predict,
        ):
            if each is not None and type(each) is int and each > most:
                most = each
        return most or None

    @property
    def choices(self) -> int:
        """How many answers the request asks for to each of its prompts."""
        return self.n if type(self.n) is int and self.n > 1 else 1

    @property
    def prompts(self) -> int:
        """How many prompts it has, as far as they were looked at."""
        return 1


class _InputEnvelope(Envelope, frozen=True):
    input: msgspec.Raw = msgspec.Raw(b"null")


class _PromptEnvelope(Envelope, frozen=True):
    prompt: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def prompts(self) -> int:
        content = memoryview(self.prompt)
        return _count_items(content, MAX_PROMPTS) if _is_list(content) else 1


_decode = msgspec.json.Decoder(Envelope).decode
_decode_with_input = msgspec.json.Decoder(_InputEnvelope).decode
_decode_with_prompt = msgspec.json.Decoder(_PromptEnvelope).decode
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
        if not has_inputs:
            return _decode_with_prompt(body) if has_prompts else _decode(body)
        envelope = _decode_with_input(body)
        if body.count(b",") >= MAX_EMBEDDING_INPUTS:
            _check_inputs(envelope.input)
        return envelope
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error)) from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(_no_json(body, str(error))) from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.") from error


def _read_outline(body: LargeBody, *, has_inputs: bool, has_prompts: bool) -> Envelope | None:
    """The envelope of a body whose outline shows that it is valid, and what it says of itself."""
    outline = body.outline
    if outline is None:
        return None
    try:
        envelope = read_envelope(outline, has_inputs=has_inputs, has_prompts=has_prompts)
    except InvalidRequest:
        return None  # the body itself will tell why, if it is not valid either
    return None if PLACEHOLDER in (envelope.model or "") else envelope


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
    wanted = _WANTED.get(param)
    problem = f"`{param}` has to be {wanted}." if wanted else f"The body is not valid: {message}."
    return InvalidRequest(problem, param=param)


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
