"""A request to the control plane, which answers it over its private socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gglib_core.rate_limiting import Reservation
from gglib_proxy.door.door import Entry
from gglib_proxy.exchange import Exchange
from gglib_proxy.http1.heads import NOT_SENT_UPSTREAM, request_head
from gglib_proxy.http1.requests import Request
from gglib_proxy.http1.responses import ResponseHead
from gglib_proxy.pacing import Turn
from gglib_proxy.routes import Route

if TYPE_CHECKING:
    from gglib_proxy.client import ClientConnection
    from gglib_proxy.data_plane import DataPlane


class ControlExchange(Exchange):
    """Always has a task: such requests are few."""

    __slots__ = ("_reservation", "_turn")

    def __init__(
        self,
        plane: DataPlane,
        client: ClientConnection,
        request: Request,
        route: Route,
        entry: Entry,
    ) -> None:
        super().__init__(plane, client, request, route, entry)
        self._reservation: Reservation | None = None
        self._turn: Turn | None = None  # until the answer begins

    def end_unless_admitted(self) -> None:
        """End the exchange where the door would not let it in any more.

        The same goes for an answer that has begun, and would show something else by now.
        """
        entry = self._plane.door.enter(self.request, self.route, self.client.peer)
        refusal = entry.refusal
        if refusal is None and self._is_head_sent:
            refusal = entry.change_since(self._entry)
        if refusal is not None:
            self.cancel(refusal)

    async def _ask(self) -> None:
        self._reservation = self._plane.books.reserve_look(self._entry, self.route)
        origin = await self._plane.control_origin()
        head = request_head(
            self.request,
            self.request.target,
            self.client.control_head_lines(self.request, self._entry),
            dropped=NOT_SENT_UPSTREAM,
            added=self._id_line,
        )
        self._turn = await self._plane.control_paces[self.route.path].take_turn()
        await self._relay(origin, head, may_reuse=self.request.method in ("GET", "HEAD"))

    def _answer_began(self, head: ResponseHead) -> None:
        self._end_turn()

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.end()

    def _let_go(self) -> None:
        self._end_turn()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()
        self._plane.control_exchanges.discard(self)

    def _close_books(self, now: float) -> None:
        if self._reservation is not None:
            self._reservation.settle(tokens=0, cost=0.0)
