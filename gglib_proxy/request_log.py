"""What the log says of requests: of those that failed or were slow always, of others at debug.

Nothing is made up for a line that is not written, and no header is ever written. Of bodies, what
looks like a secret is masked. Not here: the records of requests (`gglib_proxy.books`).
"""

from __future__ import annotations

import logging
import re
from typing import NamedTuple

from gglib_proxy.errors import ErrorAnswer
from gglib_proxy.http1.requests import Request
from gglib_proxy.large_body import LargeBody
from gglib_proxy.routes import Route

SHOWN_BODY_BYTES = 2048
_MASK = "***"
_FIRST_FAILURE = 500

logger = logging.getLogger(__name__)

_SECRET_NAME = r"[\w-]*(?:api[_-]?key|password|passwd|secret|token|authorization)"  # noqa: S105
_SECRET_FIELD = re.compile(
    rf'("{_SECRET_NAME}"\s*:\s*)(?:"(?:\\.|[^"\\])*"?|[^\s",\[\]{{}}]+)'
    # The same in a text that is JSON itself, such as the arguments of a tool.
    rf'|(\\"{_SECRET_NAME}\\"\s*:\s*)(?:\\".*?(?:(?<!\\)\\"|"|$)|[^\s"\\,\[\]{{}}]+)',
    re.IGNORECASE | re.DOTALL,
)
_SECRET_VALUE = re.compile(r"\b(gg|sk|hf)([-_])[A-Za-z0-9_-]{4,}|\b(Bearer)(\s+)[^\s\"\\]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class About(NamedTuple):
    """The request that a line is about."""

    method: str
    path: str
    """The route's template."""
    request_id: str | None = None
    model: str | None = None
    seconds: float = 0.0
    """Since it came."""


def request_came(request: Request, route: Route, request_id: str) -> None:
    """Write the line of a request; ask first whether the level is debug."""
    logger.debug(
        "%s %s came with %d bytes: %s",
        request.method,
        route.path,
        len(request.body),
        shown_body(request.body),
        extra={"request_id": request_id},
    )


def request_failed(about: About, answer: ErrorAnswer, error: BaseException | None = None) -> None:
    """Write a line for an error that is the server's, and what the client may not know of it."""
    if answer.status >= _FIRST_FAILURE:
        logger.log(
            logging.ERROR if answer.is_private else logging.WARNING,  # the former is ours to mend
            "%s %s %s: %d %s after %.0f ms: %s",
            about.method,
            about.path,
            about.model or "-",
            answer.status,
            answer.code,
            about.seconds * 1000,
            answer.message,
            exc_info=error if answer.is_private else None,
            extra={"request_id": about.request_id},
        )


def request_was_slow(about: About, status: int) -> None:
    """Write a line for an answer that took long."""
    logger.warning(
        "%s %s %s: slow, %d after %.0f ms",
        about.method,
        about.path,
        about.model or "-",
        status,
        about.seconds * 1000,
        extra={"request_id": about.request_id},
    )


def shown_body(body: bytes | LargeBody) -> str:
    """A body's beginning on one line, without secrets."""
    text = body[:SHOWN_BODY_BYTES].decode("utf-8", "replace")
    text = _SECRET_FIELD.sub(_masked_field, text)
    text = _SECRET_VALUE.sub(_masked_value, text)
    more = "…" if len(body) > SHOWN_BODY_BYTES else ""
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], text) + more


def _masked_field(found: re.Match[str]) -> str:
    plain, escaped = found.groups()
    return f'{plain}"{_MASK}"' if plain else f'{escaped}\\"{_MASK}\\"'


def _masked_value(found: re.Match[str]) -> str:
    kind, separator, bearer, blank = found.groups()
    return f"{kind or bearer}{separator or blank}{_MASK}"
