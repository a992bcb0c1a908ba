"""The file for generations that no database took: JSON, one record in each line.

Written when a server ends while its database fails, and read when the next one starts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from gglib_core.generations import Generation
from gglib_runtime.generations.rows import mended

_log = logging.getLogger(__name__)
_FIELDS = frozenset(Generation._fields)


class UnwrittenGenerations:
    """The records in that file, which need not exist. Blocking."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    @property
    def exists(self) -> bool:
        return self._path.exists()

    def append(self, rows: Sequence[Generation]) -> None:
        """Put rows behind those that are there; they are on the disk then. Raises OSError.

        Text and numbers that no database takes are mended, for JSON does not take them either.
        """
        encode = msgspec.json.Encoder().encode
        lines = b"".join(encode(mended(row)._asdict()) + b"\n" for row in rows)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
            if file.tell():  # the disk may have been full in the middle of the last line
                file.write(b"\n")
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[Generation]:
        """What the file has. A line that makes no sense is logged and left out. Raises OSError."""
        lines = self._path.read_bytes().splitlines()
        rows = [_row(line) for line in lines if line.strip()]
        found = [row for row in rows if row is not None]
        if len(found) < len(rows):
            _log.warning("%s has %d lines that cannot be read", self._path, len(rows) - len(found))
        return found

    def remove(self) -> None:
        """Its records are in the database. Raises OSError."""
        self._path.unlink()


def _row(line: bytes) -> Generation | None:
    try:
        fields: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        return Generation(**{name: fields[name] for name in _FIELDS & fields.keys()})
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError):
        return None
