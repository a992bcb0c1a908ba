"""Whom an address counts for: of IPv6, a client has a whole network, and may use all of it.

Not here: whose address it is.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_PREFIX = 64


def network_of(address: str) -> str:
    """The /64 network of an IPv6 address, anything else as it is."""
    return _network_of(address) if ":" in address else address


@lru_cache(maxsize=4096)
def _network_of(address: str) -> str:
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), _PREFIX), strict=False))
