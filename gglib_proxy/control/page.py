"""`/`: a short page that says what answers here and how to use it.

For browsers it is HTML without a script or an outside resource, for programs JSON, else text.
"""

from __future__ import annotations

import json
import re
import shlex
from html import escape

import msgspec
from quart import Blueprint, Response, request

from gglib_core.models import Capability, Model
from gglib_proxy.control.context import ControlContext
from gglib_proxy.control.style import TITLE_END, page_answer
from gglib_proxy.control.viewer import PEER_HEADER, Viewer, viewer_of
from gglib_proxy.listing import Listing, Listings, Rendered

_ABOUT = (
    "One OpenAI- and Anthropic-compatible endpoint that runs and swaps llama.cpp models on demand"
)
_ADD = "gglib model add PATH/TO/MODEL.gguf"
_AUTHORITY = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_NEEDS_KEY = "Requests need an API key: whoever runs it makes one with `gglib key create NAME`."
_LOCKED = re.sub("`(.+)`", r"<code>\1</code>", f"<p>{_NEEDS_KEY}</p>")
_KEY_OPTION = '-H "Authorization: Bearer $OPENAI_API_KEY" '
_KINDS = ["application/json", "text/html", "text/plain"]


def page_routes(context: ControlContext, listings: Listings) -> Blueprint:
    """The page, and the icon that browsers ask for with it."""
    routes = Blueprint("page", __name__)
    table = Rendered(listings, _table)

    @routes.get("/")
    async def page() -> Response:
        url, version = _public_url(context), context.info.version
        kind = _kind()
        viewer = viewer_of(request.headers)
        listing = None if viewer.is_stranger else listings.current().seen_through(viewer.models)
        if kind == "text/html":
            shown = _LOCKED.encode() if listing is None else table.current(viewer.models)
            body = _html(url, version, _curl(url, viewer, listing), shown)
        elif kind == "application/json":
            body = msgspec.json.encode(_document(url, version))
        else:
            body = _plain(url, version, _curl(url, viewer, listing), listing)
        return page_answer(body, kind)

    @routes.get("/favicon.ico")
    async def favicon() -> Response:
        response = Response(b"", 204, headers={"cache-control": "max-age=86400"})
        del response.headers["content-type"], response.headers["content-length"]
        return response

    return routes


def _kind() -> str:
    """What suits the client best; one that takes anything is a person with curl."""
    if request.headers.get("accept", "*/*").strip() in ("", "*/*"):
        return "text/plain"
    return request.accept_mimetypes.best_match(_KINDS, "text/plain")


def _public_url(context: ControlContext) -> str:
    """As the client has reached it, where that is known."""
    host = request.headers.get("host", "")
    if PEER_HEADER not in request.headers or _AUTHORITY.fullmatch(host) is None:
        return context.info.url
    scheme = "https" if request.headers.get("x-gglib-scheme") == "https" else "http"
    return f"{scheme}://{host}"


def _example(listing: Listing | None) -> Model | None:
    """A model to chat with, one that runs if there is one."""
    if listing is None:
        return None
    chatty = [model for model in listing.models if Capability.CHAT in model.capabilities]
    return next((model for model in chatty if model.id in listing.states), next(iter(chatty), None))


def _curl(url: str, viewer: Viewer, listing: Listing | None) -> str:
    key = _KEY_OPTION if viewer.is_stranger or viewer.key_mask else ""
    model = _example(listing)
    if model is None:
        return f"curl {key}{url}/v1/models"
    messages = [{"role": "user", "content": "Hello!"}]
    body = json.dumps({"model": model.name, "messages": messages}, ensure_ascii=False)
    return (
        f"curl {key}{url}/v1/chat/completions -H 'Content-Type: application/json'"
        f" -d {shlex.quote(body)}"
    )


def _document(url: str, version: str) -> dict[str, str]:
    return {
        "name": "gglib",
        "version": version,
        "description": _ABOUT,
        "openai_base_url": f"{url}/v1",
        "anthropic_base_url": url,
        "models": f"{url}/v1/models",
        "health": f"{url}/health",
        "openapi": f"{url}/openapi.json",
    }


def _plain(url: str, version: str, curl: str, listing: Listing | None) -> bytes:
    """The page as text; without a listing it is for somebody who has no key."""
    models = [] if listing is None else _lines(listing)
    none = f"There is no model yet. Add one: {_ADD}" if listing is not None else _NEEDS_KEY
    lines = [
        f"gglib {version}: {_ABOUT}.",
        "",
        f"OpenAI base URL:    {url}/v1",
        f"Anthropic base URL: {url}",
        "",
        "Models:" if models else none,
        *models,
        "",
        curl,
        "",
    ]
    return "\n".join(lines).encode("utf-8", "replace")


def _lines(listing: Listing) -> list[str]:
    return [f"  {model.name} ({listing.status(model)})" for model in listing.models]


def _html(url: str, version: str, curl: str, table: bytes) -> bytes:
    head = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>gglib</title>
{TITLE_END}
<body><h1>gglib {escape(version)}</h1>
<p>{_ABOUT}.</p>
<p>OpenAI base URL: <code>{escape(url)}/v1</code><br>
Anthropic base URL: <code>{escape(url)}</code></p>
<pre>{escape(curl)}</pre>
<h2>Models</h2>
"""
    foot = """
<p><a href="/docs">The API</a> · <a href="/v1/models">/v1/models</a> ·
<a href="/health">/health</a></p></body></html>
"""
    return head.encode("utf-8", "replace") + table + foot.encode()


def _table(listing: Listing) -> bytes:
    if not listing.models:
        return f"<p>There is no model yet. Add one: <code>{_ADD}</code></p>".encode()
    heads = "<tr><th>Model</th><th>Status</th><th>Can do</th></tr>"
    rows = "\n".join(_row(model, listing) for model in listing.models)
    return f"<table>{heads}\n{rows}</table>".encode("utf-8", "replace")


def _row(model: Model, listing: Listing) -> str:
    status, can = listing.status(model), ", ".join(sorted(model.capabilities))
    names = escape(model.name) + "".join(
        f" <small>{escape(alias)}</small>" for alias in model.aliases
    )
    return f'<tr><td>{names}</td><td class="{status}">{status}</td><td>{can}</td></tr>'
