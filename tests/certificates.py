"""Certificates for tests, from an authority that lives as long as the test run."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trustme


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, in files."""

    certificate: Path
    key: Path


def write_pair(directory: Path, issued: trustme.LeafCert, stem: str = "tls") -> Pair:
    """Write the certificate, with its chain, and its key."""
    pair = Pair(directory / f"{stem}.crt", directory / f"{stem}.key")
    pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    pair.key.write_bytes(issued.private_key_pem.bytes())
    return pair


def issue_pair(directory: Path, stem: str = "tls", *, name: str = "localhost") -> Pair:
    """A new pair for `name` and the loopback address."""
    return write_pair(directory, authority().issue_cert(name, "127.0.0.1", "::1"), stem)


@cache
def server_context() -> ssl.SSLContext:
    """What a server of tests speaks TLS with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("localhost").configure_cert(context)
    return context


@cache
def client_context() -> ssl.SSLContext:
    """What clients of tests trust the authority with, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context
