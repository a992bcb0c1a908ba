"""The private socket: for its owner alone, wherever temporary files lie, and gone afterwards."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gglib_proxy.private_socket import open_private_socket


@pytest.fixture(params=[40, 75, 76, 200])
def temporary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files lie: a directory with a path of so many bytes."""
    base = tempfile.mkdtemp(dir="/tmp")
    directory = Path(f"{base}/".ljust(request.param, "d"))
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    shutil.rmtree(base)


def test_a_socket_is_bound_however_deep_temporary_files_lie(temporary: Path) -> None:
    with open_private_socket() as (_, path):
        directory = Path(path).parent
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (directory.parent == temporary) == (len(str(temporary)) <= 75)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
    assert not directory.exists()
