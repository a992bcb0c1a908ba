"""HTTP/1.1 messages in order, odd and hostile, with what must come of each.

Data alone: what runs them are the tests of the readers, of a whole data plane, and of nginx.
"""

from __future__ import annotations

from tests.http1_corpus.framing import FRAMING
from tests.http1_corpus.heads import HEADS
from tests.http1_corpus.ordinary import ORDINARY
from tests.http1_corpus.words import (
    CHUNKED,
    GET,
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADER_COUNT,
    UPGRADE,
    Case,
    End,
    Seen,
    head,
    post,
)

__all__ = [
    "CASES",
    "CHUNKED",
    "GET",
    "MAX_BODY_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_HEADER_COUNT",
    "UPGRADE",
    "Case",
    "End",
    "Seen",
    "head",
    "post",
]
CASES: tuple[Case, ...] = (*ORDINARY, *FRAMING, *HEADS)
