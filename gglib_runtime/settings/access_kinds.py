"""The kinds of value that say who may come: networks, host names and origins of web pages.

Lists: of TOML in a settings file, separated by commas in a variable or a flag. Not here: who is
let in because of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import cast

from gglib_runtime.settings.kinds import WrongValue, each_right

ANY = "*"
UNIX = "unix"
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*\.?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?[^\s/?#@,*]+")


def _listed(raw: object) -> Sequence[object]:
    if isinstance(raw, str):
        return [part.strip() for part in raw.split(",") if part.strip()]
    if isinstance(raw, list | tuple):
        return cast("Sequence[object]", raw)
    raise ValueError(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """Networks, single addresses, or the word for clients of a unix socket."""

    expected: str = "networks such as 10.0.0.0/8, addresses, or unix"
    bounds: str = "a list of networks"

    def parse(self, raw: object, base: Path) -> tuple[str, ...]:
        return each_right(_network, _listed(raw))

    def show(self, value: object) -> str:
        return ", ".join(cast("Sequence[str]", value))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNames:
    """Names of hosts, without ports."""

    expected: str = "names of hosts such as example.org, *.example.org or 192.168.0.7, or *"
    bounds: str = "a list of names"

    def parse(self, raw: object, base: Path) -> tuple[str, ...]:
        return each_right(_host_name, _listed(raw))

    def show(self, value: object) -> str:
        return ", ".join(cast("Sequence[str]", value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """Origins of web pages: scheme, host, and port where it is not the scheme's."""

    expected: str = "origins such as https://example.org or https://*.example.org, or *"
    bounds: str = "a list of origins"

    def parse(self, raw: object, base: Path) -> tuple[str, ...]:
        return each_right(_origin, _listed(raw))

    def show(self, value: object) -> str:
        return ", ".join(cast("Sequence[str]", value))


def _network(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError(raw)
    if raw.strip().lower() == UNIX:
        return UNIX
    try:
        return str(ip_network(raw.strip()))
    except ValueError as error:
        raise WrongValue(f"{raw!r} is no network: {error}") from error


def _host_name(raw: object) -> str:
    name = raw.strip().lower() if isinstance(raw, str) else ""
    if name == ANY or _HOST_NAME.fullmatch(name):
        return name.removesuffix(".")
    try:
        return str(ip_address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise WrongValue(f"{raw!r} is no name of a host (without a port)") from None


def _origin(raw: object) -> str:
    origin = raw.strip().lower().removesuffix("/") if isinstance(raw, str) else ""
    if origin == ANY or _ORIGIN.fullmatch(origin):
        return origin
    raise WrongValue(f"{raw!r} is no origin, which is scheme://host or scheme://host:port")
