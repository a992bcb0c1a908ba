"""Reading the few fields of a body that routing needs; the rest is not looked at."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs, unquote

import msgspec

from gglib_core.errors import InvalidRequest

MAX_EMBEDDING_INPUTS = 2048
_MAX_CONTEXT = 1 << 31
_CONTEXT = Annotated[int, msgspec.Meta(ge=1, le=_MAX_CONTEXT)]
_SHORTEST_INPUT_BYTES = 2
"""Of one more input in a list: `,1`."""


class Envelope(msgspec.Struct, frozen=True):
    """What a request says of itself; None where it is silent."""

    model: str | None = None
    stream: bool | None = None
    num_ctx: _CONTEXT | None = None


class _InputEnvelope(Envelope, frozen=True):
    input: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(Envelope).decode
_decode_with_input = msgspec.json.Decoder(_InputEnvelope).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
EMPTY = Envelope()


def read_envelope(body: bytes | bytearray, *, has_inputs: bool = False) -> Envelope:
    """Read a JSON body's envelope.

    Where a name stands twice the last one counts, as it does in llama.cpp. Raises InvalidRequest
    for a body that is not one JSON object in UTF-8, or whose envelope has wrong types.
    """
    if not body.isascii():
        _check_utf8(body)
    try:
        if not has_inputs:
            return _decode(body)
        envelope = _decode_with_input(body)
        _check_inputs(envelope.input)
        return envelope
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            f"The body is not valid: {error}.", param=_param(str(error))
        ) from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.") from error


def _check_utf8(body: bytes | bytearray) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8: {error.reason} at {error.start}.") from error


def _param(message: str) -> str | None:
    _, separator, path = message.rpartition("at `$.")
    return path.rstrip("`") if separator else None


def _check_inputs(raw: msgspec.Raw) -> None:
    content = bytes(raw)
    if not content.startswith(b"[") or len(content) < MAX_EMBEDDING_INPUTS * _SHORTEST_INPUT_BYTES:
        return
    items = _decode_items(content)
    is_one_token_array = bytes(items[0])[:1].isdigit()
    if len(items) > MAX_EMBEDDING_INPUTS and not is_one_token_array:
        raise InvalidRequest(
            f"`input` has {len(items)} inputs; at most {MAX_EMBEDDING_INPUTS} are allowed.",
            param="input",
        )


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
