"""What is heard of one running engine: written by those who relay its answers, read by its runtime.

Shared by all leases of one launch, and changed in place: a value for each byte that passes would
cost more than the byte. Not here: what the runtime makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_NOT_IMPLEMENTED = 501
"""How llama-server says that a feature is switched off, which is no failure of the engine."""


class EngineActivity:
    """Stamps are times of the event loop's clock."""

    __slots__ = ("_on_first_answer", "errors_in_a_row", "failing_since", "heard_at")

    def __init__(self, on_first_answer: Callable[[float], None] | None = None) -> None:
        """`on_first_answer` is called once, with the seconds from the request sent to the head."""
        self._on_first_answer = on_first_answer
        self.heard_at = -math.inf
        """When the last byte came of an answer that is no server error. Set by whoever took it."""
        self.errors_in_a_row = 0
        """Server errors since another answer began."""
        self.failing_since = math.inf
        """When the first of them came."""

    def __repr__(self) -> str:
        return f"<EngineActivity heard_at={self.heard_at} errors={self.errors_in_a_row}>"

    def answer_began(self, status: int, now: float, sent_at: float) -> bool:
        """The head of an answer has come; whether the answer's bytes are to be stamped.

        To be called once for each answer. A client that leaves before is none of the engine's
        doing, and is not told of here.
        """
        tell, self._on_first_answer = self._on_first_answer, None
        if tell is not None:
            tell(now - sent_at)
        if status < 500 or status == _NOT_IMPLEMENTED:
            self.errors_in_a_row = 0
            self.failing_since = math.inf
            return True
        self.errors_in_a_row += 1
        self.failing_since = min(self.failing_since, now)
        return False
