"""Changes the API keys of a database, each time in one transaction.

Blocking; for commands, and for threads. Secrets leave here once, when they are made. Not here: how
a running server learns of a change (`ring`).
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from sqlalchemy.engine import Connection, Engine

from gglib_core.api_keys import KeyChanges, MadeKey, NewKey, changed_key
from gglib_core.errors import KeyNameTaken, NoSuchKey, OwnFileUnusable
from gglib_core.key_validation import check_secret
from gglib_core.keys import ApiKey, KeyRing, digest_of, mask_of, new_secret, searched_part
from gglib_runtime.catalog.database import reading, writing
from gglib_runtime.catalog.records import bump_revision
from gglib_runtime.keys import rows
from gglib_runtime.keys.pepper import make_pepper, read_pepper

FIRST_NAME = "default"
"""Of the key that is made from the environment."""


class SqlKeyStore:
    """The API keys of one database, whose tables are up to date, and of one pepper.

    Every method may raise DatabaseError; those that make a secret also OwnFileUnusable for the
    pepper. A method that raises has changed nothing.
    """

    def __init__(
        self, engine: Engine, pepper_file: Path, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._engine = engine
        self._pepper_file = pepper_file
        self._clock = clock

    def create(self, new: NewKey) -> MadeKey:
        """Make a key. Raises InvalidKey, KeyNameTaken."""
        with self._changing() as connection:
            return self._insert(connection, new, new_secret())

    def provide_first(self, secret: str) -> bool:
        """Make the first key, from a secret that somebody chose; nothing where there is a key.

        Returns whether that secret is a key's now. Raises InvalidKey.
        """
        check_secret(secret)
        with reading(self._engine) as connection:
            known = rows.read_keys(connection)
        if known:
            return KeyRing(required_pepper(self._pepper_file), known).find(secret) is not None
        with self._changing() as connection:
            if not rows.count_keys(connection):
                self._insert(connection, NewKey(name=FIRST_NAME), secret)
                return True
        return self.provide_first(secret)  # another was faster

    def list(self) -> Sequence[ApiKey]:
        """All keys, by id."""
        with reading(self._engine) as connection:
            return [key for _, _, key in rows.read_keys(connection)]

    def get(self, name: str) -> ApiKey:
        """The key of that name. Raises NoSuchKey."""
        with reading(self._engine) as connection:
            return _existing(connection, name)

    def edit(self, name: str, /, **changes: Unpack[KeyChanges]) -> ApiKey:
        """Change a key; what is not named stays. Raises NoSuchKey, InvalidKey, KeyNameTaken."""
        with self._changing() as connection:
            old = _existing(connection, name)
            key = changed_key(old, changes)
            if key.name != old.name:
                _refuse_taken_name(connection, key.name)
            rows.update_key(connection, key)
        return key

    def rotate(self, name: str) -> MadeKey:
        """Give a key a new secret; the old one is worth nothing from now on. Raises NoSuchKey."""
        with self._changing() as connection:
            old = _existing(connection, name)
            secret = new_secret()
            key = replace(old, mask=mask_of(secret))
            digest = digest_of(secret, required_pepper(self._pepper_file))
            rows.update_secret(connection, key, searched_part(secret), digest)
        return MadeKey(key, secret)

    def remove(self, name: str) -> ApiKey:
        """Remove a key, and return what it was. Raises NoSuchKey."""
        with self._changing() as connection:
            key = _existing(connection, name)
            rows.delete_key(connection, key.id)
        return key

    def _insert(self, connection: Connection, new: NewKey, secret: str) -> MadeKey:
        key = new.made(secret, self._clock())
        _refuse_taken_name(connection, key.name)
        is_first = not rows.count_keys(connection)
        pepper = (make_pepper if is_first else required_pepper)(self._pepper_file)
        key_id = rows.insert_key(connection, key, searched_part(secret), digest_of(secret, pepper))
        return MadeKey(replace(key, id=key_id), secret)

    @contextmanager
    def _changing(self) -> Generator[Connection]:
        with writing(self._engine) as connection:
            bump_revision(connection)
            yield connection


def required_pepper(path: Path) -> bytes:
    """The pepper of keys that exist. Raises OwnFileUnusable where there is none."""
    pepper = read_pepper(path)
    if pepper is None:
        raise OwnFileUnusable(
            f"The pepper {path} is missing, and without it no API key can be recognised. Restore "
            "it from a backup, or copy it from the server that shares the database; or remove all "
            "keys with `gglib key rm` and make new ones."
        )
    return pepper


def _existing(connection: Connection, name: str) -> ApiKey:
    key = rows.read_key(connection, name)
    if key is None:
        names = [known.name for _, _, known in rows.read_keys(connection)]
        raise NoSuchKey(name, difflib.get_close_matches(name, names))
    return key


def _refuse_taken_name(connection: Connection, name: str) -> None:
    if rows.read_key(connection, name) is not None:
        raise KeyNameTaken(name)
