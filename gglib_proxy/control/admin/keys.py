"""`/admin/keys`: API keys, listed, made, changed and removed.

Not here: who stores them.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from quart import Blueprint, Response

from gglib_core.api_keys import ApiKeys, MadeKey
from gglib_core.keys import ApiKey
from gglib_proxy.control.admin.bodies import read_body
from gglib_proxy.control.admin.documents import Deleted
from gglib_proxy.control.admin.key_documents import (
    KeyChangesBody,
    KeyList,
    NewKeyBody,
    key_document,
    made_key_document,
)
from gglib_proxy.control.answers import json_answer, json_bytes

_CREATED = 201


def key_routes(keys: ApiKeys) -> Blueprint:
    """Everything that `gglib key` can do."""
    routes = Blueprint("admin_keys", __name__, url_prefix="/admin/keys")

    @routes.get("")
    async def list_keys() -> Response:
        return json_answer(KeyList(data=[key_document(key) for key in await keys.list()]))

    @routes.post("")
    async def create() -> Response:
        made = await keys.create((await read_body(NewKeyBody)).new_key())
        answer = _made(made, _CREATED)
        answer.headers["location"] = f"/admin/keys/{quote(made.key.name)}"
        return answer

    @routes.get("/<name>")
    async def show(name: str) -> Response:
        return _shown(await keys.get(name))

    @routes.patch("/<name>")
    async def edit(name: str) -> Response:
        wanted = await read_body(KeyChangesBody)
        return _shown(await keys.edit(name, **wanted.changes()))

    @routes.delete("/<name>")
    async def remove(name: str) -> Response:
        key = await keys.remove(name)
        return json_answer(Deleted(id=key.id, name=key.name))

    @routes.post("/<name>/rotate")
    async def rotate(name: str) -> Response:
        return _made(await keys.rotate(name))

    @routes.post("/<name>/enable")
    async def enable(name: str) -> Response:
        return _shown(await keys.edit(name, is_enabled=True))

    @routes.post("/<name>/disable")
    async def disable(name: str) -> Response:
        return _shown(await keys.edit(name, is_enabled=False))

    return routes


def _shown(key: ApiKey) -> Response:
    return json_answer(key_document(key))


def _made(made: MadeKey, status: int = 200) -> Response:
    """The one answer that has a secret, which nobody between may keep."""
    answer = json_bytes(msgspec.json.encode(made_key_document(made)), status)
    answer.headers["cache-control"] = "no-store"
    return answer
