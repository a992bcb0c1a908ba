"""The port to a running server's settings: seen, changed and read anew without a restart.

Not here: which settings there are, and where they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Values = Mapping[str, object]
"""Values by key, each of a kind that JSON has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationView:
    """The settings at one moment."""

    values: Values
    """Those that count, without secrets; None where one has no value."""
    origins: Mapping[str, str]
    """Where each came from: `default`, `admin`, a file, a variable or a flag."""
    fixed: Sequence[str]
    """Keys that are set by a variable or a flag, which nothing here can change."""
    restart_needed: Sequence[str]
    """Keys whose values were changed, and count only after a restart."""


class Configuration(Protocol):
    """The settings of a running server. All methods belong to one event loop.

    A change is judged whole: it is made, kept over restarts and applied, or ConfigError names
    everything that is wrong with it and nothing has changed. Running models and requests go on.
    """

    def view(self) -> ConfigurationView:
        """The settings as they are."""
        ...

    async def replace(self, values: Values) -> ConfigurationView:
        """Set these, and nothing else, over what files say. Raises ConfigError."""
        ...

    async def merge(self, values: Values) -> ConfigurationView:
        """Set these too; None takes back what was set here before. Raises ConfigError."""
        ...

    async def reload(self) -> ConfigurationView:
        """Read the files anew. Raises ConfigError; what counted before goes on counting then."""
        ...
