"""Checks who may use the endpoint: whether there are API keys, and the pepper that they need.

Not here: making any of it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gglib_runtime.catalog import migration
from gglib_runtime.catalog.database import open_database, reading
from gglib_runtime.cli.checks.finding import Finding, fail, ok, warn
from gglib_runtime.keys.access import is_loopback
from gglib_runtime.keys.rows import count_keys
from gglib_runtime.keys.store import required_pepper
from gglib_runtime.listen_address import TcpAddress

if TYPE_CHECKING:
    from gglib_runtime.settings import Settings

_NAME = "API keys"


def check_access(settings: Settings) -> Iterator[Finding]:
    """Whether the endpoint would start, and who could use it then."""
    count = _count_keys(settings)
    if count:
        required_pepper(settings.paths.pepper)
    if settings.no_auth:
        advice = "Unless something else decides who may connect, take no_auth away."
        yield warn(_NAME, "none is needed, as no_auth says: whoever connects may do all", advice)
    elif count:
        yield ok(_NAME, f"{count}; requests need one")
    elif _is_this_machines(settings):
        yield ok(_NAME, "none yet; until then everybody on this machine may use the endpoint")
    else:
        advice = "Make one with `gglib key create NAME`, or allow it with --no-auth."
        yield fail(_NAME, f"none, and others may reach {settings.listen_address}", advice)


def _count_keys(settings: Settings) -> int:
    url = settings.effective_database_url
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite" and not Path(path).exists():  # opening it would make it
        return 0
    with open_database(url) as engine:
        if migration.current(engine) != migration.HEAD:
            return 0
        with reading(engine) as connection:
            return count_keys(connection)


def _is_this_machines(settings: Settings) -> bool:
    """As far as it can be told before anything listens. Raises OSError for an unknown name."""
    address = settings.listen_address
    if not isinstance(address, TcpAddress):
        return True
    resolved = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return is_loopback(str(resolved[0][4][0]))
