"""The requests that wait, per model and in the order of their arrival.

Not here: which of them may go, and where.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from gglib_core.admission.values import Resident, Ticket
from gglib_core.models import Model


class WaitingLine:
    """The requests that wait for one model.

    They stand in two parts, so that settling costs the same for a thousand requests, or a thousand
    different contexts, as for one: those that fit the model's resident, and those that need more.
    """

    __slots__ = ("exceeding", "fitting", "model")

    def __init__(self, model: Model) -> None:
        self.model = model
        """As the first of them knew it, or the catalog said later."""
        # A plain dict would look for its first entry behind all those that were taken before.
        self.fitting: OrderedDict[int, Ticket] = OrderedDict()
        self.exceeding: OrderedDict[int, Ticket] = OrderedDict()

    def __len__(self) -> int:
        return len(self.fitting) + len(self.exceeding)

    def __iter__(self) -> Iterator[Ticket]:
        yield from self.fitting.values()
        yield from self.exceeding.values()

    @property
    def oldest_fitting(self) -> Ticket | None:
        return next(iter(self.fitting.values()), None)

    @property
    def oldest_exceeding(self) -> Ticket | None:
        return next(iter(self.exceeding.values()), None)

    @property
    def oldest(self) -> Ticket | None:
        heads = [each for each in (self.oldest_fitting, self.oldest_exceeding) if each]
        return min(heads, key=lambda ticket: ticket.number, default=None)

    def oldest_unserved(self, resident: Resident | None) -> Ticket | None:
        """The first request that needs a process other than the model's resident."""
        if resident is None or resident.is_leaving:
            return self.oldest
        return self.oldest_exceeding

    def first_fitting(self, limit: int) -> list[Ticket]:
        return list(islice(self.fitting.values(), max(0, limit)))

    def fit_to_largest(self) -> int:
        """Let all fit a resident that is launched now; return the context that it needs."""
        self.fitting = OrderedDict(sorted((ticket.number, ticket) for ticket in self))
        self.exceeding = OrderedDict()
        return max(ticket.context for ticket in self)


class WaitingRoom:
    """All lines; a line exists while somebody stands in it."""

    __slots__ = ("_lines", "count")

    def __init__(self) -> None:
        self._lines: dict[int, WaitingLine] = {}
        self.count = 0
        """Requests that wait, for all models together."""

    @property
    def lines(self) -> list[WaitingLine]:
        return list(self._lines.values())

    @property
    def model_ids(self) -> set[int]:
        return set(self._lines)

    def line(self, model_id: int) -> WaitingLine | None:
        return self._lines.get(model_id)

    def has_fitting(self, model_id: int) -> bool:
        line = self._lines.get(model_id)
        return line is not None and bool(line.fitting)

    def add(self, ticket: Ticket, resident: Resident | None) -> bool:
        """Put the request at the end; return whether it is the first that needs what it needs."""
        line = self._lines.get(ticket.model.id)
        if line is None:
            line = self._lines[ticket.model.id] = WaitingLine(ticket.model)
        fits = resident is not None and ticket.context <= resident.context
        part = line.fitting if fits else line.exceeding
        part[ticket.number] = ticket
        self.count += 1
        return len(part) == 1

    def remove(self, ticket: Ticket) -> None:
        line = self._lines[ticket.model.id]
        if line.fitting.pop(ticket.number, None) is None:
            del line.exceeding[ticket.number]
        ticket.is_waiting = False
        self.count -= 1
        if not line:
            del self._lines[ticket.model.id]

    def remove_all(self, model_id: int) -> list[Ticket]:
        """Empty the model's line; return who stood in it, oldest first."""
        line = self._lines.get(model_id)
        tickets = sorted(line or (), key=lambda ticket: ticket.number)
        for ticket in tickets:
            self.remove(ticket)
        return tickets

    def shift(self, seconds: float) -> None:
        """Let none of that time count for those who wait."""
        for line in self._lines.values():
            for ticket in line:
                ticket.arrived += seconds

    def heads(self) -> Iterator[Ticket]:
        """The oldest requests of all parts: nobody has waited for longer than one of them."""
        for line in self._lines.values():
            if fitting := line.oldest_fitting:
                yield fitting
            if exceeding := line.oldest_exceeding:
                yield exceeding
