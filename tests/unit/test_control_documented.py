"""docs/api.md lists the paths that the control plane has, and the fields that it gives."""

import re
from pathlib import Path

import pytest

from gglib_core.models import ModelState
from gglib_proxy.control.app import create_app
from gglib_proxy.control.owner import DEFAULT_LINES, MAX_LINES
from tests.catalog_entries import model
from tests.control_plane import FakeModelRuntime, control_context

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
SECTION = DOCUMENT.partition("## Control plane\n")[2].partition("\n## ")[0]
TABLE = re.compile(r"^\| `(/.*?)` \| (\w+) \|", re.MULTILINE)


def test_the_paths_are_those_that_there_are() -> None:
    rules = create_app(control_context()).url_map.iter_rules()
    paths = {
        (re.sub(r"<path:name>", "{model}", rule.rule), method)
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(TABLE.findall(SECTION)) == paths


@pytest.mark.parametrize(
    "path", ["/v1/models/alpha", "/models", "/v1/models", "/health", "/api/v1/status"]
)
@pytest.mark.parametrize("headers", [{}, {"anthropic-version": "2023-06-01"}])
async def test_every_field_of_an_answer_is_named(path: str, headers: dict[str, str]) -> None:
    runtime, alpha = FakeModelRuntime(), model(1, "alpha")
    runtime.show(alpha, ModelState.FAILED, failure="why")
    client = create_app(control_context([alpha], runtime=runtime)).test_client()
    text = await (await client.get(path, headers=headers)).get_data(as_text=True)
    fields = set(re.findall(r'"(\w+)":', text))
    assert fields
    unnamed = {name for name in fields if not re.search(rf'[`"]{name}\b|\.{name}`', SECTION)}
    # Of llama.cpp's shape only what needs saying is said.
    assert unnamed <= {"tags"}


def test_the_numbers_of_lines_are_right() -> None:
    assert f"the last {DEFAULT_LINES} lines" in SECTION
    assert f"to {MAX_LINES}." in SECTION
