"""docs/api.md lists the routes of engines that there are, with what each of them needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gglib_proxy.envelope import MAX_EMBEDDING_INPUTS
from gglib_proxy.limits import Limits
from gglib_proxy.routes import ROUTES, UPSTREAM, Plane, Route

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
SECTION = DOCUMENT.partition("## Inference\n")[2].partition("\n## ")[0]


def documented() -> Iterator[list[str]]:
    for line in SECTION.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def row(route: Route) -> list[str]:
    streams = "yes" if route.can_stream else "no"
    return [
        f"`{route.path}`",
        ", ".join(route.methods),
        str(route.capability or "-"),
        "as its path does" if route is UPSTREAM else streams,
        route.named_by.value,
    ]


def test_the_routes_are_the_ones_in_the_source() -> None:
    inference = [row(route) for route in ROUTES if route.plane is Plane.INFERENCE]
    assert list(documented()) == inference


def test_the_limit_of_inputs_is_the_one_in_the_source() -> None:
    assert f"`/v1/embeddings` takes {MAX_EMBEDDING_INPUTS} inputs at most" in SECTION


def test_the_number_of_requests_in_a_row_is_the_one_in_the_source() -> None:
    assert f"of which {Limits().max_pipelined_requests} may wait" in SECTION


@pytest.mark.parametrize("name", ["stream_grace_seconds", "comment_interval_seconds"])
def test_the_limits_that_are_named_exist(name: str) -> None:
    assert name in SECTION
    assert hasattr(Limits(), name)
