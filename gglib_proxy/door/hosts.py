"""Which names a client may call gglib by.

A page of any site can make its name resolve to this machine, and then speaks to gglib as if to its
own server (DNS rebinding); its requests still bear that site's name. Where only this machine is
meant to reach gglib, names that are not this machine's are therefore refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

LOCAL_NAMES = ("localhost", "*.localhost", "host.docker.internal")


class HostRule:
    """Names and `*.suffixes` that are allowed, and addresses of the loopback."""

    def __init__(self, allowed: Iterable[str] = (), *, is_loopback: bool) -> None:
        """`is_loopback`: gglib listens where only this machine can reach it.

        Elsewhere every name is right, unless some are `allowed`: then only these and local ones.
        """
        names = {name.strip().lower().strip("[]").rstrip(".") for name in allowed}
        self._is_checked = is_loopback or bool(names)
        self._allows_any = "*" in names
        names.update(LOCAL_NAMES)
        self._exact = frozenset(name for name in names if not name.startswith("*."))
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))

    def allows(self, host: bytes | None) -> bool:
        """Whether a request with that `Host` may be served; HTTP/1.0 has requests without."""
        if not self._is_checked or self._allows_any or host is None:
            return True
        name = host_name(host)
        if name in self._exact or name.endswith(self._suffixes):
            return True
        return is_loopback_address(name)


def host_name(host: bytes) -> str:
    """The name in a `Host`, without port, brackets and final dot, in lower case."""
    text = host.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def is_loopback_address(name: str) -> bool:
    """Whether `name` is an address that never leaves this machine."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
