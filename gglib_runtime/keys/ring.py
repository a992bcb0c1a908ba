"""The API keys of a running server: what the database holds, followed as others change it.

Not here: when the database is asked (`gglib_runtime.catalog.following`), and changing keys.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.engine import Connection

from gglib_core.keys import InMemoryKeyRing, KeyRing
from gglib_runtime.keys import rows
from gglib_runtime.keys.store import required_pepper

_log = logging.getLogger(__name__)

_OPENED = "No API key is needed any more: whoever reaches the endpoint may do everything."
_CLOSED = "An API key is needed from now on."

State = tuple[bytes, tuple[rows.KnownKey, ...]]
"""The pepper, which is empty where there is no key, and the keys."""


class SqlKeyRing:
    """Fills `KeyRingSource`; closed to everybody until it has been told of the keys.

    No key is needed where `is_auth_off`, or where there is none and only this machine can ask
    (`is_local`).
    """

    def __init__(self, pepper_file: Path, *, is_local: bool, is_auth_off: bool) -> None:
        self._pepper_file = pepper_file
        self._is_local = is_local
        self._is_auth_off = is_auth_off
        self._state: State | None = None
        self._memory = InMemoryKeyRing(KeyRing())

    @property
    def current(self) -> KeyRing:
        return self._memory.current

    def add_listener(self, listener: Callable[[], None]) -> Callable[[], None]:
        return self._memory.add_listener(listener)

    def read(self, connection: Connection) -> State:
        """What is to be taken over. Raises DatabaseError, and OwnFileUnusable for the pepper."""
        keys = rows.read_keys(connection)
        return (required_pepper(self._pepper_file) if keys else b""), keys

    def take_over(self, state: State) -> None:
        """Have these keys from now on."""
        if state == self._state:  # it was something else that changed
            return
        is_first, self._state = self._state is None, state
        self._replace(is_told=not is_first)

    def set_auth_off(self, is_auth_off: bool) -> None:
        """Need no key from now on, or one as ever."""
        if is_auth_off != self._is_auth_off:
            self._is_auth_off = is_auth_off
            self._replace(is_told=True)

    def _replace(self, *, is_told: bool) -> None:
        pepper, keys = self._state or (b"", ())
        before = self.current
        ring = KeyRing(
            pepper,
            keys,
            is_open=self._is_auth_off or (self._is_local and self._state is not None and not keys),
            revision=before.revision + 1,
        )
        self._memory.replace(ring)
        if is_told and ring.is_open != before.is_open:
            _log.warning(_OPENED if ring.is_open else _CLOSED)
