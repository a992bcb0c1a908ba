"""The page at `/`."""

import json
import re
import shlex

import pytest
from quart.testing import QuartClient

from gglib_core.models import Capability, ModelState
from gglib_proxy.control.app import create_app
from tests.catalog_entries import model
from tests.control_plane import THROUGH_DATA_PLANE, FakeModelRuntime, control_context

ALPHA = model(1, "alpha", aliases=("a",))
EMBED = model(2, "embed", capabilities=frozenset({Capability.EMBEDDINGS}))
NASTY = model(3, "<script>alert('1')</script>")
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def page_client(*models: object, runtime: FakeModelRuntime | None = None) -> QuartClient:
    return create_app(control_context(models, runtime=runtime)).test_client()  # type: ignore[arg-type]


async def get(client: QuartClient, accept: str = "*/*", **headers: str) -> str:
    answer = await client.get("/", headers={"accept": accept, **headers})
    assert answer.status_code == 200
    return await answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER, "text/html; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/plain, */*", "text/plain; charset=utf-8"),
        ("image/png", "text/plain; charset=utf-8"),
    ],
)
async def test_each_client_gets_what_it_can_read(accept: str, kind: str) -> None:
    answer = await page_client(ALPHA).get("/", headers={"accept": accept} if accept else {})
    assert answer.headers["content-type"] == kind
    assert answer.headers["vary"] == "accept, accept-encoding"


async def test_a_browser_sees_base_urls_models_and_their_states() -> None:
    runtime = FakeModelRuntime()
    runtime.show(EMBED, ModelState.LOADED)
    page = await get(page_client(ALPHA, EMBED, runtime=runtime), BROWSER)
    assert "<code>http://127.0.0.1:8080/v1</code>" in page
    assert "<td>alpha <small>a</small></td>" in page
    assert '<td class="loaded">loaded</td><td>embeddings</td>' in page
    assert "curl http://127.0.0.1:8080/v1/chat/completions" in page


async def test_the_page_runs_no_script_and_asks_for_nothing_else() -> None:
    answer = await page_client(ALPHA).get("/", headers={"accept": BROWSER})
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    page = await answer.get_data(as_text=True)
    assert not re.search(r"<script|<link|<img| style=| on\w+=|https?://(?!127)", page)
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_names_cannot_break_out_of_the_page() -> None:
    page = await get(page_client(NASTY), BROWSER)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


async def test_the_curl_line_survives_a_shell_whatever_the_name() -> None:
    text = await get(page_client(NASTY))
    line = next(line for line in text.splitlines() if line.startswith("curl"))
    words = shlex.split(line)
    assert words[:2] == ["curl", "http://127.0.0.1:8080/v1/chat/completions"]
    assert json.loads(words[-1])["model"] == NASTY.name


async def test_the_example_names_a_running_model_where_there_is_one() -> None:
    runtime = FakeModelRuntime()
    runtime.show(NASTY, ModelState.LOADED)
    assert '"model": "alpha"' in await get(page_client(EMBED, ALPHA, NASTY))
    text = await get(page_client(EMBED, ALPHA, NASTY, runtime=runtime))
    assert '"model": "alpha"' not in text


async def test_without_a_model_the_page_says_how_to_add_one() -> None:
    client = page_client()
    for accept in (BROWSER, "text/plain"):
        page = await get(client, accept)
        assert "gglib model add PATH/TO/MODEL.gguf" in page
        assert "curl http://127.0.0.1:8080/v1/models" in page


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"host": "gpu-box:8080"}, "http://127.0.0.1:8080"),
        ({"host": "gpu-box:8080", **THROUGH_DATA_PLANE}, "http://gpu-box:8080"),
        ({"host": "[::1]:80", **THROUGH_DATA_PLANE}, "http://[::1]:80"),
        ({"host": "a", "x-gglib-scheme": "https", **THROUGH_DATA_PLANE}, "https://a"),
        ({"host": "a$(reboot)", **THROUGH_DATA_PLANE}, "http://127.0.0.1:8080"),
        ({"host": "<b>", **THROUGH_DATA_PLANE}, "http://127.0.0.1:8080"),
    ],
)
async def test_the_base_url_is_the_one_that_the_client_used(
    headers: dict[str, str], url: str
) -> None:
    document = json.loads(await get(page_client(), "application/json", **headers))
    assert document["openai_base_url"] == f"{url}/v1"
    assert document["anthropic_base_url"] == url
    key = '-H "Authorization: Bearer $OPENAI_API_KEY" ' if "x-gglib-peer" in headers else ""
    assert f"curl {key}{url}/v1/models" in await get(page_client(), **headers)


async def test_the_icon_is_empty() -> None:
    answer = await page_client().get("/favicon.ico")
    assert answer.status_code == 204
    assert await answer.get_data() == b""
