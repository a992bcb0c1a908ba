"""Runs part of a test as a user whom file modes bind, also where the tests run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def without_privileges() -> Generator[Path]:
    """Be a user whom file modes bind, also where tests run as root; lends a directory of theirs."""
    root = Path(tempfile.mkdtemp(prefix="gglib-"))
    try:
        with _as_nobody(root):
            yield root
    finally:
        root.chmod(0o700)
        shutil.rmtree(root)


@contextmanager
def _as_nobody(root: Path) -> Generator[None]:
    if os.geteuid() != 0:
        yield
        return
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(root, nobody, -1)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)
