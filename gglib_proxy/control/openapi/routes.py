"""`/openapi.json` and `/docs`, each made once.

Not here: what they say.
"""

from __future__ import annotations

import asyncio
from functools import cache

import msgspec
from quart import Blueprint, Response

from gglib_proxy.control.answers import json_bytes
from gglib_proxy.control.openapi.document import openapi_document
from gglib_proxy.control.openapi.page import documentation_page
from gglib_proxy.control.style import page_answer


def openapi_routes() -> Blueprint:
    """The description for programs, and for people."""
    routes = Blueprint("openapi", __name__)

    @routes.get("/openapi.json")
    async def document() -> Response:
        return json_bytes(await asyncio.to_thread(_document))

    @routes.get("/docs")
    async def docs() -> Response:
        return page_answer(await asyncio.to_thread(_page), "text/html")

    return routes


@cache
def _document() -> bytes:
    return msgspec.json.encode(openapi_document())


@cache
def _page() -> bytes:
    return documentation_page(openapi_document())
