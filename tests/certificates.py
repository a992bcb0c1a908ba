"""Certificates for tests, from an authority that lives as long as the test run."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


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


def issue_pair(
    directory: Path, stem: str = "tls", *, name: str = "localhost", **options: Any
) -> Pair:
    """A new pair for `name` and the loopback addresses."""
    issued = authority().issue_cert(name, "127.0.0.1", "::1", **options)
    return write_pair(directory, issued, stem)


def self_signed_pair(directory: Path, *, usage: x509.ObjectIdentifier | None = None) -> Pair:
    """A pair whose certificate vouches for itself; `usage` is what it says that it is for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    pair = Pair(directory / "self.crt", directory / "self.key")
    certificate = builder.sign(key, hashes.SHA256())
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(_pem(key, serialization.NoEncryption()))
    return pair


def encrypt_key(path: Path) -> None:
    """Protect the key in that file by a passphrase."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    path.write_bytes(_pem(key, serialization.BestAvailableEncryption(b"secret")))


def _pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    encryption: serialization.KeySerializationEncryption,
) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, encryption)


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
