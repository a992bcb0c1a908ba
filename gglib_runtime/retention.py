"""How long records are kept.

Not here: which records, and who deletes them.
"""

from __future__ import annotations

from dataclasses import dataclass

WEEK_SECONDS = 7 * 86400.0


@dataclass(slots=True, kw_only=True)
class Retention:
    """May be changed while records are kept."""

    seconds: float = WEEK_SECONDS
    """0 keeps them for ever."""
