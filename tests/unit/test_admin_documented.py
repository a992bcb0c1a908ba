"""docs/admin.md has every operation under /admin, with an example, and no others."""

import re
from pathlib import Path

import msgspec

from gglib_proxy.control.admin.key_documents import KeyChangesBody, NewKeyBody
from gglib_proxy.control.admin.logs import DEFAULT_LINES, MAX_LINES
from gglib_proxy.control.openapi.document import openapi_document
from gglib_proxy.request_log import SHOWN_BODY_BYTES

DOCS = Path(__file__).parents[2] / "docs"
ADMIN = (DOCS / "admin.md").read_text()
NAMED = re.compile(r"`(GET|POST|PATCH|PUT|DELETE) (/admin\S*?)`")
CURL = re.compile(r"^\$ curl ((?:.*\\\n)*.*)", re.MULTILINE)


def admin_operations() -> set[tuple[str, str]]:
    return {
        (method.upper(), path)
        for path, methods in openapi_document()["paths"].items()
        for method in methods
        if path.startswith("/admin")
    }


def examples() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for command in CURL.findall(ADMIN):
        method = re.search(r"-X (\w+)", command)
        path = re.search(r"\$GGLIB(/[^\s\"?]*)", command)
        assert path, command
        found.add((method[1] if method else "GET", path[1]))
    return found


def test_every_operation_is_named() -> None:
    assert set(NAMED.findall(ADMIN)) == admin_operations()


def test_every_operation_has_an_example_and_every_example_an_operation() -> None:
    patterns = {
        (method, re.sub(r"\{(\w+)\}", lambda name: ".+" if name[1] == "model" else "[^/]+", path))
        for method, path in admin_operations()
    }
    met = {
        (method, pattern)
        for method, pattern in patterns
        for sent, path in examples()
        if sent == method and re.fullmatch(pattern, path)
    }
    assert met == patterns
    assert all(
        any(sent == method and re.fullmatch(pattern, path) for method, pattern in patterns)
        for sent, path in examples()
    )


def test_bodies_about_keys_are_understood() -> None:
    types = {"POST": NewKeyBody, "PATCH": KeyChangesBody}
    bodies = [
        (re.search(r"-X (\w+)", command), re.search(r"-d '(\{.*\})'", command, re.DOTALL))
        for command in CURL.findall(ADMIN)
        if "$GGLIB/admin/keys" in command
    ]
    read = [
        msgspec.json.decode(body[1], type=types[method[1]])
        for method, body in bodies
        if method and body
    ]
    assert {type(each) for each in read} == set(types.values())


def test_the_numbers_are_right() -> None:
    assert f"up to {MAX_LINES} of them: `?lines=`, {DEFAULT_LINES} without" in ADMIN
    assert SHOWN_BODY_BYTES == 2048


def test_what_needs_no_key_is_named() -> None:
    """And nothing else is."""
    text = (DOCS / "security.md").read_text().partition("What needs no key in any case: ")[2]
    named = set(re.findall(r"`(/.*?)`", text.partition(". ")[0]))
    assert named == {
        path
        for path, methods in openapi_document()["paths"].items()
        if any("x-gglib-scope" not in described for described in methods.values())
    }
