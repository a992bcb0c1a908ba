"""The endpoint's certificate: what is accepted, and how a new one gets into use."""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from gglib_core.errors import ConfigError
from gglib_runtime.tls import (
    Certificate,
    LiveCertificate,
    TlsFiles,
    load_certificate,
    open_certificate,
    trusting,
)
from tests.certificates import (
    Pair,
    authority,
    client_context,
    encrypt_key,
    issue_pair,
    self_signed_pair,
    write_pair,
)
from tests.privileges import without_privileges

WAIT_SECONDS = 20.0


def files(pair: Pair) -> TlsFiles:
    return TlsFiles(certificate=pair.certificate, key=pair.key)


def complaint(pair: Pair) -> str:
    with pytest.raises(ConfigError) as caught:
        load_certificate(files(pair))
    return str(caught.value)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """The client's side of a handshake in memory; raises what fails it."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname="localhost")
    waiting = [ours, server.wrap_bio(up, down, server_side=True)]
    for _ in range(10):
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting
    return ours


def serial_of(server: ssl.SSLContext, client: ssl.SSLContext | None = None) -> str:
    """Which certificate a client is shown."""
    shown = shake_hands(server, client or client_context()).getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


def test_a_pair_that_works_says_whom_it_is_for_and_until_when(tmp_path: Path) -> None:
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    certificate = load_certificate(files(issue_pair(tmp_path, not_after=expires)))
    assert certificate.names == ("localhost", "127.0.0.1", "0:0:0:0:0:0:0:1")
    assert certificate.expires == expires.timestamp()
    assert certificate.problem(time.time()) is None
    assert certificate.validity == f"valid until {expires:%Y-%m-%d %H:%M} UTC"
    serial_of(certificate.context)


def test_both_may_be_in_one_file(tmp_path: Path) -> None:
    pair = issue_pair(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    serial_of(load_certificate(files(Pair(both, both))).context)


def test_the_chain_is_sent_along(tmp_path: Path) -> None:
    intermediate = authority().create_child_ca()
    pair = write_pair(tmp_path, intermediate.issue_cert("localhost"))
    serial_of(load_certificate(files(pair)).context)


def test_a_certificate_may_vouch_for_itself(tmp_path: Path) -> None:
    pair = self_signed_pair(tmp_path)
    certificate = load_certificate(files(pair))
    assert certificate.problem(time.time()) is None
    assert serial_of(certificate.context, trusting(pair.certificate))


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_both_usual_kinds_of_key_work(tmp_path: Path, key_type: trustme.KeyType) -> None:
    serial_of(load_certificate(files(issue_pair(tmp_path, key_type=key_type))).context)


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_a_missing_file_is_named(tmp_path: Path, which: str) -> None:
    pair = issue_pair(tmp_path)
    path: Path = getattr(pair, which)
    path.unlink()
    setting = "tls_cert" if which == "certificate" else "tls_key"
    assert complaint(pair) == f"{setting}: {path} cannot be read: No such file or directory."


def test_a_file_that_may_not_be_read_is_named() -> None:
    with without_privileges() as directory:
        pair = issue_pair(directory)
        pair.key.chmod(0)
        assert complaint(pair) == f"tls_key: {pair.key} cannot be read: Permission denied."


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    pair = Pair(tmp_path, issue_pair(tmp_path).key)
    assert complaint(pair) == f"tls_cert: {tmp_path} cannot be read: Is a directory."


def test_files_that_were_swapped_are_told_apart(tmp_path: Path) -> None:
    pair = issue_pair(tmp_path)
    assert complaint(Pair(pair.key, pair.certificate)) == (
        f"tls_cert: {pair.key} holds no certificate in PEM form."
    )
    assert complaint(Pair(pair.certificate, pair.certificate)) == (
        f"tls_key: {pair.certificate} holds no private key in PEM form."
    )


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    pair, other = issue_pair(tmp_path, "one"), issue_pair(tmp_path, "two")
    assert complaint(Pair(pair.certificate, other.key)) == (
        f"tls_key: {other.key} is not the key of the certificate in {pair.certificate}."
    )


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    pair = issue_pair(tmp_path, "one", key_type=trustme.KeyType.RSA)
    other = issue_pair(tmp_path, "two", key_type=trustme.KeyType.ECDSA)
    assert complaint(Pair(pair.certificate, other.key)).startswith("tls_")


def test_an_encrypted_key_is_refused_with_the_way_out(tmp_path: Path) -> None:
    pair = issue_pair(tmp_path)
    encrypt_key(pair.key)
    assert complaint(pair) == (
        f"tls_key: {pair.key} is encrypted, and gglib cannot ask for its passphrase. Decrypt it "
        f"into another file: openssl pkey -in {pair.key} -out NEW-FILE"
    )


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_damaged_files_are_refused(tmp_path: Path, which: str) -> None:
    pair = issue_pair(tmp_path)
    path: Path = getattr(pair, which)
    lines = path.read_text().splitlines()
    lines[1] = lines[1][::-1]
    path.write_text("\n".join(lines))
    assert complaint(pair).startswith(
        f"tls_cert, tls_key: {pair.certificate} and {pair.key} are no usable pair: "
    )


def test_an_expired_certificate_is_loaded_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    pair = issue_pair(tmp_path, not_before=ended - timedelta(days=9), not_after=ended)
    with open_certificate(files(pair)) as live:
        problem = live.current.problem(time.time())
    assert problem == f"it expired on {ended:%Y-%m-%d %H:%M} UTC"
    assert caplog.messages == [f"clients may refuse the certificate {pair.certificate}: {problem}"]
    assert serial_of(live.context(), trusting(pair.certificate))


def test_a_certificate_of_the_future_is_doubted(tmp_path: Path) -> None:
    begins = datetime.now(UTC) + timedelta(days=1)
    pair = issue_pair(tmp_path, not_before=begins)
    problem = load_certificate(files(pair)).problem(time.time())
    assert problem is not None
    assert problem.startswith("it is not valid before ")


def test_a_certificate_that_is_not_for_servers_is_doubted(tmp_path: Path) -> None:
    usage = x509.ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = load_certificate(files(self_signed_pair(tmp_path, usage=usage)))
    assert certificate.problem(time.time())
    assert (certificate.names, certificate.validity) == ((), "valid")


def test_one_protocol_is_agreed_on(tmp_path: Path) -> None:
    certificate = load_certificate(files(issue_pair(tmp_path)))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(client)
    client.set_alpn_protocols(["h2", "http/1.1"])
    ours = shake_hands(certificate.context, client)
    assert (ours.selected_alpn_protocol(), ours.version()) == ("http/1.1", "TLSv1.3")


@pytest.mark.parametrize(
    ("version", "is_spoken"), [("TLSv1", False), ("TLSv1_1", False), ("TLSv1_2", True)]
)
def test_old_versions_are_not_spoken(tmp_path: Path, version: str, is_spoken: bool) -> None:
    certificate = load_certificate(files(issue_pair(tmp_path)))
    certificate.context.set_ciphers("ALL:@SECLEVEL=0")  # what OpenSSL would refuse is not the point
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(client)
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with _deprecated(not is_spoken):
        client.minimum_version = ssl.TLSVersion[version]
    with _deprecated(not is_spoken):
        client.maximum_version = ssl.TLSVersion[version]
    if is_spoken:
        assert shake_hands(certificate.context, client).version() == "TLSv1.2"
        return
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol|protocol.version"):
        shake_hands(certificate.context, client)


def _deprecated(expected: bool) -> AbstractContextManager[object]:
    return pytest.warns(DeprecationWarning, match="TLS") if expected else nullcontext()


def test_one_certificate_is_trusted_and_no_other(tmp_path: Path) -> None:
    one, two = issue_pair(tmp_path, "one"), issue_pair(tmp_path, "two")
    context = load_certificate(files(one)).context
    assert serial_of(context, trusting(one.certificate))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, trusting(two.certificate))


def replace_pair(pair: Pair, directory: Path, **options: object) -> None:
    """Put a new certificate and key in their place, each at one blow."""
    fresh = issue_pair(directory, "fresh", **options)
    fresh.certificate.replace(pair.certificate)
    fresh.key.replace(pair.key)


def test_a_new_pair_is_used_once_it_has_stayed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pair = issue_pair(tmp_path)
    live = LiveCertificate(files(pair))
    live.look()
    before = live.context()
    old = serial_of(before)
    replace_pair(pair, tmp_path)
    live.look()
    assert live.context() is before
    live.look()
    new = serial_of(live.context())
    assert new != old
    assert serial_of(before) == old
    live.look()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "a new certificate is used, valid until " in caplog.text


def test_a_pair_of_another_kind_takes_the_whole_place(tmp_path: Path) -> None:
    pair = issue_pair(tmp_path, key_type=trustme.KeyType.RSA)
    live = LiveCertificate(files(pair))
    replace_pair(pair, tmp_path, key_type=trustme.KeyType.ECDSA)
    live.look()
    live.look()
    old_fashioned = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(old_fashioned)
    old_fashioned.maximum_version = ssl.TLSVersion.TLSv1_2
    old_fashioned.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError):  # the RSA certificate has gone
        shake_hands(live.context(), old_fashioned)


def test_a_bad_new_pair_leaves_the_old_one_and_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = issue_pair(tmp_path)
    live = LiveCertificate(files(pair))
    before = live.current
    pair.key.write_text("nonsense")
    for _ in range(4):
        live.look()
    assert live.current is before
    reason = f"tls_key: {pair.key} holds no private key in PEM form."
    assert caplog.messages == [f"the new certificate is not used, the old one stays: {reason}"]
    replace_pair(pair, tmp_path)
    live.look()
    live.look()
    assert live.current is not before
    assert len(caplog.messages) == 1


def test_a_pair_that_is_half_written_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = issue_pair(tmp_path)
    live = LiveCertificate(files(pair))
    fresh = issue_pair(tmp_path, "fresh")
    pair.certificate.write_bytes(fresh.certificate.read_bytes())
    live.look()
    pair.key.write_bytes(fresh.key.read_bytes())
    live.look()
    live.look()
    assert not caplog.messages
    assert serial_of(live.context()) == serial_of(load_certificate(files(fresh)).context)


def test_files_that_have_gone_leave_the_old_pair(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = issue_pair(tmp_path)
    live = LiveCertificate(files(pair))
    hidden = pair.certificate.with_suffix(".hidden")
    pair.certificate.rename(hidden)
    for _ in range(3):
        live.look()
    assert len(caplog.messages) == 1
    serial_of(live.context())


def test_a_link_that_is_swapped_on_the_way_is_followed(tmp_path: Path) -> None:
    """As Kubernetes does it: files are links through `..data`, which is swapped for all."""

    def version(name: str) -> Pair:
        (tmp_path / name).mkdir()
        return issue_pair(tmp_path / name)

    version("..1")
    (tmp_path / "..data").symlink_to("..1")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    live = LiveCertificate(files(Pair(tmp_path / "tls.crt", tmp_path / "tls.key")))
    new = version("..2")
    (tmp_path / "..tmp").symlink_to("..2")
    os.replace(tmp_path / "..tmp", tmp_path / "..data")  # noqa: PTH105 - Path resolves nothing here
    live.look()
    live.look()
    assert serial_of(live.context()) == serial_of(load_certificate(files(new)).context)


def test_a_thread_looks_for_as_long_as_the_block(tmp_path: Path) -> None:
    pair = issue_pair(tmp_path)
    before = set(threading.enumerate())
    with open_certificate(files(pair), poll_seconds=0.01) as live:
        old = live.current
        replace_pair(pair, tmp_path)
        new = wait_for_another(live, old)
        assert serial_of(new.context) != serial_of(old.context)
    assert set(threading.enumerate()) == before


def wait_for_another(live: LiveCertificate, old: Certificate) -> Certificate:
    deadline = time.monotonic() + WAIT_SECONDS
    while live.current is old:
        assert time.monotonic() < deadline
        os.sched_yield()
    return live.current
