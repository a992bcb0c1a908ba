"""The last responses, which later ones may go on from, and which may be asked for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MOST = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """One response."""

    turns: list[dict[str, Any]]
    """The conversation up to it and with it, without instructions, which are not carried on."""
    body: Callable[[], bytes]
    """What it was answered with."""


class StoredResponses:
    """Keeps so many and forgets the oldest."""

    __slots__ = ("_kept", "_most")

    def __init__(self, most: int = _MOST) -> None:
        self._kept: OrderedDict[str, StoredResponse] = OrderedDict()
        self._most = most

    def put(self, name: str, response: StoredResponse) -> None:
        self._kept[name] = response
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def get(self, name: str) -> StoredResponse | None:
        return self._kept.get(name)

    def remove(self, name: str) -> bool:
        """Forget one; returns whether it was there."""
        return self._kept.pop(name, None) is not None
