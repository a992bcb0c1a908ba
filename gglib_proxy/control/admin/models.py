"""`/admin/models`: the catalog with all that it knows; models are added, changed and removed.

Not here: who stores them and reads their files, and what clients see of them (`/v1/models`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import msgspec
from quart import Blueprint, Response

from gglib_core.errors import InvalidModel, NameTaken
from gglib_core.models import Model
from gglib_core.ports import ModelCatalog
from gglib_core.stored_models import ModelChanges, ModelFiles, StoredModels
from gglib_proxy.control.admin.bodies import read_body
from gglib_proxy.control.admin.documents import Deleted
from gglib_proxy.control.admin.model_documents import (
    ModelChangesBody,
    ModelDocuments,
    NewModelBody,
    model_document,
)
from gglib_proxy.control.answers import json_answer, json_bytes

_CREATED = 201


def catalog_routes(catalog: ModelCatalog, models: StoredModels, files: ModelFiles) -> Blueprint:
    """Everything that `gglib model` can do, but for looking through directories."""
    routes = Blueprint("admin_models", __name__, url_prefix="/admin/models")

    @routes.get("")
    async def list_models() -> Response:
        found = [*_of_this_run(catalog), *await models.list()]
        return json_bytes(await asyncio.to_thread(_rendered, found))  # chat templates are long

    @routes.post("")
    async def add() -> Response:
        wanted = await read_body(NewModelBody)
        file = await files.describe(wanted.path, engine=wanted.engine)
        is_meant = wanted.name is not None or wanted.engine is not None
        with _naming(wanted.aliases):
            model = await models.add(wanted.new_model(file), allow_same_file=is_meant)
        answer = json_bytes(msgspec.json.encode(model_document(model)), _CREATED)
        answer.headers["location"] = f"/admin/models/{quote(model.name, safe='')}"
        return answer

    @routes.get("/<path:name>")
    async def show(name: str) -> Response:
        return json_answer(model_document(_passing(catalog, name) or await models.find(name)))

    @routes.patch("/<path:name>")
    async def edit(name: str) -> Response:
        wanted = await read_body(ModelChangesBody)
        old = await _stored(name)
        changes = await _changes(files, old, wanted)
        with _naming(wanted.aliases):
            return json_answer(model_document(await models.edit(old.id, **changes)))

    @routes.delete("/<path:name>")
    async def remove(name: str) -> Response:
        model = await models.remove((await _stored(name)).id)
        return json_answer(Deleted(id=model.id, name=model.name))

    async def _stored(name: str) -> Model:
        passing = _passing(catalog, name)
        if passing is not None:
            raise InvalidModel(
                f"{passing.name!r} is a model of this run only, named when gglib was started; it "
                "cannot be changed. Add its file, and it can."
            )
        return await models.find(name)

    return routes


def _of_this_run(catalog: ModelCatalog) -> list[Model]:
    return [model for model in catalog.list_models() if model.id < 0]


def _passing(catalog: ModelCatalog, name: str) -> Model | None:
    """The model of that name, if it is one of this run only."""
    model = catalog.resolve_model(name)
    return model if model is not None and model.id < 0 else None


def _rendered(models: list[Model]) -> bytes:
    return msgspec.json.encode(ModelDocuments(data=[model_document(model) for model in models]))


async def _changes(files: ModelFiles, old: Model, wanted: ModelChangesBody) -> ModelChanges:
    """What `old` shall become; the file says what it can do, unless its owner did."""
    changes: dict[str, Any] = wanted.properties()
    facts, capable = old.facts, files.default_capabilities(old.facts)
    is_default = old.capabilities == capable
    if isinstance(wanted.path, str):
        file = await files.describe(wanted.path, engine=changes.get("engine", old.engine))
        facts, capable = file.facts, file.capabilities
        changes |= {"paths": file.paths, "size_bytes": file.size_bytes, "facts": facts}
        if is_default:
            changes["capabilities"] = capable
    if wanted.capabilities is None:
        changes["capabilities"] = capable
    elif isinstance(wanted.capabilities, list):
        changes["capabilities"] = frozenset(wanted.capabilities)
    return changes  # pyright: ignore[reportReturnType] -- fields are named after the properties


@contextmanager
def _naming(aliases: object) -> Generator[None]:
    """Has a taken name be told of the field that it was in."""
    try:
        yield
    except NameTaken as error:
        if isinstance(aliases, list) and error.name in aliases:
            error.problems = (("aliases", str(error)),)
        raise
