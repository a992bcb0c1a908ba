"""Whose API the simulator shows where two differ.

`llama-server` is a local engine: its shapes, its leniency, its words. `hosted` is what OpenAI and
Anthropic run: their own identifiers, events and limits, with llama-server's own routes beside them.
"""

from __future__ import annotations

from enum import StrEnum


class Surface(StrEnum):
    """Whose answers and refusals the simulator gives."""

    ENGINE = "llama-server"
    HOSTED = "hosted"
