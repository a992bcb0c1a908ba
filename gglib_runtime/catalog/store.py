"""Changes the catalog: adds, edits and removes models, each in one transaction.

Blocking; for commands, and for threads. Not here: how a running server learns of a change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Unpack

from sqlalchemy.engine import Connection, Engine

from gglib_core.catalog import CatalogSnapshot, catalog_entry, known_as
from gglib_core.errors import InvalidModel, NameTaken, NoSuchModel
from gglib_core.models import Model, NewModel
from gglib_core.stored_models import ModelChanges
from gglib_core.validation import check_model
from gglib_runtime.catalog import records
from gglib_runtime.catalog.database import reading, writing


class SqlModelStore:
    """The models of one database, whose tables are up to date.

    Every method may raise DatabaseError. A method that raises has changed nothing.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def add(self, new: NewModel, *, allow_same_file: bool = False) -> Model:
        """Take `new` into the catalog under an id that no model had before.

        A file that is in the catalog already is refused, unless `allow_same_file` says that a
        second entry for it is meant, as an explicit name does. Raises InvalidModel, NameTaken.
        """
        check_model(new)
        created = int(self._clock())
        real_path = records.resolve_links(new.path)
        with self._changing() as connection:
            if not allow_same_file:
                _refuse_same_file(connection, new, real_path)
            _refuse_taken_names(connection, known_as(new))
            model_id = records.insert_model(connection, new, real_path=real_path, created=created)
        return catalog_entry(new, model_id=model_id, created=created)

    def edit(self, model_id: int, **changes: Unpack[ModelChanges]) -> Model:
        """Change an entry; what is not named stays. Raises NoSuchModel, InvalidModel, NameTaken."""
        with self._changing() as connection:
            old = _existing(connection, model_id)
            model = replace(old, **changes)
            check_model(model)
            _refuse_taken_names(connection, set(known_as(model)) - set(known_as(old)))
            real_path = records.resolve_links(model.path)
            records.update_model(connection, model, real_path=real_path)
        return model

    def remove(self, model_id: int) -> Model:
        """Take an entry out, and return it; its files stay where they are. Raises NoSuchModel."""
        with self._changing() as connection:
            model = _existing(connection, model_id)
            records.delete_model(connection, model_id)
        return model

    def get(self, model_id: int) -> Model:
        """The model of that id. Raises NoSuchModel."""
        with reading(self._engine) as connection:
            return _existing(connection, model_id)

    def list(self) -> Sequence[Model]:
        """All models, by id."""
        return self.snapshot().list_models()

    def find_file(self, path: str) -> Model | None:
        """The model whose first file `path` is, links resolved; the oldest of several."""
        real_path = records.resolve_links(path)
        with reading(self._engine) as connection:
            model_id = records.model_of_file(connection, real_path)
            return None if model_id is None else records.read_model(connection, model_id)

    def snapshot(self) -> CatalogSnapshot:
        """All models at one revision: finds models by name, alias or id."""
        with reading(self._engine) as connection:
            revision = records.read_revision(connection)
            return CatalogSnapshot(records.read_models(connection), revision=revision)

    @contextmanager
    def _changing(self) -> Generator[Connection]:
        with writing(self._engine) as connection:
            records.bump_revision(connection)
            yield connection


def _existing(connection: Connection, model_id: int) -> Model:
    model = records.read_model(connection, model_id)
    if model is None:
        raise NoSuchModel(str(model_id))
    return model


def _refuse_same_file(connection: Connection, new: NewModel, real_path: str) -> None:
    model_id = records.model_of_file(connection, real_path)
    if model_id is not None:
        owner = _existing(connection, model_id)
        raise InvalidModel.for_known_file(new.path, owner.name)


def _refuse_taken_names(connection: Connection, names: Sequence[str] | set[str]) -> None:
    taken = records.owner_of(connection, names)
    if taken is not None:
        name, model_id = taken
        raise NameTaken(name, _existing(connection, model_id).name)
