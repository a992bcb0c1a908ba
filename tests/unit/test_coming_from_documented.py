"""docs/coming-from.md names options, settings and paths that there are."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from gglib_proxy.control.foreign_paths import foreign_path_hint
from gglib_runtime.cli.program import program
from gglib_runtime.settings.schema import declarations

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text()
ROWS = [
    (there, here)
    for there, here in re.findall(r"^\| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)
    if there != "there"
]
HERE = " ".join(here for _, here in ROWS)


def options_of(*path: str) -> set[str]:
    command: click.Command | None = program
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    return {name for parameter in command.params for name in parameter.opts}


def test_every_option_is_one_of_models_or_keys() -> None:
    known = options_of("model", "add") | options_of("key", "create")
    named = set(re.findall(r"--[a-z0-9-]+", HERE))
    assert len(named) > 10
    assert named <= known


def test_every_setting_is_one() -> None:
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", HERE))
    assert len(named) > 5
    assert named <= {*declarations(), "num_ctx", "keep_alive", "quota_exceeded"}


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"`gglib ([a-z ]+?)[`A-Z ]*(?=`)", HERE)))
)
def test_every_command_is_one(command: str) -> None:
    options_of(*command.split())


def test_paths_of_others_are_answered_as_the_page_says() -> None:
    for path in (
        "/api/chat",
        "/api/tags",
        "/running",
        "/unload",
        "/logs",
        "/key/generate",
        "/spend/logs",
    ):
        assert path in " ".join(there for there, _ in ROWS)
        assert foreign_path_hint(path) is not None
