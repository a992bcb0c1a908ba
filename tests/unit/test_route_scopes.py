"""No way to write a path gets past the scope of what the control plane then serves for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote, unquote

import pytest
from werkzeug.exceptions import HTTPException

from gglib_core.rate_limiting import NoRateLimiter
from gglib_proxy.control.app import create_app
from gglib_proxy.control.context import Administration
from gglib_proxy.routes import UNKNOWN, find_route
from tests.control_plane import control_context

DISGUISES: list[Callable[[str], str]] = [
    lambda path: path,
    lambda path: "/" + path,
    lambda path: "//" + path,
    lambda path: "/%2f" + path,
    lambda path: "/%2F%2f" + path,
    lambda path: "/./" + path,
    lambda path: "/x/.." + path,
    lambda path: "/docs/.." + path,
    lambda path: "/docs%2f.." + path,
    lambda path: path + "/",
    lambda path: path + "//",
    lambda path: path + "/.",
    lambda path: path + ".",
    lambda path: path + "%20",
    lambda path: path + "%00",
    lambda path: path + ";x",
    lambda path: path + "%3fx",
    lambda path: path + "%23",
    lambda path: path.replace("/", "//"),
    lambda path: path.replace("/", "/./"),
    lambda path: path.upper(),
    lambda path: "/" + quote(path[1:], safe=""),
    lambda path: "/" + "".join(f"%{ord(each):02x}" for each in path[1:]),
    lambda path: "/" + "".join(f"%25{ord(each):02x}" for each in path[1:]),
    lambda path: path.replace("/", "\\"),
    lambda path: path.replace("/", "%5c"),
    lambda path: "/" + "".join(f"%c0%{ord(each):02x}" for each in path[1:]),
]


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NOBODY: Any = None  # no route is called
ADMINISTRATION = Administration(
    traffic=NOBODY, tally=NOBODY, limiter=NoRateLimiter(), configuration=cast("Any", object())
)
URLS = create_app(replace(control_context(), administration=ADMINISTRATION)).url_map
PATHS = sorted({re.sub("<path:[a-z_]+>", "some/name", rule.rule) for rule in URLS.iter_rules()})


def find_rule(path: str) -> str | None:
    """What the app would serve for a path; None where it serves nothing."""
    adapter = URLS.bind("localhost")
    for method in METHODS:
        with suppress(HTTPException):
            rule, _ = adapter.match(unquote(path), method, return_rule=True)  # as hypercorn decodes
            return str(rule.rule)
    return None


@pytest.mark.parametrize("path", PATHS)
def test_every_path_that_is_served_stands_in_the_table(path: str) -> None:
    assert find_rule(path) is not None
    assert find_route(path.encode()) is not UNKNOWN


@pytest.mark.parametrize("path", PATHS)
def test_a_disguised_path_needs_the_scope_of_what_is_served_for_it(path: str) -> None:
    for disguise in DISGUISES:
        disguised = disguise(path)
        rule = find_rule(disguised)
        if rule is None:
            continue
        wanted = find_route(rule.encode()).endpoint
        found = find_route(disguised.encode()).endpoint
        assert found is wanted or (wanted is None), (disguised, rule)
