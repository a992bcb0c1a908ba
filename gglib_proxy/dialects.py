"""Whose API a client speaks.

Not here: which path is whose (`gglib_proxy.routes`), and what errors look like in each.
"""

from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    """Decides the shape of errors."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    ADMIN = "admin"
    """gglib's own."""
