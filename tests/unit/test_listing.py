"""One view of catalog and runtime that changes only when they do."""

import pytest

from gglib_core.catalog import InMemoryModelCatalog
from gglib_core.models import ModelState
from gglib_proxy.listing import Listing, Listings, Rendered
from tests.catalog_entries import model
from tests.control_plane import FakeModelRuntime

ALPHA, BETA = model(1, "alpha"), model(2, "beta")


@pytest.fixture
def runtime() -> FakeModelRuntime:
    return FakeModelRuntime()


@pytest.fixture
def catalog() -> InMemoryModelCatalog:
    return InMemoryModelCatalog([ALPHA, BETA])


@pytest.fixture
def listings(catalog: InMemoryModelCatalog, runtime: FakeModelRuntime) -> Listings:
    return Listings(catalog, runtime)


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (ModelState.UNLOADED, "unloaded"),
        (ModelState.LOADING, "loading"),
        (ModelState.LOADED, "loaded"),
        (ModelState.STOPPING, "unloaded"),
        (ModelState.FAILED, "failed"),
    ],
)
def test_clients_are_shown_four_states(
    listings: Listings, runtime: FakeModelRuntime, state: ModelState, shown: str
) -> None:
    runtime.show(BETA, state)
    listing = listings.current()
    assert (listing.status(ALPHA), listing.status(BETA)) == ("unloaded", shown)


def test_the_listing_stays_the_same_while_only_numbers_change(
    listings: Listings, runtime: FakeModelRuntime
) -> None:
    runtime.show(ALPHA, ModelState.LOADED, leases=1, since_seconds=1.0)
    before = listings.current()
    runtime.show(ALPHA, ModelState.LOADED, leases=7, since_seconds=9.0)
    assert listings.current() is before


def test_a_change_of_state_makes_another_listing(
    listings: Listings, runtime: FakeModelRuntime
) -> None:
    before = listings.current()
    runtime.show(ALPHA, ModelState.LOADING)
    assert listings.current() is not before


def test_another_reason_to_fail_makes_another_listing(
    listings: Listings, runtime: FakeModelRuntime
) -> None:
    runtime.show(ALPHA, ModelState.FAILED, failure="killed")
    assert listings.current().failures == {1: "killed"}
    runtime.show(ALPHA, ModelState.FAILED, failure="bad file")
    assert listings.current().failures == {1: "bad file"}


def test_a_change_of_the_catalog_makes_another_listing(
    listings: Listings, catalog: InMemoryModelCatalog
) -> None:
    assert listings.current().models == (ALPHA, BETA)
    catalog.replace([BETA])
    assert listings.current().models == (BETA,)


def test_bytes_are_made_once_for_each_listing(
    listings: Listings, runtime: FakeModelRuntime
) -> None:
    made: list[Listing] = []

    def render(listing: Listing) -> bytes:
        made.append(listing)
        return b"%d" % len(made)

    rendered = Rendered(listings, render)
    assert [rendered.current(), rendered.current()] == [b"1", b"1"]
    runtime.show(ALPHA, ModelState.LOADING)
    assert [rendered.current(), rendered.current()] == [b"2", b"2"]


def test_who_may_use_some_models_is_shown_no_others(
    listings: Listings, runtime: FakeModelRuntime
) -> None:
    made: list[str] = []

    def render(listing: Listing) -> bytes:
        made.append(", ".join(model.name for model in listing.models))
        return made[-1].encode()

    rendered = Rendered(listings, render)
    for _ in range(2):
        assert rendered.current() == b"alpha, beta"
        assert rendered.current(("al*", "x")) == b"alpha"
        assert rendered.current(("none",)) == b""
    assert len(made) == 3
    runtime.show(ALPHA, ModelState.LOADING)
    assert rendered.current(("al*", "x")) == b"alpha"
    assert len(made) == 4


def test_bytes_are_made_for_an_empty_catalog_too(runtime: FakeModelRuntime) -> None:
    rendered = Rendered(Listings(InMemoryModelCatalog(), runtime), lambda _: b"nothing")
    assert rendered.current() == b"nothing"
