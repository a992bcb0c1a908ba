"""How an API key becomes a row, and rows become keys.

Every function works inside the transaction that it is given. Not here: what a key may be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from gglib_core.errors import DatabaseError
from gglib_core.keys import Allowance, ApiKey, Endpoint
from gglib_runtime.keys.tables import api_keys

KnownKey = tuple[str, bytes, ApiKey]
"""A secret's searched characters, its digest, and its key."""

_LIMITS = frozenset(field.name for field in dataclasses.fields(Allowance))
_columns = api_keys.c


def read_keys(connection: Connection) -> tuple[KnownKey, ...]:
    """All keys, by id."""
    with _legible():
        rows = connection.execute(sa.select(api_keys).order_by(_columns.id)).mappings()
        return tuple((row["start"], bytes(row["digest"]), _key(row)) for row in rows)


def count_keys(connection: Connection) -> int:
    """How many keys there are."""
    return connection.execute(sa.select(sa.func.count()).select_from(api_keys)).scalar_one()


def read_key(connection: Connection, name: str) -> ApiKey | None:
    """The key of that name."""
    with _legible():
        query = sa.select(api_keys).where(_columns.name == name)
        row = connection.execute(query).mappings().first()
        return None if row is None else _key(row)


def insert_key(connection: Connection, key: ApiKey, start: str, digest: bytes) -> int:
    """Write a new key, whose id does not matter; returns the id that it gets."""
    row = _row(key) | {"start": start, "digest": digest, "created": key.created}
    return connection.execute(api_keys.insert().returning(_columns.id), row).scalar_one()


def update_key(connection: Connection, key: ApiKey) -> None:
    """Write anew what a key allows."""
    connection.execute(api_keys.update().where(_columns.id == key.id).values(_row(key)))


def update_secret(connection: Connection, key: ApiKey, start: str, digest: bytes) -> None:
    """Write what is kept of a key's new secret."""
    values = {"start": start, "digest": digest, "mask": key.mask}
    connection.execute(api_keys.update().where(_columns.id == key.id).values(values))


def delete_key(connection: Connection, key_id: int) -> None:
    """Remove a key."""
    connection.execute(api_keys.delete().where(_columns.id == key_id))


def _row(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "mask": key.mask,
        "endpoints": sorted(key.endpoints),
        "models": list(key.models),
        "is_enabled": key.is_enabled,
        "expires": key.expires,
        "allowance": {
            name: amount
            for name, amount in dataclasses.asdict(key.allowance).items()
            if amount is not None
        },
    }


@contextmanager
def _legible() -> Generator[None]:
    """Rows are written by this module alone; one that makes no sense was changed by others."""
    try:
        yield
    except (LookupError, TypeError, ValueError, msgspec.DecodeError) as error:
        raise DatabaseError(
            f"The database has an API key that cannot be read ({error}). Restore a backup, or "
            "correct the row where it was changed."
        ) from error


def _key(row: RowMapping) -> ApiKey:
    allowance = row["allowance"]
    unknown = sorted(set(allowance) - _LIMITS)
    if unknown:  # to pass over a limit would be to let through what it refuses
        raise ValueError(f"unknown limits {', '.join(unknown)}")
    return ApiKey(
        id=row["id"],
        name=row["name"],
        mask=row["mask"],
        endpoints=frozenset(map(Endpoint, row["endpoints"])),
        models=tuple(row["models"]),
        is_enabled=row["is_enabled"],
        expires=row["expires"],
        allowance=Allowance(**allowance),
        created=row["created"],
    )


def known_names(connection: Connection) -> Sequence[str]:
    """The names of all keys."""
    return connection.execute(sa.select(_columns.name).order_by(_columns.name)).scalars().all()
