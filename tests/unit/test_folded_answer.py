"""An answer that is no stream becomes the one event that a waiting client can read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gglib_proxy.folded_answer import MAX_BYTES, FoldedAnswer
from gglib_proxy.routes import Dialect

ERROR = {"error": {"code": 400, "message": "two\nlines", "type": "invalid_request_error"}}


def fold(status: int, *chunks: bytes, dialect: Dialect = Dialect.OPENAI) -> tuple[str | None, Any]:
    """The event's name and document."""
    folded = FoldedAnswer(status, dialect, "tiny")
    folded.feed(list(chunks))
    lines = folded.event().decode().split("\n")
    assert lines[-2:] == ["", ""]
    name = lines.pop(0).removeprefix("event: ") if lines[0].startswith("event") else None
    (data,) = lines[:-2]
    return name, json.loads(data.removeprefix("data: "))


def test_an_error_stays_the_engines_own() -> None:
    body = json.dumps(ERROR, indent=2).encode()
    assert fold(400, body[:20], body[20:]) == (None, ERROR)


def test_an_error_is_put_into_anthropics_shape() -> None:
    name, document = fold(400, json.dumps(ERROR).encode(), dialect=Dialect.ANTHROPIC)
    assert name == "error"
    assert document["type"] == "error"
    assert document["error"]["type"] == "invalid_request_error"
    assert document["error"]["message"] == "two\nlines"


def test_an_error_in_anthropics_shape_stays_as_it_is() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}
    assert fold(529, json.dumps(error).encode(), dialect=Dialect.ANTHROPIC) == ("error", error)


def test_a_document_that_is_no_error_is_one_event() -> None:
    assert fold(200, b'{"a":\n1}') == (None, {"a": 1})
    assert fold(200, b'{"a": 1}', dialect=Dialect.ANTHROPIC) == (None, {"a": 1})


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (502, b"<html>Bad\r\n\r\nGateway</html>"),
        (200, b"OK"),
        (500, b"[1]"),
        (500, b'{"message": "no error in it"}'),
        (500, b'{"error": "' + b"x" * MAX_BYTES + b'"}'),
        (500, b"\xff\xfe"),
        (500, b"[" * 5000),
    ],
    ids=["empty", "html", "text", "list", "no error", "too long", "no text", "too deep"],
)
def test_what_cannot_be_read_is_an_error_all_the_same(
    status: int, body: bytes, dialect: Dialect
) -> None:
    name, document = fold(status, body, dialect=dialect)
    assert name == ("error" if dialect is Dialect.ANTHROPIC else None)
    assert f"status {status}" in document["error"]["message"]
    assert len(document["error"]["message"]) < 1000


def test_a_long_answer_is_not_kept() -> None:
    folded = FoldedAnswer(500, Dialect.OPENAI, "tiny")
    for _ in range(100):
        folded.feed([b"x" * MAX_BYTES])
    assert len(folded._body) == MAX_BYTES + 1
