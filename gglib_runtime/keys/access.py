"""Whether an API key is needed, decided at the start: refused where that would be a surprise.

Not here: who is let in by a key.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from typing import cast

from gglib_core.errors import ConfigError
from gglib_core.keys import KeyRing
from gglib_runtime.keys.store import FIRST_NAME, SqlKeyStore

VARIABLE = "GGLIB_API_KEY"

_log = logging.getLogger(__name__)


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine can reach that socket."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return is_loopback(cast("str", listener.getsockname()[0]))


def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's alone."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def provide_first_key(store: SqlKeyStore, secret: str) -> None:
    """Make the key of `GGLIB_API_KEY`, if there is none at all. Raises InvalidKey, DatabaseError.

    May be repeated at each start.
    """
    if not store.provide_first(secret):
        _log.warning(
            "%s is none of the API keys there are, and is passed over: it makes a key only where "
            "there is none. To have it, remove %r with `gglib key rm` and all others.",
            VARIABLE,
            FIRST_NAME,
        )


def check_access(keys: KeyRing, *, is_local: bool, host: str) -> None:
    """Raises ConfigError for an endpoint that others could reach and nobody could use."""
    if keys.is_open or is_local or len(keys):
        return
    raise ConfigError(
        f"Others can reach gglib at {host}, and there is no API key. Make one with "
        f"`gglib key create NAME` (in a container, set {VARIABLE}), or let everybody do everything "
        "with --no-auth."
    )


def access_line(keys: KeyRing, *, is_local: bool, is_auth_off: bool) -> str:
    """Who may use the endpoint, as it is told at the start."""
    if not keys.is_open:
        return f"with an API key; there {'is 1' if len(keys) == 1 else f'are {len(keys)}'}"
    who = "everybody on this machine" if is_local else "EVERYBODY who can reach it"
    why = "as no_auth says" if is_auth_off else "until `gglib key create NAME` makes one"
    return f"{who}, without an API key, {why}"
