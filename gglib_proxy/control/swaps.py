"""`/admin/swaps`: the ledger of swaps, newest first.

Not here: who may see it, and how a swap is written down.
"""

from __future__ import annotations

import re

from quart import Blueprint, Response, request

from gglib_core.errors import InvalidRequest
from gglib_core.swaps import MAX_PAGE
from gglib_proxy.control.answers import json_answer
from gglib_proxy.control.context import ControlContext
from gglib_proxy.swap_document import swap_list

DEFAULT_LIMIT = 100
_CURSOR = re.compile(r"swap-[0-9a-f]{22}")


def swap_routes(context: ControlContext) -> Blueprint:
    """One list: `limit`, `cursor` (the last answer's `next_cursor`), `model` (its name)."""
    routes = Blueprint("swaps", __name__)

    @routes.get("/admin/swaps")
    async def list_swaps() -> Response:
        page = await context.swaps.page(limit=_limit(), before=_cursor(), model=_model())
        return json_answer(swap_list(page))

    return routes


def _limit() -> int:
    text = request.args.get("limit", str(DEFAULT_LIMIT))
    is_number = text.isascii() and text.isdecimal() and len(text) < 10
    if not (is_number and 1 <= int(text) <= MAX_PAGE):
        raise InvalidRequest(
            f"limit is {text!r}; it has to be a number from 1 to {MAX_PAGE}.", param="limit"
        )
    return int(text)


def _cursor() -> str | None:
    text = request.args.get("cursor")
    if text is not None and not _CURSOR.fullmatch(text):
        raise InvalidRequest(
            "cursor has to be the `next_cursor` of the page before, or a swap's id.",
            param="cursor",
        )
    return text


def _model() -> str | None:
    text = request.args.get("model")
    if text is not None and "\0" in text:
        raise InvalidRequest("model has a NUL character.", param="model")
    return text
