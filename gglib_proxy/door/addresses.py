"""Whose address counts as the client's where proxies stand before gglib.

A proxy that is trusted says in `X-Forwarded-For` who asked it; anybody else may write there what
he likes, so only what trusted proxies added is believed: the list is read from its end.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNIX = "unix"
"""In the list of trusted proxies: whoever connects to a unix socket."""


class TrustedProxies:
    """Networks whose word about their clients is taken."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        names = {each.strip() for each in trusted}
        self._trusts_unix = UNIX in names
        self._networks = tuple(ipaddress.ip_network(each, strict=False) for each in names - {UNIX})

    def client_of(self, peer: str, forwarded: Iterable[bytes]) -> str:
        """The client's address: `peer`, or who stands behind it as trusted proxies tell.

        `peer` is an address, or empty for a unix socket's; `forwarded` are the values of
        X-Forwarded-For in their order.
        """
        if not self._is_trusted(peer):
            return peer
        client = peer
        named = b",".join(forwarded).decode("latin-1").split(",")
        for text in reversed([each.strip() for each in named if each.strip()]):
            address = _address(text)
            if address is None:
                break
            client = address
            if not self._is_trusted(client):
                break
        return client

    def _is_trusted(self, address: str) -> bool:
        if not address:
            return self._trusts_unix
        if not self._networks:
            return False
        try:
            parsed = _parsed(address.partition("%")[0])
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address of IPv4 as such: a socket for both protocols has it inside one of IPv6."""
    parsed = ipaddress.ip_address(address)
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _address(text: str) -> str | None:
    """The address in one entry, which may have a port."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(_parsed(text))
    except ValueError:
        return None
