"""What the options of `gglib model edit` add up to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gglib_core.models import Capability, GgufFacts, Model
from gglib_runtime.cli.failures import CommandFailed
from gglib_runtime.cli.model_changes import CLEARABLE, wished_changes
from gglib_runtime.engines.simulated import imagined_model

OLD = Model(
    id=1,
    name="old",
    paths=("/models/old.gguf",),
    size_bytes=1,
    facts=GgufFacts(architecture="llama"),
    capabilities=frozenset({Capability.EMBEDDINGS}),
    aliases=("one", "two"),
    tags=("x",),
    context=128,
    arguments=("--a", "1", "--b", "1"),
    environment=(("A", "1"), ("B", "2")),
)


def test_what_is_not_named_stays() -> None:
    assert wished_changes(OLD) == {}
    assert wished_changes(OLD, context=None, aliases=(), is_pinned=None) == {}


def test_single_values_are_replaced() -> None:
    wished = wished_changes(OLD, context=256, is_pinned=False, name="new")
    assert wished == {"context": 256, "is_pinned": False, "name": "new"}


def test_many_values_grow_without_repetition() -> None:
    wished = wished_changes(OLD, aliases=("three", "one"), tags=("x",))
    assert wished == {"aliases": ("one", "two", "three"), "tags": ("x",)}


def test_arguments_may_repeat() -> None:
    wished = wished_changes(OLD, arguments=("--c", "1"))
    assert wished == {"arguments": ("--a", "1", "--b", "1", "--c", "1")}


def test_values_are_removed_by_what_they_are() -> None:
    wished = wished_changes(OLD, removed_aliases=("one",), removed_arguments=("1",))
    assert wished == {"aliases": ("two",), "arguments": ("--a", "--b")}


def test_removing_what_is_not_there_is_refused() -> None:
    with pytest.raises(CommandFailed, match="aliases do not include 'three'; they are: 'one', "):
        wished_changes(OLD, removed_aliases=("three",))
    with pytest.raises(CommandFailed, match="environment variables do not include 'Z'; they are: "):
        wished_changes(OLD, removed_environment=("Z",))


def test_environment_is_set_and_unset_by_name() -> None:
    wished = wished_changes(OLD, environment=(("B", "3"), ("C", "4")), removed_environment=("A",))
    assert wished == {"environment": (("B", "3"), ("C", "4"))}


def test_clearing_comes_before_adding() -> None:
    wished = wished_changes(OLD, cleared=("ctx", "alias", "env"), aliases=("new",))
    assert wished == {"context": None, "aliases": ("new",), "environment": ()}


def test_cleared_capabilities_are_those_of_the_file() -> None:
    assert wished_changes(OLD, cleared=("capability",)) == {
        "capabilities": frozenset({Capability.CHAT})
    }


def test_named_capabilities_replace_the_old_ones() -> None:
    assert wished_changes(OLD, capabilities=("chat", "embeddings")) == {
        "capabilities": frozenset({Capability.CHAT, Capability.EMBEDDINGS})
    }


def test_an_engine_is_set_and_cleared() -> None:
    assert wished_changes(OLD, engine="simulator") == {"engine": "simulator"}
    assert wished_changes(replace(OLD, engine="simulator"), cleared=("engine",)) == {"engine": None}


def test_a_model_without_a_file_needs_one_for_another_engine() -> None:
    imagined = replace(OLD, engine="simulator", facts=imagined_model().facts)
    with pytest.raises(CommandFailed, match="'old' has no file; give it one with --path"):
        wished_changes(imagined, cleared=("engine",))


@pytest.mark.parametrize("word", CLEARABLE)
def test_all_that_can_be_cleared_is_a_property(word: str) -> None:
    assert set(wished_changes(OLD, cleared=(word,))) == {CLEARABLE[word]}
    assert hasattr(OLD, CLEARABLE[word])
