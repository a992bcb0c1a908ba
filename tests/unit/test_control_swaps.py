"""`/admin/swaps`: the ledger in pages."""

from dataclasses import replace

import pytest
from quart import Quart
from quart.testing import QuartClient

from gglib_core.swaps import MAX_PAGE, InMemorySwapLedger
from gglib_proxy.control.answers import register_error_answers
from gglib_proxy.control.swaps import DEFAULT_LIMIT, swap_routes
from tests.control_plane import control_context
from tests.swaps import FULL, a_swap, swap_id


@pytest.fixture
def ledger() -> InMemorySwapLedger:
    return InMemorySwapLedger()


@pytest.fixture
def client(ledger: InMemorySwapLedger) -> QuartClient:
    app = Quart(__name__)
    app.register_blueprint(swap_routes(replace(control_context(), swaps=ledger)))
    register_error_answers(app)
    return app.test_client()


async def test_an_empty_ledger_is_an_empty_list(client: QuartClient) -> None:
    answer = await client.get("/admin/swaps")
    assert answer.status_code == 200
    assert await answer.get_json() == {
        "object": "list",
        "data": [],
        "has_more": False,
        "next_cursor": None,
    }


async def test_a_swap_has_its_times_in_milliseconds(
    client: QuartClient, ledger: InMemorySwapLedger
) -> None:
    ledger.record(FULL)
    [swap] = (await (await client.get("/admin/swaps")).get_json())["data"]
    assert (swap["id"], swap["outcome"], swap["failure"]) == (FULL.id, "failed", "out_of_memory")
    assert (swap["drain_ms"], swap["load_ms"], swap["swaps_avoided"]) == (250.0, 12000.0, 2)
    assert swap["victim"]["reason"] == "turn_over"


async def test_the_cursor_leads_through_all_pages(
    client: QuartClient, ledger: InMemorySwapLedger
) -> None:
    for number in range(5):
        ledger.record(a_swap(number))
    seen: list[str] = []
    query, has_more = "limit=2", True
    while has_more:
        page = await (await client.get(f"/admin/swaps?{query}")).get_json()
        seen += [swap["id"] for swap in page["data"]]
        has_more = page["has_more"]
        assert has_more == (page["next_cursor"] is not None)
        query = f"limit=2&cursor={page['next_cursor']}"
    assert seen == [swap_id(number) for number in (4, 3, 2, 1, 0)]


async def test_a_hundred_are_shown_where_nothing_is_said(
    client: QuartClient, ledger: InMemorySwapLedger
) -> None:
    for number in range(DEFAULT_LIMIT + 1):
        ledger.record(a_swap(number))
    page = await (await client.get("/admin/swaps")).get_json()
    assert (len(page["data"]), page["has_more"]) == (DEFAULT_LIMIT, True)


async def test_those_of_one_model_can_be_asked_for(
    client: QuartClient, ledger: InMemorySwapLedger
) -> None:
    ledger.record(a_swap(1))
    ledger.record(a_swap(2, model="org/beta"))
    page = await (await client.get("/admin/swaps?model=org/beta")).get_json()
    assert [swap["model"] for swap in page["data"]] == ["org/beta"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        (f"limit={MAX_PAGE + 1}", "limit"),
        ("limit=ten", "limit"),
        ("limit=-1", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("cursor=", "cursor"),
        ("cursor=1", "cursor"),
        ("cursor=swap-zz", "cursor"),
        ("model=a%00b", "model"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_fields_name(
    client: QuartClient, query: str, field: str
) -> None:
    answer = await client.get(f"/admin/swaps?{query}")
    assert answer.status_code == 400
    assert (await answer.get_json())["error"]["details"]["field"] == field
