"""How many connections there are, in all and of each peer, and whether there may be one more.

Not here: who takes a seat, and what one is told who gets none.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any, cast

_NETWORK_BYTES = 8
"""One IPv6 peer has a /64 at least, and may use each of its addresses."""
_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address begins with where it is written as one of IPv6."""


class Seats:
    """The open connections, counted; a limit of 0 is none."""

    def __init__(self, most: int, most_per_peer: int) -> None:
        self._most = most
        self._most_per_peer = most_per_peer
        self._taken = 0
        self._by_peer: Counter[bytes | str] = Counter()

    def __repr__(self) -> str:
        return f"<Seats {self._taken} taken, by {len(self._by_peer)} peers>"

    @property
    def taken(self) -> int:
        return self._taken

    @property
    def is_full(self) -> bool:
        """Whether nobody at all gets a further one."""
        return bool(self._most) and self._taken >= self._most

    def has_for(self, peer: bytes | str | None) -> bool:
        """Whether `peer` has fewer than it may."""
        return peer is None or self._by_peer[peer] < self._most_per_peer

    def peer_of(self, address: Any) -> bytes | str | None:  # noqa: ANN401 -- as the socket module has it
        """Whom a connection from `address` counts for; None where nobody is counted."""
        if not self._most_per_peer or not isinstance(address, tuple):
            return None
        host = cast("str", address[0])
        if ":" not in host:
            return host
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        if packed.startswith(_MAPPED):
            return socket.inet_ntoa(packed[len(_MAPPED) :])
        return packed[:_NETWORK_BYTES]

    def take(self, peer: bytes | str | None) -> None:
        self._taken += 1
        if peer is not None:
            self._by_peer[peer] += 1

    def give_back(self, peer: bytes | str | None) -> None:
        self._taken -= 1
        if peer is None:
            return
        self._by_peer[peer] -= 1
        if not self._by_peer[peer]:
            del self._by_peer[peer]
