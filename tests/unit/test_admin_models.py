"""`/admin/models`: the catalog, seen and changed by those who administer it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from quart import Quart
from quart.testing import QuartClient

from gglib_core.catalog import InMemoryModelCatalog
from gglib_core.errors import GgufError
from gglib_core.models import Capability, GgufFacts
from gglib_core.stored_models import InMemoryStoredModels, ModelFile
from gglib_proxy.control.admin.models import catalog_routes
from gglib_proxy.control.answers import register_error_answers
from tests.catalog_entries import FULL, model, new_model
from tests.unit.test_admin_keys import fields_of, send

CHAT = frozenset({Capability.CHAT})
EMBEDDINGS = frozenset({Capability.EMBEDDINGS})


class FakeModelFiles:
    """Files that are models; those with `bert` in their names can embed."""

    async def describe(self, path: str, *, engine: str | None = None) -> ModelFile:
        if "bad" in path:
            raise GgufError(path, "is no GGUF file")
        facts = GgufFacts(architecture="llama", context_length=8192, is_causal="bert" not in path)
        stem = path.rpartition("/")[2].removesuffix(".gguf")
        return ModelFile(
            stem=stem,
            paths=(path,),
            size_bytes=1000,
            facts=facts,
            capabilities=self.default_capabilities(facts),
        )

    def default_capabilities(self, facts: GgufFacts) -> frozenset[Capability]:
        return CHAT if facts.is_causal else EMBEDDINGS


@pytest.fixture
def stored() -> InMemoryStoredModels:
    return InMemoryStoredModels(clock=lambda: 1_800_000_000.0)


@pytest.fixture
def client(stored: InMemoryStoredModels) -> QuartClient:
    app = Quart(__name__)
    app.url_map.merge_slashes = False
    of_this_run = InMemoryModelCatalog([model(-1, "passing")])
    app.register_blueprint(catalog_routes(of_this_run, stored, FakeModelFiles()))
    register_error_answers(app)
    return app.test_client()


async def test_a_file_becomes_a_model_with_what_it_says_of_itself(
    client: QuartClient, stored: InMemoryStoredModels
) -> None:
    answer = await client.post("/admin/models", json={"path": "/models/alpha.gguf"})
    added = await answer.get_json()
    assert (answer.status_code, answer.headers["location"]) == (201, "/admin/models/alpha")
    assert (added["name"], added["paths"], added["size_bytes"]) == (
        "alpha",
        ["/models/alpha.gguf"],
        1000,
    )
    assert (added["capabilities"], added["facts"]["context_length"]) == (["chat"], 8192)
    assert (await stored.find("alpha")).id == added["id"]


async def test_every_property_can_be_set_and_is_shown(
    client: QuartClient, stored: InMemoryStoredModels
) -> None:
    wanted = {
        name: (dict(value) if name == "environment" else list(value))
        if isinstance(value, (tuple, frozenset))
        else value
        for name, value in FULL.items()
        if name not in ("paths", "facts", "size_bytes", "aliases")
    }
    wanted |= {"aliases": ["short"], "context": 4096}
    body = {"path": "/models/f.gguf", "name": "org/full"} | wanted
    status, added = await send(client, "POST", "/admin/models", body)
    assert status == 201
    kept = await stored.find("org/full")
    assert (kept.environment, kept.arguments) == (FULL["environment"], FULL["arguments"])
    assert set(added) == set(type(kept).__dataclass_fields__)
    assert {name: added[name] for name in wanted} == wanted | {
        "capabilities": sorted(wanted["capabilities"])
    }
    for name in ("org/full", "org%2Ffull", "short", str(kept.id)):
        status, shown = await send(client, "GET", f"/admin/models/{name}", None)
        assert (status, shown) == (200, added)


async def test_a_change_leaves_what_it_does_not_name(
    client: QuartClient, stored: InMemoryStoredModels
) -> None:
    await stored.add(new_model("full", **FULL))
    body = {"name": "other", "gpu_layers": 9, "aliases": None, "environment": None, "context": None}
    status, changed = await send(client, "PATCH", "/admin/models/full", body)
    assert status == 200
    assert (changed["name"], changed["gpu_layers"], changed["aliases"]) == ("other", "9", [])
    assert (changed["environment"], changed["context"]) == ({}, None)
    assert (changed["tags"], changed["parallel"]) == (list(FULL["tags"]), FULL["parallel"])
    assert changed["paths"] == list(FULL["paths"])


async def test_another_file_brings_its_own_facts_and_what_it_can_do(
    client: QuartClient, stored: InMemoryStoredModels
) -> None:
    await stored.add(new_model("alpha"))
    _, changed = await send(client, "PATCH", "/admin/models/alpha", {"path": "/models/bert.gguf"})
    assert (changed["paths"], changed["capabilities"]) == (["/models/bert.gguf"], ["embeddings"])
    _, said = await send(client, "PATCH", "/admin/models/alpha", {"capabilities": ["rerank"]})
    assert said["capabilities"] == ["rerank"]
    _, kept = await send(client, "PATCH", "/admin/models/alpha", {"path": "/models/alpha.gguf"})
    assert kept["capabilities"] == ["rerank"]
    _, back = await send(client, "PATCH", "/admin/models/alpha", {"capabilities": None})
    assert back["capabilities"] == ["chat"]


async def test_a_model_is_taken_out(client: QuartClient, stored: InMemoryStoredModels) -> None:
    added = await stored.add(new_model("org/alpha"))
    status, gone = await send(client, "DELETE", f"/admin/models/{quote('org/alpha')}", None)
    assert (status, gone) == (200, {"id": added.id, "name": "org/alpha", "deleted": True})
    assert list(await stored.list()) == []
    assert (await client.delete("/admin/models/org/alpha")).status_code == 404


async def test_models_of_this_run_are_shown_but_cannot_be_changed(
    client: QuartClient, stored: InMemoryStoredModels
) -> None:
    await stored.add(new_model("alpha"))
    _, listed = await send(client, "GET", "/admin/models", None)
    assert [(each["id"], each["name"]) for each in listed["data"]] == [
        (-1, "passing"),
        (1, "alpha"),
    ]
    _, shown = await send(client, "GET", "/admin/models/passing", None)
    assert shown == listed["data"][0]
    for method in ("PATCH", "DELETE"):
        status, error = await send(client, method, "/admin/models/passing", {})
        assert (status, error["error"]["code"]) == (400, "invalid_model")
        assert "of this run only" in error["error"]["message"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_a_model_that_is_none_is_404(
    client: QuartClient, stored: InMemoryStoredModels, method: str
) -> None:
    await stored.add(new_model("alpha"))
    status, error = await send(client, method, "/admin/models/alphaa", {})
    assert (status, error["error"]["code"]) == (404, "model_not_found")
    assert "'alpha'" in error["error"]["message"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"path"}),
        ({"path": 7, "context": "many", "ctx": 1}, {"path", "context", "ctx"}),
        ({"path": "/bad.gguf"}, {"path"}),
        ({"path": "/a.gguf", "aliases": ["a", 1]}, {"aliases[1]"}),
        ({"path": "/a.gguf", "environment": {"A": 1}}, {"environment[...]"}),
        ({"path": "/a.gguf", "threads": 0, "context": 10**30}, {"threads", "context"}),
        (
            {"path": "/a.gguf", "name": "7", "currency": "money", "gpu_layers": -1},
            {"name", "currency", "gpu_layers"},
        ),
        (
            {"path": "/a.gguf", "context": 9999, "tags": [""], "arguments": ["--port", "1"]},
            {"context", "tags", "arguments"},
        ),
        ({"path": "/a.gguf", "aliases": ["a,b"], "capabilities": []}, {"aliases", "capabilities"}),
        ({"path": "/a.gguf", "engine": "steam"}, {"engine"}),
    ],
)
async def test_every_field_that_is_wrong_is_named(
    client: QuartClient, stored: InMemoryStoredModels, body: object, fields: set[str]
) -> None:
    status, error = await send(client, "POST", "/admin/models", body)
    assert (status, fields_of(error)) == (400, fields)
    assert list(await stored.list()) == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"name": "alpha", "path": "/b.gguf"}, {"name"}),
        ({"aliases": ["new", "alpha"], "path": "/b.gguf"}, {"aliases"}),
    ],
)
async def test_a_name_that_is_taken_is_told_with_its_field(
    client: QuartClient, stored: InMemoryStoredModels, body: dict[str, Any], fields: set[str]
) -> None:
    await stored.add(new_model("alpha"))
    await stored.add(new_model("beta"))
    for method, path in (("POST", ""), ("PATCH", "/beta")):
        status, error = await send(client, method, f"/admin/models{path}", body)
        assert (status, error["error"]["code"], fields_of(error)) == (409, "name_taken", fields)


async def test_a_file_that_is_kept_already_needs_a_name_of_its_own(
    client: QuartClient, stored: InMemoryStoredModels
) -> None:
    await stored.add(new_model("alpha", paths=("/models/x.gguf",)))
    status, error = await send(client, "POST", "/admin/models", {"path": "/models/x.gguf"})
    assert (status, fields_of(error)) == (400, {"path"})
    body = {"path": "/models/x.gguf", "name": "second"}
    status, _ = await send(client, "POST", "/admin/models", body)
    assert (status, len(await stored.list())) == (201, 2)
