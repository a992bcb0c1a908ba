"""What chats were read to be, remembered for those that come again: retries, and tests under load.

Reading a body depends on nothing but the body and the server's flags, so what came of it stays
true. Not here: reading, and what depends on the moment, such as plans.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gglib_runtime.simulator.answers import Wanted
from gglib_runtime.simulator.exchange import Request

_MOST_BODIES = 64
_MOST_BYTES = 8 * 1024
"""Of one body."""


class ChatReading(msgspec.Struct, frozen=True, kw_only=True):
    """A chat that keeps to all rules."""

    body: dict[str, Any]
    """Not to be changed."""
    wanted: Wanted
    prompt_tokens: int
    includes_usage: bool = False
    logprobs: int | None = None
    """Alternatives that are shown for each token; None for no likelihoods."""


class Readings:
    """The last ones, by path and body."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], ChatReading] = {}

    def find(self, request: Request) -> ChatReading | None:
        """What the same request was read to be."""
        return self._known.get((request.path, request.body))

    def keep(self, request: Request, reading: ChatReading) -> None:
        """Remember it, if it is small; the oldest gives way."""
        if len(request.body) > _MOST_BYTES:
            return
        if len(self._known) >= _MOST_BODIES:
            del self._known[next(iter(self._known))]
        self._known[request.path, request.body] = reading
