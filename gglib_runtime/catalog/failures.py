"""Says in one line what went wrong in a database, and what to do about it.

Knows the error codes of SQLite and PostgreSQL. Not here: trying again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import exc
from sqlalchemy.engine import URL

from gglib_core.errors import DatabaseError

_SQLITE = {
    "SQLITE_BUSY": "is locked: another program has been writing to it for too long. End that "
    "program, or try again",
    "SQLITE_FULL": "cannot grow: the disk is full. Nothing was changed; free some space and try "
    "again",
    "SQLITE_READONLY": "cannot be written: this user needs write access to the file and to its "
    "directory",
    "SQLITE_CANTOPEN": "cannot be opened: it is missing, or this user may not write to it and its "
    "directory",
    "SQLITE_CORRUPT": "is damaged. Restore a backup, or move the file away to start with an empty "
    "catalog",
    "SQLITE_NOTADB": "is no SQLite database. Name another one, or move the file away",
    "SQLITE_IOERR": "cannot be read or written: the disk is full or reports an error",
}
_SQLITE["SQLITE_LOCKED"] = _SQLITE["SQLITE_BUSY"]
_POSTGRES = {
    "55P03": _SQLITE["SQLITE_BUSY"],  # lock_not_available
    "53100": _SQLITE["SQLITE_FULL"],  # disk_full
    "25006": "cannot be written: the server allows reading only",
    "42501": "refuses this user: it needs the right to create and use tables in its schema",
}


@contextmanager
def translated(url: URL) -> Generator[None]:
    """Raise what a driver raises as DatabaseError; the database is called by `url`."""
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error) as error:
        raise DatabaseError(f"The database {_title(url)} {_reason(error)}.") from error


def _title(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def _reason(error: Exception) -> str:
    cause: BaseException = error
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        cause = error.orig
    known = _known(cause)
    if known is not None:
        return known
    if isinstance(error, exc.TimeoutError):
        return "has all its connections in use"
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return f"cannot be used: {lines[0].rstrip('.')}"


def _known(cause: BaseException) -> str | None:
    if isinstance(cause, sqlite3.Error):
        # Extended codes, such as SQLITE_READONLY_DBMOVED, begin with the code they refine.
        parts = getattr(cause, "sqlite_errorname", "").split("_")
        return _SQLITE.get("_".join(parts[:2]))
    return _POSTGRES.get(getattr(cause, "sqlstate", None) or "")
