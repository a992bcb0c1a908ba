"""What is said of one operation of the API.

Not here: which operations there are (`gglib_proxy.control.openapi.operations`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gglib_core.keys import Endpoint

JSON = "application/json"
EVENTS = "text/event-stream"
Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}
SWITCH: Schema = {"type": "string", "enum": ["0", "1", "false", "true"]}


def whole(least: int, most: int) -> Schema:
    """A number within bounds."""
    return {"type": "integer", "minimum": least, "maximum": most}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Of a path or of a query."""

    name: str
    meaning: str
    schema: Schema = field(default_factory=lambda: TEXT)
    is_in_path: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    """With its parameters in braces."""
    summary: str
    tag: str
    endpoint: Endpoint | None
    """The scope that a key needs; None where nobody needs one."""
    parameters: tuple[Parameter, ...] = ()
    body: type | Schema | None = None
    is_body_needed: bool = True
    answer: type | Schema | None = None
    """None for an answer without a schema."""
    status: int = 200
    media: tuple[str, ...] = (JSON,)
    """Of the answer; the first is the one that `answer` describes."""
    errors: tuple[int, ...] = ()
    """Beside those that each operation may have."""
    is_anthropic: bool = False

    @property
    def id(self) -> str:
        """A name for generated clients: `get_admin_requests_id`."""
        words = self.path.replace("{", "").replace("}", "").replace("-", "_").replace(".", "_")
        return "_".join([self.method.lower(), *filter(None, words.split("/"))])
