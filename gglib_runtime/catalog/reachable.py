"""Whether the database answers; fills `ReadinessCheck`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import sqlalchemy as sa

from gglib_core.errors import DatabaseError
from gglib_runtime.catalog.database import reading

ANSWER_SECONDS = 1.0


class DatabaseReachable:
    """Asks the smallest question; made by `open_database_check`."""

    name = "database"

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._question: asyncio.Task[None] | None = None

    async def problem(self) -> str | None:
        question = self._question
        if question is None:
            question = self._question = asyncio.create_task(asyncio.to_thread(self._ask))
        # A thread cannot be ended: the next probe waits for the same answer.
        await asyncio.wait((question,), timeout=ANSWER_SECONDS)
        if not question.done():
            return f"it gave no answer within {ANSWER_SECONDS:g} s"
        self._question = None
        try:
            question.result()
        except DatabaseError as error:
            return str(error)
        return None

    def _ask(self) -> None:
        with reading(self._engine) as connection:
            connection.execute(sa.text("SELECT 1 FROM alembic_version")).all()

    async def settled(self) -> None:
        """Wait until no question is left; cutting the connections (`cutting`) bounds that."""
        if self._question is not None:
            await asyncio.wait((self._question,))
            self._question.exception()


@asynccontextmanager
async def open_database_check(engine: sa.Engine) -> AsyncGenerator[DatabaseReachable]:
    """A check for the length of the block; leaves no thread behind."""
    check = DatabaseReachable(engine)
    try:
        yield check
    finally:
        await check.settled()
