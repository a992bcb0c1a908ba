"""The pepper: random bytes beside the database, without which nobody can try secrets against it.

A file of this user alone, made once. Not here: what is hashed with it.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from gglib_core.errors import OwnFileUnusable

PEPPER_BYTES = 32
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_pepper(path: Path) -> bytes | None:
    """The pepper in that file; None where there is no such file.

    Raises OwnFileUnusable for a file that others may read, or that is damaged.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pepper = file.read(PEPPER_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OwnFileUnusable(f"The pepper {path} cannot be read: {error.strerror}.") from error
    if mode & _OTHERS:
        raise OwnFileUnusable(f"Others may read the pepper {path}. Run: chmod 600 {path}")
    if len(pepper) != PEPPER_BYTES:
        raise OwnFileUnusable(
            f"The pepper {path} is damaged: it has to have {PEPPER_BYTES} bytes. Restore it from a "
            "backup; or remove it and all API keys, which are worth nothing without it."
        )
    return pepper


def make_pepper(path: Path) -> bytes:
    """The pepper in that file, which is made where there is none. Raises OwnFileUnusable."""
    found = read_pepper(path)
    if found is not None:
        return found
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path, secrets.token_bytes(PEPPER_BYTES))
    except OSError as error:
        raise OwnFileUnusable(f"The pepper {path} cannot be made: {error.strerror}.") from error
    made = read_pepper(path)
    assert made is not None
    return made


def _write_new(path: Path, pepper: bytes) -> None:
    """Written whole under another name first: who comes at the same time must not see half."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pepper)
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):  # made by another meanwhile, and that one counts
            os.link(draft, path)
    finally:
        draft.unlink()
