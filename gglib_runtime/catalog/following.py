"""Follows the database: asks for its revision, and reads anew what depends on it.

One question serves all parts. Not here: what the parts are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import anyio
from anyio import to_thread
from sqlalchemy.engine import Connection, Engine

from gglib_core.errors import GglibError
from gglib_runtime.catalog.database import reading
from gglib_runtime.catalog.records import read_revision

_log = logging.getLogger(__name__)


class Part(Protocol):
    """Something that a server keeps in memory as the database has it."""

    def read(self, connection: Connection) -> Any:  # noqa: ANN401 -- whatever it takes over
        """What the database has now. Blocking, in a thread; may raise GglibError."""
        ...

    def take_over(self, state: Any, /) -> None:  # noqa: ANN401
        """Have what was read, from now on. On the event loop; must not fail or block."""
        ...


def read_all(
    engine: Engine, readers: Sequence[Callable[[Connection], Any]]
) -> tuple[int, list[Any]]:
    """The revision, and what each reads of the same state of the database. Blocking."""
    with reading(engine) as connection:
        return read_revision(connection), [read(connection) for read in readers]


class Follower:
    """Has the parts take over what changes in a database. Belongs to one event loop."""

    def __init__(self, engine: Engine, parts: Sequence[Part], seen: int) -> None:
        """The parts have what the database had at the revision `seen`."""
        self._engine = engine
        self._parts = parts
        self._seen = seen
        self._reading = anyio.Lock()

    async def follow(self, poll_seconds: float) -> None:
        """Look again and again, until cancelled.

        While the database fails, the parts keep what they have; that it fails is said once.
        """
        is_failing = False
        while True:
            await anyio.sleep(poll_seconds)
            try:
                await self.catch_up()
            except GglibError as error:
                if not is_failing:
                    _log.warning(
                        "The database cannot be read; what is known so far stays. %s", error
                    )
                is_failing = True
                continue
            if is_failing:
                _log.info("The database can be read again.")
            is_failing = False

    async def catch_up(self) -> None:
        """Look now: what was written before is taken over when this returns. Raises GglibError."""
        async with self._reading:
            changed = await to_thread.run_sync(
                _read_if_changed, self._engine, self._parts, self._seen
            )
            if changed is not None:
                self._seen, states = changed
                for part, state in zip(self._parts, states, strict=True):
                    part.take_over(state)


def _read_if_changed(
    engine: Engine, parts: Sequence[Part], seen: int
) -> tuple[int, list[Any]] | None:
    with reading(engine) as connection:
        number = read_revision(connection)
        if number == seen:
            return None
        return number, [part.read(connection) for part in parts]
