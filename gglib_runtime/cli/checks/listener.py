"""Checks the public endpoint: does a server run, or could one have its address; the certificate.

Not here: the limits on its clients (`machine`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gglib_core.errors import ConfigError
from gglib_runtime.cli.checks.finding import Finding, fail, ok, warn
from gglib_runtime.cli.failures import CommandFailed, NoServer
from gglib_runtime.cli.listening import explained, is_free
from gglib_runtime.cli.server import find_server
from gglib_runtime.listen_address import TcpAddress, UnixAddress
from gglib_runtime.tls import Certificate, load_certificate, tls_files
from gglib_runtime.unix_listener import check_length, is_listening

if TYPE_CHECKING:
    from gglib_runtime.settings import Settings

_SOON_SECONDS = 14 * 86400.0


def check_endpoint(settings: Settings) -> Iterator[Finding]:
    """Whether a server runs for this data directory, and whether one could get its address."""
    try:
        status = find_server(settings.paths).status()
    except NoServer:
        yield _address(settings)
    else:
        yield ok("server", f"runs at {status['url']} (pid {status['pid']})")


def check_certificate(settings: Settings) -> Iterator[Finding]:
    """Whether a handshake with it works, and for how long clients believe it."""
    if (files := tls_files(settings)) is None:
        return
    try:
        certificate = load_certificate(files)
    except ConfigError as error:
        yield fail("certificate", str(error), "Mend it, or name others with --tls-cert, --tls-key.")
        return
    yield _certificate(certificate, files.certificate)


def _certificate(certificate: Certificate, path: Path) -> Finding:
    whom = f" for {', '.join(certificate.names)}" if certificate.names else ""
    now, said = time.time(), f"{path}{whom}, {certificate.validity}"
    if problem := certificate.problem(now):
        return warn("certificate", f"{path}: {problem}", "Get a new one: clients refuse this one.")
    if certificate.expires - now < _SOON_SECONDS:
        return warn("certificate", said, "Get a new one; a server takes it without a restart.")
    return ok("certificate", said)


def _address(settings: Settings) -> Finding:
    address = settings.listen_address
    match address:
        case TcpAddress():
            return _port(address)
        case UnixAddress(path):
            return _unix_socket(path)
        case _:
            return ok("listener", f"{address}: whoever starts gglib passes it")


def _port(address: TcpAddress) -> Finding:
    where = f"{address.port} on {address.host}"
    try:
        with explained(address):
            if address.port == 0 or is_free(address):
                return ok("port", f"{where} is free")
    except CommandFailed as error:
        return fail("port", f"{where} cannot be had", error.message)
    advice = "Choose another with --port; `gglib up` takes the next one by itself."
    return warn("port", f"{where} is taken by another program", advice)


def _unix_socket(path: Path) -> Finding:
    try:
        check_length(path)
    except ConfigError as error:
        return fail("unix socket", str(error), "Choose a shorter path with --host.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        advice = f"Make {path.parent} writable, or choose another path with --host."
        return fail("unix socket", f"{path} cannot be made", advice)
    if not os.path.lexists(path):
        return ok("unix socket", f"{path} can be made")
    if not path.is_socket():
        advice = "Remove it, or choose another path with --host."
        return fail("unix socket", f"{path} exists and is no socket", advice)
    if is_listening(path):
        advice = "Choose another path with --host."
        return warn("unix socket", f"another program listens on {path}", advice)
    return ok("unix socket", f"{path} was left by a dead server, and will be replaced")
