"""The endpoint on a unix socket: who may connect, and what becomes of the file."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from gglib_core.errors import ConfigError
from gglib_runtime.cli.endpoint import Endpoint
from gglib_runtime.listen_address import UnixAddress
from gglib_runtime.listener import open_listener, url_of
from gglib_runtime.unix_listener import MOST_PATH_BYTES, is_listening, open_unix_listener
from tests.command_line import WAIT_SECONDS, Shell
from tests.faults import CHAT, body, simulating_shell
from tests.privileges import without_privileges
from tests.serving import Served, serving, wait_until

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return simulating_shell(tmp_path / "home", {"alpha": {}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "g.sock"


@pytest.fixture
def server(shell: Shell, path: Path) -> Generator[Served]:
    with serving(shell, "--host", f"unix:{path}") as served:
        yield served


def client_of(served: Served) -> httpx.Client:
    return Endpoint(url=served.url).open_client(httpx.Timeout(WAIT_SECONDS))


def leave_behind(path: Path) -> None:
    """The file of a server that was killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()


# The file


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o777])
def test_the_file_has_its_mode_from_the_beginning(path: Path, mode: int) -> None:
    before = os.umask(0o022)
    try:
        with open_listener(UnixAddress(path), unix_mode=mode):
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert stat.S_ISSOCK(path.stat().st_mode)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert not os.path.lexists(path)


def test_its_url_has_the_path(path: Path) -> None:
    with open_unix_listener(path, 0o600) as listener:
        assert url_of(listener) == f"http+unix://{quote(str(path), safe='')}"
        assert url_of(listener, is_tls=True).startswith("https+unix://%2F")
        assert Endpoint(url=url_of(listener)).socket_path == str(path)


def test_the_file_of_a_dead_server_is_replaced(path: Path) -> None:
    leave_behind(path)
    assert not is_listening(path)
    with open_unix_listener(path, 0o600):
        assert is_listening(path)
    assert not os.path.lexists(path)


def test_the_file_of_a_living_server_is_left_alone(path: Path) -> None:
    with open_unix_listener(path, 0o600):
        with pytest.raises(OSError, match=str(path)) as caught, open_unix_listener(path, 0o600):
            pass
        assert caught.value.errno == errno.EADDRINUSE
        assert is_listening(path)


def test_a_server_whose_queue_is_full_lives(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as stack:
        busy.bind(str(path))
        busy.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect_ex(str(path))
        assert is_listening(path)


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("elsewhere")
    with pytest.raises(ConfigError, match="is no socket"), open_unix_listener(path, 0o600):
        pass
    assert os.path.lexists(path)


def test_only_the_own_file_is_removed(path: Path) -> None:
    with ExitStack() as stack:
        with open_unix_listener(path, 0o600) as old:
            old.close()
            stack.enter_context(open_unix_listener(path, 0o600))
        assert is_listening(path)


def test_a_file_that_has_gone_is_no_failure(path: Path) -> None:
    with open_unix_listener(path, 0o600):
        path.unlink()


def test_of_many_that_start_at_once_one_gets_the_path(path: Path) -> None:
    leave_behind(path)
    ready, done = threading.Barrier(8), threading.Event()
    outcomes: list[int | None] = []

    def start() -> None:
        ready.wait(WAIT_SECONDS)
        try:
            with open_unix_listener(path, 0o600):
                outcomes.append(None)
                done.wait(WAIT_SECONDS)
        except OSError as error:
            outcomes.append(error.errno)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(outcomes) == 8)
    assert is_listening(path)
    done.set()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert sorted(outcomes, key=str) == [errno.EADDRINUSE] * 7 + [None]


def test_a_path_may_be_as_long_as_the_system_takes(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * (MOST_PATH_BYTES - len(str(tmp_path)) - 1))
    with open_unix_listener(longest, 0o600):
        assert is_listening(longest)
    with pytest.raises(ConfigError, match=f"may have {MOST_PATH_BYTES} bytes"):
        open_unix_listener(Path(f"{longest}x"), 0o600).__enter__()


def test_who_may_not_write_the_directory_is_told() -> None:
    with without_privileges() as directory:
        directory.chmod(0o500)
        with pytest.raises(PermissionError, match=str(directory)):
            open_unix_listener(directory / "g.sock", 0o600).__enter__()


# The server


def test_clients_reach_it_and_their_host_may_be_any(server: Served) -> None:
    with client_of(server) as client:
        assert client.get("/health").json()["status"] == "ok"
        for host in ("localhost", "anything.example:99"):
            answer = client.post(CHAT, json=body(), headers={"Host": host})
            assert answer.status_code == 200
        assert client.get("/v1/models").json()["data"][0]["id"] == "alpha"
        page = client.get("/", headers={"Host": "gglib.example"})
        assert "http://gglib.example/v1" in page.text


@needs_curl
def test_curl_reaches_it(server: Served, path: Path) -> None:
    command = ["curl", "-sS", "--unix-socket", path, "http://localhost/health"]
    done = subprocess.run(command, capture_output=True, timeout=WAIT_SECONDS, check=True)
    assert b'"status":"ok"' in done.stdout


def test_the_owner_alone_may_connect_unless_the_settings_say_more(
    shell: Shell, server: Served, path: Path
) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.stop()
    with serving(shell, "--host", f"unix:{path}", "--set", "unix_socket_mode=0666"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_commands_know_where_it_is(shell: Shell, server: Served, path: Path) -> None:
    assert server.url == f"http+unix://{quote(str(path), safe='')}"
    assert shell.json("status")["url"] == server.url
    said = shell.output("up", "--check")
    assert "Answer after" in said
    assert f"curl --unix-socket {path} http://localhost/v1/chat/completions" in said


def test_the_file_goes_with_the_server(server: Served, path: Path) -> None:
    assert server.stop() == 0
    assert not os.path.lexists(path)


def test_after_a_kill_the_next_server_takes_the_path(
    shell: Shell, server: Served, path: Path
) -> None:
    server.stop(signal.SIGKILL)
    assert path.is_socket()
    assert f"{path} was left by a dead server" in shell.output("doctor", "--host", f"unix:{path}")
    with serving(shell, "--host", f"unix:{path}") as again, client_of(again) as client:
        assert client.get("/health").status_code == 200


def test_a_second_server_is_refused_at_the_path(shell: Shell, server: Served, path: Path) -> None:
    other = {"GGLIB_DATA_DIR": str(path.parent / "other")}
    done = shell.run("serve", "--host", f"unix:{path}", environ=other)
    assert (done.exit_code, done.stderr) == (
        1,
        f"gglib: Another program listens on {path}. Choose another path with --host.\n",
    )
    examined = shell.run("doctor", "--host", f"unix:{path}", environ=other)
    assert f"another program listens on {path}" in examined.stdout
    with client_of(server) as client:
        assert client.get("/health").status_code == 200


def test_a_client_that_leaves_ends_its_request(server: Served) -> None:
    endless = body(stream=True, tokens=10**6, token_seconds=0.01)
    with client_of(server) as client:
        with client.stream("POST", CHAT, json=endless) as answer:
            next(answer.iter_raw())
        wait_until(lambda: _leases(server) == 0)


def test_running_answers_may_end_when_it_is_told_to_stop(server: Served) -> None:
    request = body(stream=True, tokens=40, token_seconds=0.02)
    with client_of(server) as client, client.stream("POST", CHAT, json=request) as answer:
        chunks = answer.iter_raw()
        data = next(chunks)
        server.process.send_signal(signal.SIGTERM)
        data += b"".join(chunks)
        assert data.endswith(b"data: [DONE]\n\n")
    assert server.process.wait(WAIT_SECONDS) == 0


def test_the_file_goes_also_when_signals_come_in_a_row(tmp_path: Path, path: Path) -> None:
    shell = simulating_shell(tmp_path / "stubborn", {"alpha": {"ignore_term": True}})
    with serving(shell, "--host", f"unix:{path}", "--set", "stop_grace_seconds=1") as server:
        shell.output("load", "alpha")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "ready -> stopping" in server.log.read_text())
        for _ in range(3):
            server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(WAIT_SECONDS) == 0
    assert not os.path.lexists(path)


def _leases(server: Served) -> int:
    return sum(model["leases"] for model in server.shell.json("status")["models"])


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("unix:/no/such/directory/g.sock", "There is no directory /no/such/directory for"),
        ("unix:" + "/x" * 100, "may have"),
        ("unix:/dev/null", "is no socket"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(shell: Shell, host: str, part: str) -> None:
    code = 1 if "directory" in part else 2
    assert part in shell.failure("serve", "--host", host, code=code)


@pytest.mark.parametrize(
    ("host", "verdict"),
    [("unix:/no/such/g.sock", "fail"), ("unix:/dev/null", "fail"), ("unix:" + "/x" * 99, "fail")],
)
def test_the_doctor_sees_it_before(shell: Shell, host: str, verdict: str) -> None:
    found = shell.run("doctor", "--json", "--host", host)
    assert f'"verdict": "{verdict}"' in found.stdout.partition('"unix socket"')[2][:80]
