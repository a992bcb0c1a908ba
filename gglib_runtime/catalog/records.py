"""How a model becomes rows of the catalog's tables, and rows become models.

Every function works inside the transaction that it is given. An entry that makes no sense is a
DatabaseError. Not here: what a model may be.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from gglib_core.errors import DatabaseError
from gglib_core.models import Capability, GgufFacts, Model, NewModel
from gglib_runtime.catalog.tables import model_names, models, revision

_PLAIN = (
    "size_bytes",
    "context",
    "parallel",
    "threads",
    "gpu_layers",
    "idle_seconds",
    "max_concurrent",
    "is_pinned",
    "is_preloaded",
    "engine",
    "input_cost_per_1k",
    "output_cost_per_1k",
    "currency",
)
_FACTS = frozenset(field.name for field in dataclasses.fields(GgufFacts))


def bump_revision(connection: Connection) -> None:
    """Count the revision up; to be the first statement of each transaction that changes models."""
    connection.execute(revision.update().values(number=revision.c.number + 1))


def read_revision(connection: Connection) -> int:
    """How many transactions have changed the catalog."""
    return connection.execute(sa.select(revision.c.number)).scalar_one()


def read_models(connection: Connection) -> tuple[Model, ...]:
    """All models, by id."""
    names = _names(connection.execute(sa.select(model_names).order_by(model_names.c.position)))
    with _legible():
        rows = connection.execute(sa.select(models).order_by(models.c.id)).mappings()
        return tuple(_model(row, names) for row in rows)


def read_model(connection: Connection, model_id: int) -> Model | None:
    """The model of that id."""
    chosen = model_names.select().where(model_names.c.model_id == model_id)
    names = _names(connection.execute(chosen.order_by(model_names.c.position)))
    with _legible():
        query = models.select().where(models.c.id == model_id)
        row = connection.execute(query).mappings().first()
        return None if row is None else _model(row, names)


def model_of_file(connection: Connection, real_path: str) -> int | None:
    """The id of the first model whose first file that is."""
    query = sa.select(models.c.id).where(models.c.real_path == real_path).order_by(models.c.id)
    return connection.execute(query.limit(1)).scalar()


def owner_of(connection: Connection, names: Iterable[str]) -> tuple[str, int] | None:
    """The first of `names` that is taken, and the id of the model that has it."""
    query = sa.select(model_names.c.name, model_names.c.model_id)
    taken = connection.execute(query.where(model_names.c.name.in_(list(names)))).first()
    return None if taken is None else (taken.name, taken.model_id)


def insert_model(connection: Connection, new: NewModel, *, real_path: str, created: int) -> int:
    """Write a new entry; returns its id."""
    row = _row(new) | {"real_path": real_path, "created": created}
    model_id: int = connection.execute(models.insert().returning(models.c.id), row).scalar_one()
    _insert_names(connection, model_id, new)
    return model_id


def update_model(connection: Connection, model: Model, *, real_path: str) -> None:
    """Write an entry anew, its names included."""
    row = _row(model) | {"real_path": real_path}
    connection.execute(models.update().where(models.c.id == model.id).values(row))
    connection.execute(model_names.delete().where(model_names.c.model_id == model.id))
    _insert_names(connection, model.id, model)


def delete_model(connection: Connection, model_id: int) -> None:
    """Remove an entry; its names go with it."""
    connection.execute(models.delete().where(models.c.id == model_id))


def resolve_links(path: str) -> str:
    """The path by which a file is recognised. Touches the disk."""
    return os.path.realpath(path)


def _insert_names(connection: Connection, model_id: int, model: NewModel) -> None:
    rows = [
        {
            "name": name,
            "model_id": model_id,
            "kind": "alias" if position else "name",
            "position": position,
        }
        for position, name in enumerate((model.name, *model.aliases))
    ]
    connection.execute(model_names.insert(), rows)


def _row(model: NewModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in _PLAIN} | {
        "paths": list(model.paths),
        "facts": dataclasses.asdict(model.facts),
        "capabilities": sorted(model.capabilities),
        "tags": list(model.tags),
        "arguments": list(model.arguments),
        "environment": [list(pair) for pair in model.environment],
    }


def _names(rows: Iterable[Any]) -> dict[int, list[str]]:
    """Each model's name, then its aliases."""
    names: dict[int, list[str]] = {}
    for row in rows:
        names.setdefault(row.model_id, []).append(row.name)
    return names


@contextmanager
def _legible() -> Generator[None]:
    """Entries are written by this module alone; one that makes no sense was changed by others."""
    try:
        yield
    except (LookupError, TypeError, ValueError, msgspec.DecodeError) as error:
        raise DatabaseError(
            f"The catalog has an entry that cannot be read ({error}). Restore a backup, or correct "
            "the entry where it was changed."
        ) from error


def _model(row: RowMapping, names: Mapping[int, list[str]]) -> Model:
    name, *aliases = names[row["id"]]
    return Model(
        id=row["id"],
        name=name,
        aliases=tuple(aliases),
        paths=tuple(row["paths"]),
        # A fact that this version does not know was written by one that reads more of the header.
        facts=GgufFacts(**{key: row["facts"][key] for key in _FACTS.intersection(row["facts"])}),
        capabilities=frozenset(map(Capability, row["capabilities"])),
        tags=tuple(row["tags"]),
        arguments=tuple(row["arguments"]),
        environment=tuple((key, value) for key, value in row["environment"]),
        created=row["created"],
        **{plain: row[plain] for plain in _PLAIN},
    )
