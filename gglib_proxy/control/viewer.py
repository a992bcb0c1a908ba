"""Whose records a request may see, by the headers that only the data plane can set.

Not here: whether the path may be asked for at all, which the data plane has decided.
"""

from __future__ import annotations

from dataclasses import dataclass

from werkzeug.datastructures import Headers

from gglib_core.keys import Endpoint
from gglib_proxy.control.owner import PEER_HEADER

KEY_ID_HEADER = "x-gglib-key-id"
KEY_HEADER = "x-gglib-key"
ENDPOINTS_HEADER = "x-gglib-endpoints"
_SEES_ALL = frozenset({Endpoint.LOGS, Endpoint.ADMIN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who asks."""

    key_id: int | None
    sees_all: bool
    """Whether the records of all keys are shown; else those of the viewer's own."""
    is_stranger: bool
    """Whether the viewer has no key where one is needed."""


def viewer_of(headers: Headers) -> Viewer:
    """Who asks. Without a peer it is the owner of the process, on the private socket."""
    key_id = headers.get(KEY_ID_HEADER, "")
    scopes = headers.get(ENDPOINTS_HEADER, "").split(",")
    return Viewer(
        key_id=int(key_id) if key_id.isdecimal() else None,
        is_stranger=PEER_HEADER in headers and not any(scopes),
        sees_all=PEER_HEADER not in headers or not _SEES_ALL.isdisjoint(scopes),
    )
