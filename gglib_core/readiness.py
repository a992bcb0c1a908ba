"""Whether gglib can serve: the questions that a probe has answered.

Not here: how a probe is answered.
"""

from __future__ import annotations

from typing import Protocol


class ReadinessCheck(Protocol):
    """One thing that has to be so before requests make sense."""

    @property
    def name(self) -> str:
        """What the answer of a probe calls it: one word. Constant."""
        ...

    async def problem(self) -> str | None:
        """Why it is not so, in one line; None where it is.

        Returns within a second or two, and never fails. May be cancelled; not called concurrently.
        """
        ...
