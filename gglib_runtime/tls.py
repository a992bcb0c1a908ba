"""The certificate of the public listener: checked, loaded, and loaded anew when its files change.

A new pair is never loaded into a context that is in use: for a moment that would have the new
certificate with the old key, and with a key of another type it would keep both pairs. Each pair has
a context of its own, and connections that come get the newest.

Not here: speaking TLS (`gglib_proxy.tls`).
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from gglib_core.errors import ConfigError
from gglib_runtime.settings import Settings

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which Python has no name."""

_Stamp = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where a certificate, with its chain behind it, and its key are; both PEM."""

    certificate: Path
    key: Path


def tls_files(settings: Settings) -> TlsFiles | None:
    """What `settings` name; None for plain HTTP."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return TlsFiles(certificate=settings.tls_cert, key=settings.tls_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A pair that works."""

    context: ssl.SSLContext
    """For a server."""
    names: tuple[str, ...]
    """Whom it is for: host names and addresses; none where that cannot be told."""
    starts: float
    expires: float
    """Unix seconds; infinite where that cannot be told."""
    doubt: str | None
    """Why clients may not believe it, besides the time."""

    def problem(self, now: float) -> str | None:
        """What keeps clients from believing it at the Unix time `now`."""
        if now >= self.expires:
            return f"it expired on {_day(self.expires)}"
        if now < self.starts:
            return f"it is not valid before {_day(self.starts)}"
        return self.doubt

    @property
    def validity(self) -> str:
        """Until when it is valid, in words."""
        return f"valid until {_day(self.expires)}" if self.expires < float("inf") else "valid"


def load_certificate(files: TlsFiles) -> Certificate:
    """Read the pair and prove that a handshake with it works. Raises ConfigError."""
    chain = _read("tls_cert", files.certificate)
    leaf = _CERTIFICATE.search(chain)
    if leaf is None:
        raise ConfigError(f"tls_cert: {files.certificate} holds no certificate in PEM form.")
    if _PRIVATE_KEY.search(_read("tls_key", files.key)) is None:
        raise ConfigError(f"tls_key: {files.key} holds no private key in PEM form.")
    context = _server_context()
    _load_pair(context, files)
    try:
        found, doubt = _shake_hands(context, leaf[0])
    except ssl.SSLError as error:
        reason = _words(error)
        raise ConfigError(
            f"tls_cert: {files.certificate}: no handshake works: {reason}."
        ) from error
    return Certificate(
        context=context,
        names=_names(found),
        starts=ssl.cert_time_to_seconds(found["notBefore"]) if found else 0,
        expires=ssl.cert_time_to_seconds(found["notAfter"]) if found else float("inf"),
        doubt=doubt,
    )


def trusting(certificate: Path) -> ssl.SSLContext:
    """For a client that believes this certificate alone, whatever its name, date and issuer.

    Raises OSError, ssl.SSLError or ValueError where it cannot be read.
    """
    leaf = _CERTIFICATE.search(certificate.read_bytes())
    if leaf is None:
        raise ValueError(f"{certificate} holds no certificate in PEM form")
    return _client_context(leaf[0])


class LiveCertificate:
    """The pair in use; made by `open_certificate`."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises ConfigError where the files cannot be used."""
        self._files = files
        self._judged = self._seen = _stamp(files)
        self._current = load_certificate(files)

    @property
    def current(self) -> Certificate:
        return self._current

    def context(self) -> ssl.SSLContext:
        """For a connection that comes now."""
        return self._current.context

    def look(self) -> None:
        """Load the pair anew if its files have changed, and have stayed so since the last look."""
        stamp = _stamp(self._files)
        is_settled, self._seen = stamp == self._seen, stamp
        if stamp == self._judged or not is_settled:
            return
        self._judged = stamp
        try:
            self._current = load_certificate(self._files)
        except ConfigError as error:
            logger.error("the new certificate is not used, the old one stays: %s", error)
        else:
            logger.info("a new certificate is used, %s", self._current.validity)
            warn_of_problem(self._current, self._files)


def warn_of_problem(certificate: Certificate, files: TlsFiles) -> None:
    """Write to the log if clients will not believe the certificate."""
    if problem := certificate.problem(time.time()):
        logger.warning("clients may refuse the certificate %s: %s", files.certificate, problem)


@contextmanager
def open_certificate(
    files: TlsFiles, *, poll_seconds: float = POLL_SECONDS
) -> Generator[LiveCertificate]:
    """The pair in these files, followed by a thread. Raises ConfigError."""
    live = LiveCertificate(files)
    warn_of_problem(live.current, files)
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(poll_seconds):
            live.look()

    thread = threading.Thread(target=follow, name="gglib-certificate", daemon=True)
    thread.start()
    try:
        yield live
    finally:
        ended.set()
        thread.join()


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}.") from error


def _stamp(files: TlsFiles) -> _Stamp:
    """What changes when a file does, or one of the links on the way to it."""
    return tuple(_stamp_of(path) for path in (files.certificate, files.key))


def _stamp_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


class _IsEncrypted(Exception):
    pass


def _load_pair(context: ssl.SSLContext, files: TlsFiles) -> None:
    def refuse() -> str:
        raise _IsEncrypted

    try:
        context.load_cert_chain(files.certificate, files.key, password=refuse)
    except _IsEncrypted:
        raise ConfigError(
            f"tls_key: {files.key} is encrypted, and gglib cannot ask for its passphrase. Decrypt "
            f"it into another file: openssl pkey -in {files.key} -out NEW-FILE"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            reason = f"{files.key} is not the key of the certificate in {files.certificate}."
            raise ConfigError(f"tls_key: {reason}") from error
        both = f"{files.certificate} and {files.key}"
        raise ConfigError(
            f"tls_cert, tls_key: {both} are no usable pair: {_words(error)}."
        ) from error
    except OSError as error:  # it has gone since it was read
        raise ConfigError(f"tls_cert, tls_key: {error.strerror}.") from error


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


def _client_context(leaf: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    flags = ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | flags)
    context.load_verify_locations(cadata=leaf.decode("ascii"))
    return context


def _shake_hands(server: ssl.SSLContext, leaf: bytes) -> tuple[dict[str, Any] | None, str | None]:
    """What a client sees in the certificate, and what it would doubt. Raises ssl.SSLError."""
    try:
        return _handshake(server, _client_context(leaf)), None
    except ssl.SSLCertVerificationError as error:
        doubt = error.verify_message
    trustful = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trustful.check_hostname = False
    trustful.verify_mode = ssl.CERT_NONE
    _handshake(server, trustful)
    return None, doubt


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """One in memory; what the client has learnt of the certificate."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up)
    waiting = [ours, server.wrap_bio(up, down, server_side=True)]
    while waiting:
        waiting = [side for side in waiting if not _has_finished(side)]
    return cast("dict[str, Any]", ours.getpeercert() or {})


def _has_finished(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _names(found: dict[str, Any] | None) -> tuple[str, ...]:
    if found is None:
        return ()
    return tuple(cast("str", value) for _, value in found.get("subjectAltName", ()))


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
