"""Answers of the control plane: JSON, and errors in the shape of the API that the client speaks.

Not here: which error has which status; that is `gglib_proxy.errors`.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable

import msgspec
from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from gglib_proxy.control.foreign_paths import foreign_path_hint
from gglib_proxy.dialects import Dialect
from gglib_proxy.errors import (
    ErrorAnswer,
    Refusal,
    answer_headers,
    describe_error,
    render,
)
from gglib_proxy.routes import ROUTES, Plane, find_route

_log = logging.getLogger(__name__)
REFUSAL_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
}
"""What Quart refuses by itself."""
_LONGEST_COMPARED_PATH = 100


def json_answer(document: object) -> Response:
    """The document, with status 200."""
    return json_bytes(msgspec.json.encode(document))


def json_bytes(body: bytes, status: int = 200) -> Response:
    """What is JSON already."""
    return Response(body, status, content_type="application/json")


def speaks_anthropic() -> bool:
    """Whether the client is one of Anthropic's API, which the same paths serve."""
    return "anthropic-version" in request.headers


def register_error_answers(app: Quart) -> None:
    """Have every error leave `app` as JSON that names gglib as its source."""

    @app.errorhandler(HTTPException)
    async def refuse(error: HTTPException) -> Response:
        methods = _methods_elsewhere() if error.code == 404 else ()
        if methods and request.method == "OPTIONS":
            return Response(b"", headers={"allow": ", ".join((*methods, "OPTIONS"))})
        return _answer(describe_error(_refusal(app, error)))

    @app.errorhandler(Exception)
    async def fail(error: Exception) -> Response:
        answer = describe_error(error)
        if answer.is_private:
            about = {"request_id": request.headers.get("x-request-id")}
            _log.error("%s %s failed", request.method, request.path, exc_info=error, extra=about)
        return _answer(answer)


def _answer(answer: ErrorAnswer) -> Response:
    response = json_bytes(render(answer, _dialect()), answer.status)
    response.headers.extend(answer_headers(answer))
    return response


def _dialect() -> Dialect:
    if request.path.startswith("/admin"):
        return Dialect.ADMIN
    return Dialect.ANTHROPIC if speaks_anthropic() else Dialect.OPENAI


def _refusal(app: Quart, error: HTTPException) -> Refusal:
    """What werkzeug says no with, in our words."""
    status = error.code or 500
    headers = [header for header in error.get_headers() if header[0].lower() == "allow"]
    if status == 404:
        message = _nothing_here(app)
    elif status == 405:
        allowed = ", ".join(value for _, value in headers) or "nothing"
        message = f"{request.method} is not possible here; {request.path} takes {allowed}."
    else:
        message = error.description or error.name
    return Refusal(status, REFUSAL_CODES.get(status, "invalid_request"), message, headers=headers)


def _methods_elsewhere() -> tuple[str, ...]:
    """Those of a path that the data plane answers, which leaves OPTIONS to this one."""
    return find_route(request.path.encode("utf-8", "surrogateescape")).methods


def _nothing_here(app: Quart) -> str:
    path = request.path[:_LONGEST_COMPARED_PATH]
    hint = foreign_path_hint(path) or _near_paths(app, path)
    return " ".join(filter(None, (f"There is no {path} here.", hint, "GET / says what there is.")))


def _near_paths(app: Quart, path: str) -> str | None:
    inference = (route.path for route in ROUTES if route.plane is not Plane.CONTROL)
    known = dict.fromkeys([*_paths_of(app), *inference])
    near = difflib.get_close_matches(path, known, n=2, cutoff=0.7)
    return f"Did you mean {' or '.join(near)}?" if near else None


def _paths_of(app: Quart) -> Iterable[str]:
    return (rule.rule for rule in app.url_map.iter_rules() if "<" not in rule.rule)
