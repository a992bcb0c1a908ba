"""The endpoint with TLS: real clients, certificates that change, and the end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from gglib_proxy.client import ClientConnection
from gglib_proxy.limits import Limits
from gglib_proxy.tls import TlsConnection
from tests.certificates import (
    Pair,
    authority,
    client_context,
    encrypt_key,
    issue_pair,
    self_signed_pair,
    server_context,
)
from tests.command_line import WAIT_SECONDS, Shell
from tests.faults import CHAT, body, simulating_shell
from tests.loops import on_each_loop
from tests.planes import BODY, STREAM_BODY, relaying, running_plane
from tests.serving import Served, serving, wait_until
from tests.tls_peers import FakeTransport, MemoryTlsClient
from tests.upstreams import STREAM_HEAD, Peer, chunked, event, response

TLS = (server_context(), client_context())
PATH = "/v1/chat/completions"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return simulating_shell(tmp_path / "home", {"alpha": {}})


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return issue_pair(tmp_path)


def flags(pair: Pair) -> tuple[str, ...]:
    return ("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))


@pytest.fixture
def server(shell: Shell, pair: Pair) -> Generator[Served]:
    with serving(shell, *flags(pair)) as served:
        yield served


def client_of(served: Served) -> httpx.Client:
    return httpx.Client(
        base_url=served.url, verify=client_context(), trust_env=False, timeout=WAIT_SECONDS
    )


def address_of(served: Served) -> tuple[str, int]:
    parts = urlsplit(served.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


@contextmanager
def secured(served: Served) -> Generator[ssl.SSLSocket]:
    """A connection after its handshake."""
    with (
        socket.create_connection(address_of(served), timeout=WAIT_SECONDS) as raw,
        client_context().wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        yield connection


def serial_of(served: Served) -> str:
    """Which certificate a new connection is shown."""
    with secured(served) as connection:
        shown = connection.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


# Clients


def test_every_plane_is_reached(server: Served) -> None:
    assert server.url.startswith("https://127.0.0.1:")
    with client_of(server) as client:
        assert client.get("/health").json()["status"] == "ok"
        assert client.post(CHAT, json=body()).json()["object"] == "chat.completion"
        assert client.get("/v1/models").json()["data"][0]["id"] == "alpha"
        assert (
            "https://gglib.localhost/v1"
            in client.get("/", headers={"host": "gglib.localhost"}).text
        )


def test_the_openai_sdk_streams(server: Served) -> None:
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key="none", http_client=client_of(server)
    ) as client:
        chunks = client.chat.completions.create(
            model="alpha", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "hello" in text


@needs_curl
def test_curl_agrees_on_the_protocol_and_keeps_its_connection(
    server: Served, tmp_path: Path
) -> None:
    trusted = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(str(trusted))
    told = "%{http_code} %{http_version} %{num_connects} %{ssl_verify_result}\n"
    command = ["curl", "-sS", "--cacert", trusted, "-w", told, "-o", "/dev/null"]
    urls = [f"{server.url}/health", "-o", "/dev/null", f"{server.url}/v1/models"]
    done = subprocess.run(
        [*command, *urls], capture_output=True, text=True, timeout=WAIT_SECONDS, check=True
    )
    assert done.stdout.splitlines() == ["200 1.1 1 0", "200 1.1 0 0"]


def test_plain_http_is_told_to_use_tls(server: Served) -> None:
    answer = httpx.get(server.url.replace("https", "http"), timeout=WAIT_SECONDS)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "https_required"


def test_commands_know_of_it(shell: Shell, server: Served, pair: Pair) -> None:
    record = json.loads((shell.data_dir / "run" / "serve.json").read_text())
    assert (record["url"], record["certificate"]) == (server.url, str(pair.certificate))
    assert shell.json("status")["url"] == server.url
    said = shell.output("up", "--check")
    assert "Answer after" in said
    assert f"curl --cacert {pair.certificate} {server.url}/v1/chat/completions" in said


@pytest.mark.parametrize("is_self_signed", [False, True])
def test_up_asks_its_first_question_over_tls(
    shell: Shell, tmp_path: Path, pair: Pair, is_self_signed: bool
) -> None:
    pair = self_signed_pair(tmp_path) if is_self_signed else pair
    done = shell.process("up", "--port", "0", "--check", *flags(pair))
    assert (done.returncode, done.stderr) == (0, "")
    assert "is up at https://127.0.0.1:" in done.stdout
    assert "Answer after" in done.stdout


def test_up_believes_this_certificate_and_no_other(
    shell: Shell, server: Served, tmp_path: Path, pair: Pair
) -> None:
    other = issue_pair(tmp_path, "other")
    record = shell.data_dir / "run" / "serve.json"
    told = record.read_text()
    record.write_text(told.replace(str(pair.certificate), str(other.certificate)))
    said = shell.run("up", "--check")
    assert said.exit_code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in said.stderr
    assert serial_of(server)


# Certificates


def test_a_new_certificate_is_used_without_a_restart(
    server: Served, tmp_path: Path, pair: Pair
) -> None:
    old = serial_of(server)
    fresh = issue_pair(tmp_path, "fresh")
    endless = body(stream=True, tokens=10**6, token_seconds=0.01)
    with client_of(server) as client, client.stream("POST", CHAT, json=endless) as answer:
        chunks = answer.iter_raw()
        assert next(chunks)
        fresh.certificate.replace(pair.certificate)
        fresh.key.replace(pair.key)
        wait_until(lambda: serial_of(server) != old)
        for _ in range(3):
            assert next(chunks)
    assert "a new certificate is used, valid until" in server.log.read_text()


def test_a_bad_new_certificate_changes_nothing(server: Served, pair: Pair) -> None:
    old = serial_of(server)
    pair.key.write_text("nonsense")
    wait_until(lambda: "holds no private key" in server.log.read_text())
    assert serial_of(server) == old
    assert server.log.read_text().count("the new certificate is not used") == 1


def test_an_expired_certificate_is_a_warning(shell: Shell, tmp_path: Path) -> None:
    ended = datetime.now(UTC) - timedelta(days=1)
    pair = issue_pair(tmp_path, not_before=ended - timedelta(days=9), not_after=ended)
    found = shell.run("doctor", *flags(pair))
    assert f"warn  certificate: {pair.certificate}: it expired on" in found.stdout
    with serving(shell, *flags(pair)) as server:
        assert "clients may refuse the certificate" in server.log.read_text()
        with pytest.raises(httpx.ConnectError, match="expired"), client_of(server) as client:
            client.get("/health")
        assert "Answer after" in shell.output("up", "--check")


@pytest.mark.parametrize("trouble", ["missing", "encrypted", "no key"])
def test_a_certificate_that_cannot_be_used_keeps_it_from_starting(
    shell: Shell, pair: Pair, trouble: str
) -> None:
    given = flags(pair)
    if trouble == "missing":
        pair.key.unlink()
        reason = f"tls_key: {pair.key} cannot be read: No such file or directory."
    elif trouble == "encrypted":
        encrypt_key(pair.key)
        reason = f"tls_key: {pair.key} is encrypted, and gglib cannot ask for its passphrase."
    else:
        given = given[:2]
        reason = "A setting is wrong: tls_key = None (default): expected a file"
    assert shell.failure("serve", "--port", "0", *given, code=2).startswith(reason)


def test_the_doctor_knows_the_certificate(shell: Shell, tmp_path: Path, pair: Pair) -> None:
    assert f"ok    certificate: {pair.certificate} for localhost, 127.0.0.1, " in shell.output(
        "doctor", "--port", "0", *flags(pair)
    )
    soon = issue_pair(tmp_path, "soon", not_after=datetime.now(UTC) + timedelta(days=3))
    assert f"warn  certificate: {soon.certificate} for " in shell.output(
        "doctor", "--port", "0", *flags(soon)
    )
    pair.key.write_text("nonsense")
    failed = shell.run("doctor", "--port", "0", *flags(pair))
    assert failed.exit_code == 1
    assert "fail  certificate: tls_key: " in failed.stdout


# The end


def test_running_answers_may_end_and_idle_clients_are_closed(server: Served) -> None:
    request = body(stream=True, tokens=40, token_seconds=0.02)
    with (
        secured(server) as idle,
        client_of(server) as client,
        client.stream("POST", CHAT, json=request) as answer,
    ):
        chunks = answer.iter_raw()
        data = b""
        while b"data: " not in data:  # on a busy machine comments come while the model loads
            data += next(chunks)
        server.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        data += b"".join(chunks)
        assert data.endswith(b"data: [DONE]\n\n")
    assert server.process.wait(WAIT_SECONDS) == 0


def test_who_never_shakes_hands_holds_nothing_up(server: Served) -> None:
    with closing(socket.create_connection(address_of(server))) as silent:
        assert server.stop() == 0
        assert silent.recv(1) == b""


# The relay, as far as it differs


@on_each_loop
async def test_large_bodies_arrive_as_they_were_sent() -> None:
    sent = hashlib.sha256(b'"gglib"' * 1_000_000).digest() * (1 << 19)
    seen: list[bytes] = []

    async def echo(peer: Peer) -> None:
        request = await peer.request()
        seen.append(request.body)
        peer.send(response(request.body))
        await peer.gone()

    async with relaying(echo, tls=TLS) as relay:
        document = {**BODY, "noise": sent.hex()}
        answer = await relay.client.ask("POST", PATH, document)
        assert answer.status == 200
        assert answer.body == seen[0] == json.dumps(document).encode()


@on_each_loop
async def test_a_client_that_takes_nothing_holds_its_engine_back_and_is_cut() -> None:
    filler = event({"text": "x" * 4000})
    stopped = asyncio.Event()

    async def gush(peer: Peer) -> None:
        await peer.request()
        peer.send(STREAM_HEAD)
        while peer.unsent_bytes < 1 << 20:
            peer.send(chunked(filler))
            await asyncio.sleep(0)
        stopped.set()
        await peer.gone()

    limits = Limits(slow_reader_seconds=60)
    async with relaying(gush, tls=TLS, limits=limits) as relay:
        relay.client.request("POST", PATH, STREAM_BODY)
        transport = relay.client.writer.transport
        transport.pause_reading()
        async with asyncio.timeout(WAIT_SECONDS):
            await stopped.wait()
        (connection,) = relay.plane.connections
        assert isinstance(connection, ClientConnection)
        await relay.running.until(lambda: connection.is_writing_paused)
        assert 0 < connection._transport.get_write_buffer_size() < 1 << 20
        relay.running.sweep()
        relay.running.sweep(59)
        assert len(relay.plane.connections) == 1
        await relay.running.sweep_until(lambda: not relay.plane.connections, step=61)
        await relay.upstream.all_closed()


async def test_a_client_that_takes_small_events_slowly_is_not_cut() -> None:
    async with running_plane(1) as running:
        app, below, client = ClientConnection(running.plane), FakeTransport(), MemoryTlsClient()
        connection = TlsConnection(
            server_context(), app, handshakes=running.plane.handshakes, deadline=math.inf
        )
        connection.connection_made(below)
        while data := client.shake_hands():
            connection.data_received(data)
            client.feed(below.take())
        app.deadline = math.inf
        written = taken = 0
        for seconds in range(0, 300, 10):
            for _ in range(20):
                app.write([b"x"])  # more than twenty bytes below
            written += len(below.take())
            taken += 300
            below.waiting_bytes = written - taken
            assert below.waiting_bytes > 0
            running.sweep(seconds)
        assert not below.is_aborted
        running.sweep(seconds + 60)
        assert below.is_aborted
        connection.connection_lost(None)
