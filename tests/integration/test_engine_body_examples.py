"""The examples that the API's description has for engines' paths are answered as they stand."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from gglib_core.models import Capability
from gglib_proxy.control.openapi.document import openapi_document
from gglib_proxy.routes import ROUTES, NamedBy, Plane
from tests.command_line import Shell
from tests.serving import Served, serving

CAPABLE = {Capability.EMBEDDINGS: "embedder", Capability.RERANK: "reranker"}
PATHS = {
    route.path: CAPABLE.get(route.capability, "talker") if route.capability else "talker"
    for route in ROUTES
    if route.plane is Plane.INFERENCE and route.named_by is NamedBy.BODY
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    shell = Shell(tmp_path_factory.mktemp("home"))
    shell.output("model", "add", "talker", "--engine", "simulator")
    for capability, name in CAPABLE.items():
        shell.output("model", "add", name, "--engine", "simulator", "--capability", capability)
    with serving(shell, "--set", "max_resident=3") as served:
        yield served


@pytest.mark.parametrize(("path", "model"), PATHS.items())
def test_an_example_is_answered(served: Served, path: str, model: str) -> None:
    content: Any = openapi_document()["paths"][path]["post"]["requestBody"]["content"]
    (example,) = content["application/json"]["schema"]["examples"]
    assert example["model"] == "MODEL"
    answer = served.post(path, example | {"model": model})
    assert answer.status_code == 200, answer.text
