"""Databases for tests: a SQLite file, and a PostgreSQL server of our own where one is installed.

A pytest plugin; a module that needs it says `pytest_plugins = ["tests.databases"]`.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

_INITDB = ["-U", "gglib", "-A", "trust", "--no-sync", "--locale=C", "--encoding=UTF8"]
_POSTGRES = ["-c", "listen_addresses=", "-c", "fsync=off"]
_NUMBERS = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return request.getfixturevalue("sqlite_url")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'gglib.db'}"


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty PostgreSQL database."""
    name = f"test_{next(_NUMBERS)}"
    engine = sa.create_engine(
        postgres_server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return postgres_server.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server that listens on a socket in a directory of its own."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no PostgreSQL driver is installed: pip install 'gglib[postgres]'")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no setpriv to leave it with")
    with _postgres(programs) as url:
        yield url


def _postgres_programs() -> Path | None:
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found and (found[-1] / "postgres").exists() else None


@contextmanager
def _postgres(programs: Path) -> Generator[str]:
    root = Path(tempfile.mkdtemp(prefix="gglib-pg-"))
    data = root / "data"
    prefix: list[str] = []
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(root, nobody.pw_uid, nobody.pw_gid)
        user, group = f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}"
        prefix = ["setpriv", user, group, "--clear-groups", "--pdeathsig=KILL", "--"]
    try:
        subprocess.run(
            [*prefix, programs / "initdb", "-D", data, *_INITDB],
            check=True,
            capture_output=True,
            cwd=root,
        )
        server = subprocess.Popen(
            [*prefix, programs / "postgres", "-D", data, "-k", root, *_POSTGRES],
            stderr=subprocess.PIPE,
            cwd=root,
            text=True,
        )
        with _draining(server):
            yield f"postgresql://gglib@/postgres?host={root}"
    finally:
        shutil.rmtree(root)


@contextmanager
def _draining(server: subprocess.Popen[str]) -> Generator[None]:
    """Run the block while the server is up, and take what it prints all the time."""
    is_ready = threading.Event()
    lines: list[str] = []

    def drain() -> None:
        assert server.stderr is not None
        for line in server.stderr:
            lines.append(line)
            if "ready to accept connections" in line:
                is_ready.set()
        is_ready.set()

    drainer = threading.Thread(target=drain)
    drainer.start()
    try:
        assert is_ready.wait(30), lines
        assert server.poll() is None, lines
        yield
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        drainer.join()
        if server.stderr is not None:
            server.stderr.close()
