"""Models, requests and processes as the tests of admission see them; no behaviour."""

from __future__ import annotations

from dataclasses import dataclass

from gglib_core.admission import Resident, Ticket
from gglib_core.errors import GglibError
from gglib_core.models import GgufFacts, Model


def a_model(name: str, **changes: object) -> Model:
    facts = GgufFacts(architecture="llama")
    values: dict[str, object] = {
        "id": ord(name),
        "name": name,
        "paths": (f"/models/{name}.gguf",),
        "size_bytes": 1,
        "facts": facts,
        "capabilities": frozenset[str](),
    }
    return Model(**(values | changes))  # type: ignore[arg-type]


@dataclass(eq=False)
class Request:
    """One request as its owner sees it."""

    model: str
    context: int
    arrived: float
    is_visit: bool = False
    ticket: Ticket | None = None
    resident: Resident | None = None
    error: GglibError | None = None
    has_ended: bool = False
    waited: float | None = None

    @property
    def is_waiting(self) -> bool:
        return not self.has_ended and self.resident is None

    @property
    def is_leasing(self) -> bool:
        return not self.has_ended and self.resident is not None


@dataclass(eq=False)
class Process:
    """One engine process: from `Launch` until it was reported gone."""

    resident: Resident
    is_told_to_stop: bool = False
    has_died: bool = False
    has_served: bool = False
