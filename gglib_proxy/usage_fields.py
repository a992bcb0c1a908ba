"""The fields of answers that say what they took, and what is made of them, as msgspec reads them.

Structures only: msgspec's need their annotations, which a compiled module has none of. Not here:
which field counts (`usage`).
"""

from __future__ import annotations

from typing import Any

import msgspec


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What an answer took; counts that nobody told are estimated from the pieces that came."""

    upstream_id: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    is_estimated: bool = False
    tokens_per_second: float | None = None
    finish_reason: str | None = None


class Details(msgspec.Struct, gc=False):
    """Of a prompt, in `usage`."""

    cached_tokens: int | None = None


class Counts(msgspec.Struct, gc=False):
    """`usage`, of OpenAI's and of Anthropic's API."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    input_tokens_details: Details | None = None


class Timings(msgspec.Struct, gc=False):
    """llama-server's."""

    prompt_n: int | None = None
    cache_n: int | None = None
    predicted_n: int | None = None
    predicted_per_second: float | None = None


class Choice(msgspec.Struct, gc=False):
    """One of an answer's completions."""

    finish_reason: str | None = None


class Answer(msgspec.Struct, gc=False):
    """A whole answer, of any API."""

    id: str | None = None
    usage: Counts | None = None
    timings: Timings | None = None
    choices: list[Choice] | None = None
    stop_reason: str | None = None
    stop_type: str | None = None
    object: Any = None
    status: Any = None
    """Of a response, as OpenAI's API calls them, why it ended."""


decode_answer = msgspec.json.Decoder(Answer).decode
decode_answers = msgspec.json.Decoder(list[Answer]).decode
decode_counts = msgspec.json.Decoder(Counts).decode
decode_timings = msgspec.json.Decoder(Timings).decode
