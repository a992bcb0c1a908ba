"""The catalog of a running server: what the database holds, followed as others change it.

Kept in memory, so that no request waits for a database. Models of this run only stand beside the
database's. Not here: changing the catalog (`store`), and when the database is asked (`following`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from anyio import to_thread
from sqlalchemy.engine import Connection, Engine

from gglib_core.catalog import CatalogSnapshot, InMemoryModelCatalog, catalog_entry, known_as
from gglib_core.errors import GglibError, NameTaken
from gglib_core.models import LaunchSpec, Model, NewModel
from gglib_core.validation import check_model
from gglib_runtime.catalog import records
from gglib_runtime.catalog.following import Follower, Part, read_all
from gglib_runtime.catalog.records import resolve_links

_log = logging.getLogger(__name__)


class SqlModelCatalog:
    """What a server knows of its models; `open_sql_catalog` makes one and keeps it up to date."""

    def __init__(self, stored: Sequence[Model], extra: Sequence[Model]) -> None:
        self._extra = extra
        self._hidden: frozenset[str] = frozenset()
        self._memory = InMemoryModelCatalog(self._merged(stored))
        self.follower: Follower | None = None

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

    async def catch_up(self) -> None:
        """Take over what was written before, with all that is followed with it.

        Where the database fails now, that comes later.
        """
        if self.follower is not None:
            with suppress(GglibError):
                await self.follower.catch_up()

    def read(self, connection: Connection) -> tuple[Model, ...]:
        """What is to be taken over. Raises DatabaseError."""
        return records.read_models(connection)

    def take_over(self, stored: tuple[Model, ...]) -> None:
        """Have these models from now on, besides those of this run."""
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
    engine: Engine,
    *,
    poll_seconds: float = 1.0,
    extra: Sequence[NewModel] = (),
    also: Sequence[Part] = (),
) -> AsyncGenerator[SqlModelCatalog]:
    """The catalog in that database, whose tables are up to date, followed while the block runs.

    A change is seen within `poll_seconds` and the time that reading takes. `extra` are models of
    this run: they get negative ids and are written nowhere. While the catalog has a model of the
    same name, added before or since, that one stands in their place. Raises NameTaken where a
    name belongs to another file at the start, InvalidModel, and DatabaseError where the database
    cannot be read.

    `also` are other parts of the database to be followed with it. They have taken over what there
    is before the block begins; what they raise in reading that is raised.
    """
    for new in extra:
        check_model(new)
    readers = [records.read_models, *(part.read for part in also)]
    revision, (stored, *others) = await to_thread.run_sync(read_all, engine, readers)
    of_this_run = await to_thread.run_sync(_number, extra, stored)
    catalog = SqlModelCatalog(stored, of_this_run)
    for part, state in zip(also, others, strict=True):
        part.take_over(state)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        catalog.follower = Follower(engine, [catalog, *also], revision)
        tasks.start_soon(catalog.follower.follow, poll_seconds)
        try:
            yield catalog
        except Exception as error:  # raised below: the group would wrap it
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


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
