"""The description of faults: what goes wrong, with which requests, and how often.

The same fields stand in `GGLIB_SIM`, in a request's `gglib_sim`, in scenarios and in the admin API.
Not here: deciding whom a fault strikes (`injector.py`), and striking (`striking.py`).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FaultKind = Literal[
    "status",
    "stall",
    "close",
    "reset",
    "before_done",
    "garbage",
    "malformed",
    "half_event",
    "truncated_json",
    "malformed_sse",
    "wrong_usage",
    "drip",
    "endless",
    "crash",
    "out_of_memory",
]

Count = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]
Probability = Annotated[float, Meta(ge=0, le=1)]


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests a fault is for; what is not said matches all."""

    model: str | None = None
    """A glob of the model's name."""
    key: str | None = None
    """A glob of the client's key; no key is the empty text."""
    endpoint: str | None = None
    """A glob of the path."""
    content: str | None = None
    """A regular expression that is found somewhere in the request's body, JSON as it was sent."""
    stream: bool | None = None
    """Streamed answers alone, or whole ones alone."""

    def __post_init__(self) -> None:
        if self.content is not None:
            try:
                re.compile(self.content.encode())
            except re.error as error:
                raise ValueError(f"`content` is no regular expression: {error}") from error


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong with some of the answers.

    - `status`: an error answer, in the shape of the API that was asked; once the stream runs, an
      error event and then a normal end
    - `stall`: nothing more is sent, for `seconds` or as long as the client stays
    - `close`, `reset`: the connection ends (FIN, RST) where the next byte would be
    - `before_done`: all of a stream but its last event, then the connection ends
    - `garbage`: bytes that are no HTTP, then the connection ends
    - `malformed`: a streamed answer's next chunk size is not a number; a whole answer is shorter
      than its Content-Length; then the connection ends
    - `half_event`: the next event is cut in its middle by the end of the connection
    - `truncated_json`: the JSON of the whole answer, or of each event from here on, is cut; the
      HTTP around it is in order
    - `malformed_sse`: each event from here on breaks the rules of event streams
    - `wrong_usage`: the token counts in the answer are not those of the answer
    - `drip`: from here on a few bytes at a time: `piece_bytes` every `seconds`
    - `endless`: the stream goes on until the client leaves, whatever `max_tokens` says
    - `crash`: the process dies of `signal`
    - `out_of_memory`: the process says so in llama-server's words, and exits with code 1
    """

    kind: FaultKind
    name: str = ""
    """What metrics call it; its kind, or for an error its status, where it has none."""
    after_chunks: Count = 0
    """Streamed chunks that are sent first; 0 strikes before the answer's head."""

    match: Match = Match()
    from_request: Number = 1
    """The first matching inference request that is struck, counted from 1."""
    requests: Count | None = None
    """How many requests from there on may be struck; None means all."""
    sequence: Annotated[str, Meta(pattern="^[.x]+$")] | None = None
    """Which of these are struck, over and over: `..x` is every third."""
    probability: Probability = 1.0
    """How many of these are struck, by chance."""
    from_seconds: Seconds = 0.0
    """When it begins, after the start, or after its phase began."""
    for_seconds: Seconds | None = None
    """For how long then; None means for ever."""
    at_most: Count | None = None
    """The budget: so many requests are struck, then no more."""

    status: Annotated[int, Meta(ge=400, le=599)] = 500
    message: str = "simulated failure"
    type: str | None = None
    """The error's type, where the one that goes with the status will not do."""
    code: str | None = None
    """OpenAI's code for the error."""
    retry_after_seconds: Seconds | None = None
    """The header `Retry-After` of an error answer; whole seconds, or a decimal fraction."""
    seconds: Seconds | None = None
    """How long it takes: a stall, or each piece of a `drip` (0.05 where nothing is said)."""
    piece_bytes: Number = 1
    """Of a `drip`."""
    signal: Annotated[int, Meta(ge=1, le=31)] | None = None
    """Of a `crash`; None takes the process's `crash_signal`."""

    @property
    def label(self) -> str:
        """What metrics call it."""
        return self.name or (f"status_{self.status}" if self.kind == "status" else self.kind)


LASTING_KINDS = frozenset({"truncated_json", "malformed_sse", "wrong_usage", "drip", "endless"})
"""Those that change how an answer goes on, and do not end it."""
