"""Where the endpoint listens, as the setting `host` says it: the forms, and what each means.

Opens nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

UNIX_PREFIX = "unix:"
DESCRIPTOR_PREFIX = "fd://"
SYSTEMD = "systemd"
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host name or address, and a port; 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"port {self.port} on {self.host}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A file that the server makes."""

    path: Path

    def __str__(self) -> str:
        return f"the unix socket {self.path}"


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A socket that whoever started gglib has opened, by its number."""

    descriptor: int

    def __str__(self) -> str:
        return f"the inherited file {self.descriptor}"


@dataclass(frozen=True, slots=True)
class SystemdSocket:
    """The one socket of a systemd socket unit."""

    def __str__(self) -> str:
        return "the socket from systemd"


ListenAddress = TcpAddress | UnixAddress | InheritedSocket | SystemdSocket


def listen_address(host: str, port: int) -> ListenAddress:
    """What the two settings say; `port` is of meaning for TCP alone. Raises ValueError."""
    if host == SYSTEMD:
        return SystemdSocket()
    if host.startswith(UNIX_PREFIX):
        path = host.removeprefix(UNIX_PREFIX)
        if not path:
            raise ValueError(host)
        return UnixAddress(Path(path))
    if host.startswith(DESCRIPTOR_PREFIX):
        number = host.removeprefix(DESCRIPTOR_PREFIX)
        if not _NUMBER.fullmatch(number):
            raise ValueError(host)
        return InheritedSocket(int(number))
    return TcpAddress(host, port)
