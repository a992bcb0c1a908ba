"""Opens the database, SQLite or PostgreSQL, and lends transactions on it.

What fails in the driver leaves here as DatabaseError, in one line that says what to do. Not here:
what the tables are, and how they are made.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from gglib_core.errors import DatabaseError
from gglib_runtime.catalog.cutting import cut_connections, keep_cuttable
from gglib_runtime.catalog.failures import translated

BUSY_SECONDS = 5.0
_BEGIN = "gglib_begin"
_FILE = "gglib_file"
_POSTGRES = ("postgres", "postgresql", "postgresql+psycopg")


@contextmanager
def open_database(url: str | Path, *, busy_seconds: float = BUSY_SECONDS) -> Generator[Engine]:
    """An engine for `url`: `sqlite:///PATH` or a plain path, or `postgresql://…`.

    Makes the SQLite file and its directory, for this user alone, where they are missing. Does not
    connect, and does not bring the tables up to date. A writer waits at most `busy_seconds` for
    another. Closes every connection at the end. Raises DatabaseError.
    """
    engine = _engine(url, busy_seconds)
    try:
        yield engine
    finally:
        engine.dispose()
        cut_connections(engine)  # those that somebody still waits at


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """A transaction that sees one state of the database, whatever others write meanwhile."""
    with translated(engine.url), engine.connect() as connection:
        if not is_sqlite(engine):
            connection.execution_options(isolation_level="REPEATABLE READ")
            connection.execution_options(postgresql_readonly=True)
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """A transaction that may write; committed at the end, rolled back when the block raises."""
    with translated(engine.url), engine.connect() as connection:
        # IMMEDIATE: a reader that turns writer fails at once when another has written meanwhile.
        connection.execution_options(**{_BEGIN: "IMMEDIATE"})
        with connection.begin():
            yield connection


@contextmanager
def altering(engine: Engine, *, busy_seconds: float) -> Generator[Connection]:
    """A transaction that may change tables, alone: a second one waits until the first has ended."""
    with translated(engine.url), engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        connection.detach()  # its settings are not for others
        if is_sqlite(engine):
            driver.execute(f"PRAGMA busy_timeout={round(busy_seconds * 1000)}")
            # Rebuilding a table drops it, and with it what refers to it, while this is on.
            driver.execute("PRAGMA foreign_keys=OFF")
            connection.execution_options(**{_BEGIN: "EXCLUSIVE"})
        with connection.begin():
            if not is_sqlite(engine):
                _lock_schema(connection, busy_seconds)
            yield connection


def is_sqlite(engine: Engine) -> bool:
    """Whether the database is a file of ours rather than a server's."""
    return engine.dialect.name == "sqlite"


def insert_into(table: sa.Table, connection: Connection) -> Any:  # noqa: ANN401 -- two types
    """An INSERT that knows ON CONFLICT, which each database has in a dialect of its own."""
    # The connection has imported one of the dialects already; the other one costs 25 ms.
    if is_sqlite(connection.engine):
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert
    return insert(table)


def _engine(url: str | Path, busy_seconds: float) -> Engine:
    text = str(url)
    scheme, separator, rest = text.partition("://")
    if isinstance(url, Path) or not separator:
        return _sqlite_engine(Path(text), busy_seconds)
    if scheme == "sqlite":
        # Taken literally, for SQLAlchemy would end a path at its first question mark.
        if not rest.startswith("/") or rest in ("/", "/:memory:"):
            raise DatabaseError(f"{text!r} names no file: write sqlite:////absolute/path.db")
        return _sqlite_engine(Path(rest[1:]), busy_seconds)
    if scheme in _POSTGRES:
        return _postgres_engine(text, busy_seconds)
    raise DatabaseError(
        f"A database of the kind {scheme!r} is not supported: use sqlite:///PATH or "
        "postgresql://user:password@host/name"
    )


def _sqlite_engine(path: Path, busy_seconds: float) -> Engine:
    path = path.absolute()
    url = URL.create("sqlite+pysqlite", database=str(path))
    _create_file(path)
    # Read-write, never create: a file that vanished under a running server is an error to report.
    address = f"file:{quote(str(path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            _configure(connection, busy_seconds)
        except BaseException:
            connection.close()
            raise
        return connection

    engine = sa.create_engine(
        url, creator=connect, poolclass=QueuePool, json_deserializer=msgspec.json.decode
    )
    event.listen(engine, "begin", _begin)
    _follow_file(engine, path)
    return engine


def _create_file(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "It is a directory")
        # Never open one that exists: closing it would drop the locks that SQLite holds on it for
        # other connections of this process.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DatabaseError(
            f"The database {path} cannot be opened: {error.strerror or error}. This user needs "
            "write access to the file and to its directory."
        ) from error


def _configure(connection: sqlite3.Connection, busy_seconds: float) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _switch_to_wal(connection, time.monotonic() + busy_seconds)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA temp_store=MEMORY")


def _switch_to_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Several processes may open a new file at once, and SQLite does not wait here by itself."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _begin(connection: Connection) -> None:
    """The driver's own transactions start too late; it is told to leave them alone."""
    mode = connection.get_execution_options().get(_BEGIN, "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _follow_file(engine: Engine, path: Path) -> None:
    """Drop connections to a file that was replaced since, for example by a restored backup."""

    def identity() -> tuple[int, int] | None:
        try:
            facts = path.stat()
        except OSError:
            return None
        return facts.st_dev, facts.st_ino

    def connected(_: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info[_FILE] = identity()

    def checked_out(
        _: DBAPIConnection, entry: ConnectionPoolEntry, __: PoolProxiedConnection
    ) -> None:
        if entry.info[_FILE] != identity():
            raise exc.DisconnectionError("the database's file was replaced")

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)


def _postgres_engine(url: str, busy_seconds: float) -> Engine:
    try:
        target = make_url(url).set(drivername="postgresql+psycopg")
    except (exc.ArgumentError, ValueError):
        raise DatabaseError(
            "The database URL cannot be read: write postgresql://user:password@host:port/name, "
            "with special characters percent-encoded"
        ) from None
    settings: dict[str, Any] = {
        "connect_timeout": 5,
        # Else a thread waits for ever for a server that went away without a word.
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }
    try:
        engine = sa.create_engine(
            target,
            connect_args={key: value for key, value in settings.items() if key not in target.query},
            pool_pre_ping=True,
            json_deserializer=msgspec.json.decode,
        )
    except ImportError as error:
        raise DatabaseError(
            "PostgreSQL needs a driver that is not installed: pip install 'gglib[postgres]'"
        ) from error

    def connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.cursor().execute(f"SET lock_timeout = {round(busy_seconds * 1000)}")
        connection.commit()

    keep_cuttable(engine)
    event.listen(engine, "connect", connected)
    return engine


def _lock_schema(connection: Connection, busy_seconds: float) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(busy_seconds * 1000)}")
    # Any number will do as long as every version of gglib takes the same: "gglib" in ASCII.
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({0x67676C6962})")
