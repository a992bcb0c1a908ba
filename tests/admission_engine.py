"""Clients and engines that take time, on the virtual clock of an admission queue's owner.

A client is a generator: it yields an `Ask` and is resumed with the ended request, or yields a
number and is resumed that many seconds later.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count

from gglib_core.admission import Action, Grant, Launch, Reject, Stop
from tests.admission import Owner
from tests.admission_values import Request


@dataclass(frozen=True)
class Ask:
    """Wait for the model, then use it for some seconds."""

    model: str
    seconds: float


Client = Generator[Ask | float, Request | None, None]


@dataclass(eq=False)
class Simulation:
    """One machine: what it is told to launch and stop takes time, and so do answers."""

    owner: Owner
    load_seconds: float = 3.0
    stop_seconds: float = 0.5
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _asking: dict[Request, tuple[Client, float]] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=count)
    _has_ended: bool = False

    def __post_init__(self) -> None:
        self.owner.carry_out = self._carry_out

    def enter(self, client: Client, *, after_seconds: float = 0.0) -> None:
        self._in(after_seconds, lambda: self._resume(client, None))

    def run(self, seconds: float = math.inf) -> None:
        """Let time pass; then clients ask for no more, and what is under way ends."""
        until = self.owner.now + seconds
        self._run_until(until)
        self._has_ended = True
        self._run_until(math.inf)
        assert not self.owner.waiting
        assert not self.owner.leasing

    @property
    def longest_wait(self) -> float:
        return max(each.waited or 0.0 for each in self.owner.requests)

    def answers(self, model: str) -> int:
        return sum(each.model == model and each.waited is not None for each in self.owner.requests)

    def _run_until(self, until: float) -> None:
        owner = self.owner
        while True:
            event = self._events[0][0] if self._events else math.inf
            if min(event, owner.queue.deadline) > until or not (self._events or owner.waiting):
                return
            if owner.queue.deadline <= event:
                owner.now = owner.queue.deadline
                owner.tick()
            else:
                owner.now, _, happen = heapq.heappop(self._events)
                happen()

    def _in(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.owner.now + seconds, next(self._numbers), happen))

    def _resume(self, client: Client, request: Request | None) -> None:
        if self._has_ended:
            return
        try:
            wish = client.send(request)
        except StopIteration:
            return
        if isinstance(wish, float):
            self._in(wish, lambda: self._resume(client, None))
            return
        asked = self.owner.ask(wish.model)
        self._asking[asked] = (client, wish.seconds)
        self._notice(asked)

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Launch(resident):
                    self._in(self.load_seconds, lambda r=resident: self._loaded(r.model.name, r))
                case Stop(resident):
                    name = resident.model.name
                    self._in(self.stop_seconds, lambda n=name: self.owner.end(n))
                case Grant(ticket) | Reject(ticket):
                    self._notice(ticket.handle)  # type: ignore[arg-type]

    def _loaded(self, model: str, resident: object) -> None:
        process = self.owner.process(model)
        if process is not None and process.resident is resident:
            self.owner.load(model)

    def _notice(self, request: Request) -> None:
        """If the request is served or refused by now, its client goes on at the end of that."""
        if request not in self._asking or request.is_waiting:
            return
        client, seconds = self._asking.pop(request)
        if request.error is not None:
            self._in(0.0, lambda: self._resume(client, request))
        else:
            self._in(seconds, lambda: self._answer(client, request))

    def _answer(self, client: Client, request: Request) -> None:
        self.owner.finish(request)
        self._resume(client, request)
