"""The endpoint on a socket that whoever starts gglib has opened: by number, or from systemd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from gglib_core.errors import ConfigError
from gglib_runtime.inherited_listener import open_inherited_listener, open_systemd_listener
from gglib_runtime.listener import url_of
from tests.command_line import REPOSITORY, WAIT_SECONDS, Shell
from tests.faults import CHAT, body, simulating_shell
from tests.serving import Served, serving

needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return simulating_shell(tmp_path / "home", {"alpha": {}})


@contextmanager
def inheriting(shell: Shell, listener: socket.socket) -> Generator[Served]:
    """A server on a socket of ours."""
    number = listener.fileno()
    with serving(shell, "--host", f"fd://{number}", pass_fds=(number,)) as server:
        yield server


def bound(*, listening: bool = True, family: int = socket.AF_INET) -> socket.socket:
    listener = socket.socket(family)
    listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    if listening:
        listener.listen()
    return listener


def chat(url: str) -> int:
    return httpx.post(f"{url}{CHAT}", json=body(), timeout=WAIT_SECONDS).status_code


# By number


@pytest.mark.parametrize("listening", [True, False])
def test_a_socket_may_listen_already(shell: Shell, listening: bool) -> None:
    with bound(listening=listening) as listener, inheriting(shell, listener) as server:
        assert server.url == f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert chat(server.url) == 200
        assert server.stop() == 0


def test_the_socket_survives_the_server(shell: Shell) -> None:
    with bound() as listener:
        for _ in range(2):
            with inheriting(shell, listener) as server:
                assert httpx.get(f"{server.url}/health").status_code == 200
                assert server.stop() == 0
        with socket.create_connection(listener.getsockname()):  # it waits for the next server
            pass


def test_a_unix_socket_may_be_passed_and_its_file_stays(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "passed.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with inheriting(shell, listener) as server:
            transport = httpx.HTTPTransport(uds=str(path))
            with httpx.Client(transport=transport, base_url="http://any") as client:
                assert client.get("/health").status_code == 200
            assert server.stop() == 0
    assert path.is_socket()


@needs_proc
def test_no_engine_inherits_it(shell: Shell) -> None:
    with bound() as listener, inheriting(shell, listener) as server:
        inode = os.fstat(listener.fileno()).st_ino
        assert chat(server.url) == 200
        engines = server.engines()
        assert engines
        assert has_socket(server.process.pid, inode)
        assert not any(has_socket(engine.pid, inode) for engine in engines)


def has_socket(pid: int, inode: int) -> bool:
    links = [each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir()]
    return Path(f"socket:[{inode}]") in links


def test_a_number_that_is_no_listener_is_refused() -> None:
    with ExitStack() as stack:
        ends = [stack.enter_context(end) for end in socket.socketpair()]
        cases = {
            stack.enter_context(Path(os.devnull).open()).fileno(): "is no socket",
            stack.enter_context(socket.socket()).fileno(): "has no address yet",
            stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)).fileno(): "one of streams",
            ends[0].fileno(): "is a connection",
        }
        for number, reason in cases.items():
            with pytest.raises(ConfigError, match=reason), open_inherited_listener(number):
                pass
            os.fstat(number)  # it is still open: it may be somebody else's


def test_a_number_that_is_not_open_is_refused() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(ConfigError, match="is not open"), open_inherited_listener(writer):
        pass


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_listener_becomes_our_own(family: int) -> None:
    try:
        original = bound(family=family)
    except OSError:
        pytest.skip("this machine has no address of that family")
    with original:
        number = os.dup(original.fileno())
        os.set_inheritable(number, True)
        with open_inherited_listener(number) as listener:
            assert not os.get_inheritable(number)
            assert not listener.getblocking()
            assert url_of(listener).endswith(f":{original.getsockname()[1]}")
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


# From systemd


def test_systemd_passes_its_socket(shell: Shell) -> None:
    with bound() as listener, started_as_systemd_does(shell, listener) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert process.stdout.readline().split()[-1] == url
        assert chat(url) == 200
        assert b"LISTEN_" not in environment_of_child(process.pid)
        process.terminate()
        process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0


SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "gglib.socket"}
os.execv(sys.executable, [sys.executable, "-m", "gglib_runtime", "serve", "--host", "systemd"])
"""


@contextmanager
def started_as_systemd_does(
    shell: Shell, listener: socket.socket
) -> Generator[subprocess.Popen[str]]:
    inherited = {key: text for key, text in os.environ.items() if not key.startswith("GGLIB_")}
    with subprocess.Popen(
        [sys.executable, "-c", SYSTEMD, str(listener.fileno())],
        env=inherited | shell.environ,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(listener.fileno(),),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def environment_of_child(pid: int) -> bytes:
    """Of the one engine; empty where there is no /proc."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        return b""
    (engine,) = children.read_text().split()
    return Path(f"/proc/{engine}/environ").read_bytes()


OURS = {"LISTEN_PID": str(os.getpid())}


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "LISTEN_FDS is not set"),
        ({"LISTEN_FDS": "0", **OURS}, "there is no socket from it"),
        ({"LISTEN_FDS": "x", **OURS}, "there is no socket from it"),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, "its socket is for process 1, and gglib is "),
        ({"LISTEN_FDS": "1"}, r"its socket is for process \(none\)"),
        ({"LISTEN_FDS": "2", **OURS}, "passes 2 sockets, and gglib serves one"),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", **OURS}, r"passes 2 sockets \(a:b\)"),
    ],
)
def test_what_systemd_does_not_pass_is_said(environ: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason), open_systemd_listener(dict(environ)):
        pass


def test_without_a_supervisor_it_does_not_start(shell: Shell) -> None:
    assert "LISTEN_FDS is not set" in shell.failure("serve", "--host", "systemd", code=2)


@pytest.mark.parametrize("host", ["systemd", "fd://3"])
def test_the_doctor_leaves_it_to_the_supervisor(shell: Shell, host: str) -> None:
    assert "whoever starts gglib passes it" in shell.output("doctor", "--host", host)
