"""How models are named, found and compared: the catalog's rules without a database."""

from __future__ import annotations

import pytest

from gglib_core.catalog import (
    CatalogSnapshot,
    InMemoryModelCatalog,
    check_name,
    launch_spec,
    nearest_names,
    required_context,
)
from gglib_core.errors import InvalidModel, NameTaken
from gglib_core.models import Capability, GgufFacts
from tests.catalog_entries import FULL, model


@pytest.mark.parametrize(
    "name",
    ["llama-3.2", "Qwen/Qwen3-8B", "größe", "a b", "1b", "-", "\u0663", "v1.0:latest", "..."],
)
def test_a_name_that_can_be_typed_is_accepted(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        (" a", "blanks"),
        ("a\n", "blanks"),
        ("a\x1bb", "printed"),
        ("a\ud800b", "printed"),
        ("a,b", "comma"),
        ("42", "digits"),
        ("x" * 201, "longer"),
        ("a//b", "URL"),
        ("/a", "URL"),
        ("a/", "URL"),
        ("a/../b", "URL"),
        (".", "URL"),
    ],
)
def test_a_name_that_would_mislead_is_refused(name: str, reason: str) -> None:
    with pytest.raises(InvalidModel, match=reason):
        check_name(name)


def test_a_snapshot_tells_every_exact_name() -> None:
    alpha = model(1, "alpha", aliases=("a",))
    assert dict(CatalogSnapshot([alpha]).names) == {"alpha": alpha, "a": alpha}


def test_letter_case_is_ignored_also_where_one_model_has_both_spellings() -> None:
    alpha = model(1, "Alpha", aliases=("ALPHA",))
    assert CatalogSnapshot([alpha]).resolve_model("alpha") is alpha


def test_a_launch_is_told_everything_that_the_engine_needs() -> None:
    full = model(7, "full", **FULL)
    spec = launch_spec(full)
    told = {name: getattr(spec, name) for name in spec.__slots__}
    facts = ("is_causal", "pooling")
    expected = {
        name: getattr(full.facts if name in facts else full, name)
        for name in spec.__slots__
        if name != "model_id"
    }
    assert told == expected | {"model_id": 7}


@pytest.mark.parametrize(
    ("asked", "own", "trained", "needed"),
    [
        (100, 200, 300, 100),
        (400, 200, 300, 400),
        (None, 200, 300, 200),
        (None, None, 300, 300),
        (None, None, 5000, 4096),
        (None, None, None, 4096),
    ],
)
def test_the_context_that_a_request_needs(
    asked: int | None, own: int | None, trained: int | None, needed: int
) -> None:
    facts = GgufFacts(architecture="llama", context_length=trained)
    entry = model(1, "a", context=own, facts=facts, capabilities=frozenset({Capability.CHAT}))
    assert required_context(entry, asked, 4096) == needed


KNOWN = [
    model(1, "llama-3.2-3b-instruct-q4_k_m", aliases=("small",)),
    model(2, "Qwen3-8B"),
    model(3, "tiny-a"),
    model(4, "tiny-b"),
    model(5, "beta", aliases=("b",)),
]


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("llama-3.2-3b", ("llama-3.2-3b-instruct-q4_k_m",)),
        ("lama-3.2-instruct", ("llama-3.2-3b-instruct-q4_k_m",)),
        ("smal", ("small",)),
        ("qwen3-8b-instruct", ("Qwen3-8B",)),
        ("tiny-a:latest", ("tiny-a", "tiny-b")),
        ("tny-b", ("tiny-b", "tiny-a")),
        ("beat", ("beta",)),
        ("smalll", ("small",)),
        ("gpt-4o", ()),
        ("x", ()),
        ("", ()),
        ("z" * 100_000, ()),
    ],
)
def test_a_wrong_name_brings_the_like_ones_to_mind(asked: str, nearest: tuple[str, ...]) -> None:
    assert nearest_names(asked, KNOWN) == nearest


def test_at_most_as_many_names_come_to_mind_as_are_wanted() -> None:
    many = [model(number, f"model-{number}") for number in range(1, 50)]
    assert nearest_names("model", many, limit=2) == ("model-1", "model-2")
    assert nearest_names("model", many, limit=0) == ()


def test_names_that_clash_are_refused_and_the_catalog_stays_as_it_was() -> None:
    alpha = model(1, "alpha", aliases=("a",))
    catalog = InMemoryModelCatalog([alpha])
    heard: list[int] = []
    catalog.add_listener(lambda: heard.append(catalog.revision))
    for clashing in (model(2, "a"), model(2, "b", aliases=("alpha",))):
        with pytest.raises(NameTaken, match="taken by the model 'alpha'"):
            catalog.replace([alpha, clashing])
    assert (catalog.list_models(), catalog.revision, heard) == ((alpha,), 1, [])
    with pytest.raises(NameTaken):
        InMemoryModelCatalog([alpha, model(2, "a")])


def test_a_snapshot_that_was_taken_does_not_follow() -> None:
    catalog = InMemoryModelCatalog([model(1, "alpha")])
    taken = catalog.snapshot
    catalog.replace([])
    assert [m.name for m in taken.list_models()] == ["alpha"]
    assert catalog.snapshot.list_models() == ()
