"""Ends the wait for a database server that has stopped answering.

A thread that waits for an answer cannot be ended, but its connection can: then it fails at once.
Not here: opening connections, and how long opening one may take (`database`).
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

_connections: WeakKeyDictionary[Engine, WeakSet[DBAPIConnection]] = WeakKeyDictionary()


def keep_cuttable(engine: Engine) -> None:
    """Remember what connections there are; those of psycopg."""
    known = _connections[engine] = WeakSet()

    def connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        known.add(connection)

    event.listen(engine, "connect", connected)


def cut_connections(engine: Engine) -> None:
    """Whoever waits for the server gets DatabaseError. A SQLite file answers by itself."""
    for connection in list(_connections.get(engine, ())):
        with suppress(Exception), socket.socket(fileno=_duplicate(connection)) as same:
            same.shutdown(socket.SHUT_RDWR)


def cut_connections_later(engine: Engine, seconds: float) -> asyncio.TimerHandle:
    """The same when that time has passed, unless it is cancelled or the event loop has ended."""
    return asyncio.get_running_loop().call_later(seconds, cut_connections, engine)


def _duplicate(connection: Any) -> int:  # noqa: ANN401 -- the driver need not be installed
    """Of its file. Raises whatever the driver does where it was closed meanwhile."""
    return os.dup(connection.fileno())
