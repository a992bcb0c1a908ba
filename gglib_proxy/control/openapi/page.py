"""`/docs`: the description of the API for people, on one page without a script.

Not here: what is described.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import Any

from gglib_core import __version__
from gglib_proxy.control.style import TITLE_END

_MOST_NESTED = 4


def documentation_page(document: dict[str, Any]) -> bytes:
    """The page for an OpenAPI document of ours."""
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f"<title>gglib: the API</title>\n{TITLE_END}",
        f"<body><h1>The API of gglib {escape(__version__)}</h1>",
        f"<p>{escape(document['info']['description'])}</p>",
        '<p>For programs: <a href="/openapi.json">/openapi.json</a>, OpenAPI 3.1. What runs here',
        'is on <a href="/">the first page</a>.</p>',
        _contents(document),
    ]
    listed = [
        (described["tags"][0], method, path, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]
    order = {tag["name"]: position for position, tag in enumerate(document["tags"])}
    listed.sort(key=lambda each: order[each[0]])
    for tag, members in groupby(listed, key=lambda each: each[0]):
        parts.append(f'<h2 id="{_anchor(tag)}">{escape(tag)}</h2>')
        parts += [_operation(document, *rest) for _, *rest in members]
    parts.append("</body></html>\n")
    return "\n".join(parts).encode()


def _contents(document: dict[str, Any]) -> str:
    names = [each["name"] for each in document["tags"]]
    links = [f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in names]
    return f"<nav>{' · '.join(links)}</nav>"


def _prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _anchor(tag: str) -> str:
    return tag.lower().replace(" ", "-")


def _operation(document: dict[str, Any], method: str, path: str, described: dict[str, Any]) -> str:
    scope = described.get("x-gglib-scope")
    shown = f"scope {scope}" if scope else "no key needed"
    return (
        f'<details id="{escape(described["operationId"])}"><summary>'
        f'<span class="method {method}">{method.upper()}</span>'
        f"<code>{escape(path)}</code> "
        f'<span class="what">{_prose(described["summary"])}</span>'
        f'<span class="scope">{escape(shown)}</span></summary>'
        + "".join(_parts(document, described))
        + "</details>"
    )


def _parts(document: dict[str, Any], described: dict[str, Any]) -> Iterator[str]:
    if parameters := described.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
            f"<td>{_prose(each['description'])}</td></tr>"
            for each in parameters
        )
        yield f"<table><tr><th>Parameter</th><th>In</th><th>Meaning</th></tr>{rows}</table>"
    if body := described.get("requestBody"):
        needed = "" if body["required"] else " (may be left out)"
        yield f"<p>Body{needed}:</p>" + _example(document, _schema_of(body))
    for status, answer in described["responses"].items():
        if status.startswith("2"):
            media = ", ".join(answer["content"])
            yield f"<p>{status}, {escape(media)}:</p>" + _example(document, _schema_of(answer))
    errors = [status for status in described["responses"] if not status.startswith("2")]
    if errors:
        yield f"<p>Errors: {', '.join(errors)}.</p>"


def _schema_of(described: dict[str, Any]) -> dict[str, Any]:
    return next(iter(described["content"].values())).get("schema", {})


def _example(document: dict[str, Any], schema: dict[str, Any]) -> str:
    if not schema:
        return "<p>As it comes.</p>"
    example = next(iter(schema.get("examples", ())), None) or _shape(document, schema, 0)
    shown = json.dumps(example, indent=2, ensure_ascii=False)
    return f"<pre>{escape(shown)}</pre>"


def _shape(document: dict[str, Any], schema: dict[str, Any], depth: int) -> Any:  # noqa: ANN401 -- JSON
    """What a value of that schema looks like, with the types in the places of values."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        schema = document["components"]["schemas"][name]
    if depth > _MOST_NESTED:
        return "…"
    if choices := schema.get("anyOf"):
        shapes = [_shape(document, each, depth) for each in choices]
        texts = [each for each in shapes if isinstance(each, str)]
        whole = [each for each in shapes if not isinstance(each, str)]
        return whole[0] if whole else " or ".join(texts)
    if properties := schema.get("properties"):
        return {name: _shape(document, each, depth + 1) for name, each in properties.items()}
    if schema.get("type") == "array":
        return [_shape(document, schema.get("items", {}), depth + 1)]
    if values := schema.get("enum"):
        return " or ".join(map(str, values))
    return str(schema.get("type", "anything"))
