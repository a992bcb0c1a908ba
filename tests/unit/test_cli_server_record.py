"""One server holds a data directory, and commands find it by its record."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from gglib_core.errors import GglibError
from gglib_runtime.paths import DataPaths
from gglib_runtime.server_record import (
    ServerRecord,
    hold_data_directory,
    publish_record,
    read_record,
)


def record(pid: int = 1, socket: str = "/tmp/x") -> ServerRecord:
    return ServerRecord(
        pid=pid, started=1.5, url="http://127.0.0.1:8080", socket=socket, version="1"
    )


def left_behind(paths: DataPaths, socket_path: str) -> None:
    """What a server that was killed leaves in the data directory."""
    paths.create()
    paths.server_record.write_text(json.dumps(asdict(record(socket=socket_path))))


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    return DataPaths(tmp_path / "data")


@pytest.fixture
def private() -> Iterator[Path]:
    """A directory whose path is short enough for a socket's."""
    directory = Path(tempfile.mkdtemp(prefix="gglib-test-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def test_a_second_server_is_told_who_holds_the_directory(paths: DataPaths) -> None:
    with (
        hold_data_directory(paths),
        publish_record(paths, record(os.getpid())),
        pytest.raises(GglibError) as caught,
        hold_data_directory(paths),
    ):
        pass
    assert str(caught.value) == (
        f"gglib (pid {os.getpid()}) serves {paths.root} already at http://127.0.0.1:8080. "
        "Stop it first, or choose another directory with --data-dir."
    )


def test_a_record_of_another_server_is_not_taken_for_the_holders(paths: DataPaths) -> None:
    with (
        hold_data_directory(paths),
        publish_record(paths, record(pid=1)),
        pytest.raises(GglibError, match=rf"pid {os.getpid()}\) serves {paths.root} already\. "),
        hold_data_directory(paths),
    ):
        pass


def test_the_directory_is_free_again_afterwards(paths: DataPaths) -> None:
    for _ in range(2):
        with hold_data_directory(paths):
            assert paths.server_lock.read_text() == f"{os.getpid()}\n"


def test_a_killed_server_holds_nothing(paths: DataPaths) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from gglib_runtime.paths import DataPaths\n"
        "from gglib_runtime.server_record import hold_data_directory\n"
        "with hold_data_directory(DataPaths(pathlib.Path(sys.argv[1]))):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(paths.root)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(GglibError, match=f"pid {process.pid}"), hold_data_directory(paths):
            pass
        process.kill()
        process.wait(timeout=30)
    with hold_data_directory(paths):
        pass


def test_a_record_is_there_for_as_long_as_its_block(paths: DataPaths) -> None:
    paths.create()
    assert read_record(paths) is None
    with publish_record(paths, record()):
        assert read_record(paths) == record()
        fields = {"pid", "started", "url", "socket", "version", "certificate"}
        assert set(json.loads(paths.server_record.read_text())) == fields
    assert read_record(paths) is None
    assert list(paths.run.glob("serve*")) == []


NO_TEXT = json.dumps({**asdict(record()), "socket": None})
NO_NUMBER = json.dumps({**asdict(record()), "pid": "1"})


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"pid": 1}', "\udc80", "[" * 100_000, NO_TEXT, NO_NUMBER],
    ids=lambda text: ascii(text)[:20],
)
def test_a_damaged_record_is_none_and_keeps_no_server_from_starting(
    paths: DataPaths, text: str
) -> None:
    paths.create()
    paths.server_record.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_record(paths) is None
    with hold_data_directory(paths):
        assert not paths.server_record.exists()


def test_what_a_killed_server_left_behind_is_removed(paths: DataPaths, private: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(private / "control.sock"))
    left_behind(paths, str(private / "control.sock"))
    with hold_data_directory(paths):
        assert not private.exists()
        assert read_record(paths) is None


def test_a_socket_that_somebody_listens_at_stays(paths: DataPaths, private: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(private / "control.sock"))
        listener.listen()
        left_behind(paths, str(private / "control.sock"))
        with hold_data_directory(paths):
            assert (private / "control.sock").exists()


@pytest.mark.parametrize("name", ["notes.txt", "missing", "x" * 300, "nul\0"])
def test_nothing_but_a_socket_is_removed(paths: DataPaths, private: Path, name: str) -> None:
    (private / "notes.txt").touch()
    left_behind(paths, str(private / name))
    with hold_data_directory(paths):
        assert (private / "notes.txt").exists()


def test_a_directory_with_more_in_it_stays(paths: DataPaths, private: Path) -> None:
    (private / "notes.txt").touch()
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(private / "control.sock"))
    left_behind(paths, str(private / "control.sock"))
    with hold_data_directory(paths):
        assert [each.name for each in private.iterdir()] == ["notes.txt"]
