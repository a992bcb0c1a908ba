"""The catalog of a running server: what the database holds, followed as others change it.

Reads in a worker thread and keeps the result in memory, so that no request waits for a database.
Models of this run only stand beside the database's. Not here: changing the catalog (`store`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio import to_thread
from sqlalchemy.engine import Engine

from gglib_core.catalog import CatalogSnapshot, InMemoryModelCatalog, catalog_entry, known_as
from gglib_core.errors import DatabaseError, NameTaken
from gglib_core.models import LaunchSpec, Model, NewModel
from gglib_core.validation import check_model
from gglib_runtime.catalog import records
from gglib_runtime.catalog.database import reading
from gglib_runtime.catalog.records import resolve_links

_log = logging.getLogger(__name__)

State = tuple[int, tuple[Model, ...]]
"""The database's revision, and its models."""


class SqlModelCatalog:
    """What a server knows of its models; `open_sql_catalog` makes one and keeps it up to date."""

    def __init__(self, engine: Engine, state: State, extra: Sequence[Model]) -> None:
        self._engine = engine
        self._seen, stored = state
        self._extra = extra
        self._hidden: frozenset[str] = frozenset()
        self._is_failing = False
        self._memory = InMemoryModelCatalog(self._merged(stored))

    @property
    def revision(self) -> int:
        return self._memory.revision

    @property
    def snapshot(self) -> CatalogSnapshot:
        """The catalog as it stands; it does not follow later changes."""
        return self._memory.snapshot

    def list_models(self) -> Sequence[Model]:
        return self._memory.list_models()

    def resolve_model(self, name: str) -> Model | None:
        return self._memory.resolve_model(name)

    def resolve_for_launch(self, model_id: int) -> LaunchSpec | None:
        return self._memory.resolve_for_launch(model_id)

    def add_listener(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after each change; it must not fail or block.

        Returns a function that removes it.
        """
        return self._memory.add_listener(listener)

    async def follow(self, poll_seconds: float) -> None:
        """Take over changes until cancelled. While the database fails, what is known stays."""
        while True:
            await anyio.sleep(poll_seconds)
            try:
                state = await to_thread.run_sync(_read_if_changed, self._engine, self._seen)
            except DatabaseError as error:
                self._failed(error)
            else:
                self._read(state)

    def _failed(self, error: DatabaseError) -> None:
        if not self._is_failing:
            _log.warning("The catalog cannot be read; the models known so far stay. %s", error)
        self._is_failing = True

    def _read(self, state: State | None) -> None:
        if self._is_failing:
            _log.info("The catalog can be read again.")
        self._is_failing = False
        if state is not None:
            self._seen, stored = state
            self._memory.replace(self._merged(stored))

    def _merged(self, stored: Sequence[Model]) -> tuple[Model, ...]:
        """The database's models, and those of this run whose names it does not have."""
        taken = {name for model in stored for name in known_as(model)}
        shown = tuple(model for model in self._extra if taken.isdisjoint(known_as(model)))
        hidden = frozenset(model.name for model in self._extra if model not in shown)
        for name in sorted(hidden - self._hidden):
            _log.info("The catalog's own model %r takes the place of the one of this run.", name)
        self._hidden = hidden
        return (*shown, *stored)


@asynccontextmanager
async def open_sql_catalog(
    engine: Engine, *, poll_seconds: float = 1.0, extra: Sequence[NewModel] = ()
) -> AsyncGenerator[SqlModelCatalog]:
    """The catalog in that database, whose tables are up to date, followed while the block runs.

    A change is seen within `poll_seconds` and the time that reading takes. `extra` are models of
    this run: they get negative ids and are written nowhere. While the catalog has a model of the
    same name, added before or since, that one stands in their place. Raises NameTaken where a
    name belongs to another file at the start, InvalidModel, and DatabaseError where the database
    cannot be read.
    """
    for new in extra:
        check_model(new)
    state = await to_thread.run_sync(_read, engine)
    of_this_run = await to_thread.run_sync(_number, extra, state[1])
    catalog = SqlModelCatalog(engine, state, of_this_run)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(catalog.follow, poll_seconds)
        try:
            yield catalog
        except Exception as error:  # raised below: the group would wrap it
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _read(engine: Engine) -> State:
    with reading(engine) as connection:
        return records.read_revision(connection), records.read_models(connection)


def _read_if_changed(engine: Engine, seen: int) -> State | None:
    with reading(engine) as connection:
        number = records.read_revision(connection)
        return None if number == seen else (number, records.read_models(connection))


def _number(extra: Iterable[NewModel], stored: Iterable[Model]) -> tuple[Model, ...]:
    """Give the models of this run ids below zero; a file that is named twice counts once."""
    owners: dict[str, NewModel] = {name: model for model in stored for name in known_as(model)}
    named: set[str] = set()
    numbered: list[Model] = []
    for new in extra:
        _refuse_name_of_other_file(new, owners)
        if named.isdisjoint(known_as(new)):
            created = int(time.time())
            numbered.append(catalog_entry(new, model_id=-1 - len(numbered), created=created))
        named.update(known_as(new))
        owners.update(dict.fromkeys(known_as(new), new))
    return tuple(numbered)


def _refuse_name_of_other_file(new: NewModel, owners: Mapping[str, NewModel]) -> None:
    for name in known_as(new):
        owner = owners.get(name, new)
        if resolve_links(owner.path) != resolve_links(new.path):
            raise NameTaken(name, owner.name)
