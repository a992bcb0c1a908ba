"""What the API's description says is what a server does: requests made from it, right and wrong.

Engines' own paths are left out, for what passes through is none of gglib's.
"""

from __future__ import annotations

from collections.abc import Generator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from gglib_proxy.control.openapi.document import openapi_document
from tests.faults import faulty_server
from tests.serving import wait_until

CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
SPARE = "spare"
NEVER_MET = {"/admin/requests/{id}", "/v1/generation"}
"""Nothing is under way, and nothing was recorded."""
TAGS = ["Models", "Generations", "Probes and metrics", "Administration", "API keys", "Catalog"]

schema = schemathesis.openapi.from_dict(openapi_document()).include(tag=TAGS)
schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
schema.config.phases.coverage.unexpected_methods = set()


class Server:
    """A server, a key that nobody who makes keys is locked out with, and what it has answered."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self.headers = {"authorization": f"Bearer {secret}"}
        self.seen: set[tuple[str, int]] = set()
        """Paths, with the first digits of statuses."""

    def note(self, path: str, status: int) -> None:
        self.seen.add((path, status // 100))

    def post(self, path: str, body: object) -> None:
        answer = httpx.post(self.url + path, json=body, headers=self.headers, timeout=30)
        assert answer.status_code in (201, 409), answer.text
        self.note(path, answer.status_code)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with faulty_server(tmp_path_factory.mktemp("home")) as served:
        endpoints = [f"--endpoint={name}" for name in ("inference", "models", "logs", "admin")]
        secret = served.shell.json("key", "create", "conformance-tests", *endpoints)["key"]
        wait_until(lambda: served.get("/v1/models").status_code == 401)
        yield Server(served.url, secret)


def name_what_there_is(case: schemathesis.Case, server: Server) -> None:
    """Every second time, have the request meet a key or a model: by chance it would meet none."""
    for kind, made in (("name", "/admin/keys"), ("model", "/admin/models")):
        named = (case.path_parameters or {}).get(kind)
        if named is not None and len(str(named)) % 2:
            case.path_parameters[kind] = SPARE
            body = {"name": SPARE}
            if kind == "model":
                body |= {"path": SPARE, "engine": "simulator"}
            server.post(made, body)
    if case.operation.path == "/models/load" and isinstance(case.body, dict):
        case.body["model"] = "alpha"


@schema.parametrize()
@settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_described(case: schemathesis.Case, server: Server) -> None:
    case.query = {name: value for name, value in (case.query or {}).items() if name != "follow"}
    name_what_there_is(case, server)
    answer = case.call_and_validate(
        base_url=server.url,
        headers=server.headers,
        checks=[CHECKS.get_one(name) for name in CHECKED],
        timeout=30,
    )
    server.note(case.operation.path, answer.status_code)


def test_no_path_was_asked_in_vain(server: Server) -> None:
    """Of those that this worker has asked: tests may be shared out."""
    asked = {path for path, _ in server.seen}
    assert {path for path in asked if (path, 2) not in server.seen} <= NEVER_MET
