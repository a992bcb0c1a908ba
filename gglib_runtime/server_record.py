"""Who serves a data directory, and where: the agreement between a server and the commands.

A lock file says that somebody serves, for exactly as long as that process lives; a JSON record
beside it says where. Not here: the conversation between the two (`gglib_runtime.cli.server`).
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gglib_core.errors import GglibError
from gglib_runtime.paths import DataPaths
from gglib_runtime.unix_listener import is_listening


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """What a running server says of itself."""

    pid: int
    started: float
    """Unix seconds."""
    url: str
    """Of the public endpoint, without a path."""
    socket: str
    """Path of the private unix socket, where the control plane answers."""
    version: str
    certificate: str | None = None
    """Path of the endpoint's certificate, where it speaks TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeInfo:
    """What a server announces once it answers."""

    url: str
    """Of the public endpoint, without a path."""
    certificate: Path | None
    """What clients have to trust, where the endpoint speaks TLS."""
    data_dir: Path
    engine: str
    """What runs the models and where it was found."""
    models: int
    """Models that can be asked for."""
    control_socket: str
    access: str = ""
    """Who may use the endpoint, in words."""
    needs_key: bool = False
    """Whether requests need an API key."""
    missing_default: str = ""
    """The default model's name, where no model has it."""


@contextmanager
def hold_data_directory(paths: DataPaths) -> Generator[None]:
    """Be the one server of this data directory, which is made if need be.

    Raises GglibError that names the holder if there is one.
    """
    paths.create()
    descriptor = os.open(paths.server_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GglibError(_taken(paths)) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        _clear_up(paths)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def publish_record(paths: DataPaths, record: ServerRecord) -> Generator[None]:
    """Let commands find this server; to be entered by the holder of the directory alone."""
    path = paths.server_record
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")
    draft.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def read_record(paths: DataPaths) -> ServerRecord | None:
    """The record as it stands, if there is one that can be read.

    It may be a dead server's: only an answer from its socket proves that one lives.
    """
    try:
        record = ServerRecord(**json.loads(paths.server_record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return record if _is_sound(record) else None


def _is_sound(record: ServerRecord) -> bool:
    texts = (record.url, record.socket, record.version, record.certificate or "")
    return type(record.pid) is int and all(type(text) is str for text in texts)


def _clear_up(paths: DataPaths) -> None:
    """Remove what a server that was killed could not: its record, and its private socket.

    Called by the holder of the directory: whoever is written down there is dead.
    """
    record = read_record(paths)
    with suppress(OSError):
        paths.server_record.unlink()
    if record is not None:
        left_behind = Path(record.socket)
        with suppress(OSError, ValueError):
            if stat.S_ISSOCK(left_behind.lstat().st_mode) and not is_listening(left_behind):
                left_behind.unlink()
                left_behind.parent.rmdir()  # fails where it holds anything else


def _taken(paths: DataPaths) -> str:
    try:
        pid = paths.server_lock.read_text(encoding="utf-8").strip()
    except OSError:
        pid = ""
    record = read_record(paths)
    where = f" at {record.url}" if record is not None and str(record.pid) == pid else ""
    holder = f"gglib (pid {pid})" if pid else "Another gglib"
    return (
        f"{holder} serves {paths.root} already{where}. "
        "Stop it first, or choose another directory with --data-dir."
    )
