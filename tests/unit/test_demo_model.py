"""The demo model: honest, always the same, and written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import gguf
import pytest

from gglib_core.models import Capability
from gglib_runtime.gguf.demo import write_demo_model
from gglib_runtime.gguf.description import describe_model
from gglib_runtime.gguf.writer import write_atomically


def test_says_that_it_is_a_demo(tmp_path: Path) -> None:
    write_demo_model(tmp_path / "demo.gguf")

    fields = gguf.GGUFReader(tmp_path / "demo.gguf").fields
    assert fields["general.name"].contents() == "gglib demo: random weights, writes nonsense"
    assert "random" in fields["general.description"].contents()


def test_is_a_small_model_to_chat_with(tmp_path: Path) -> None:
    write_demo_model(tmp_path / "demo.gguf")

    model = describe_model(tmp_path / "demo.gguf")

    assert model.capabilities == {Capability.CHAT}
    assert model.facts.chat_template
    assert model.facts.context_length == 4096
    assert model.size_bytes < 2_000_000


def test_is_the_same_each_time(tmp_path: Path) -> None:
    write_demo_model(tmp_path / "first.gguf")
    write_demo_model(tmp_path / "second.gguf")

    assert (tmp_path / "first.gguf").read_bytes() == (tmp_path / "second.gguf").read_bytes()


def test_replaces_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "demo.gguf").write_text("half of one")

    write_demo_model(tmp_path / "demo.gguf")

    assert list(tmp_path.iterdir()) == [tmp_path / "demo.gguf"]
    assert describe_model(tmp_path / "demo.gguf").facts.parameters


def test_leaves_nothing_where_it_cannot_be_put(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()

    with pytest.raises(IsADirectoryError):
        write_demo_model(tmp_path / "taken")

    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]


def test_leaves_the_old_one_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "demo.gguf").write_text("old")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "demo.gguf", b"new")

    assert list(tmp_path.iterdir()) == [tmp_path / "demo.gguf"]
    assert (tmp_path / "demo.gguf").read_text() == "old"
