"""The settings as a Markdown table, for the documentation.

`python -m gglib_runtime.settings` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator

from gglib_runtime.settings.schema import declarations


def settings_table() -> str:
    """One row for each setting."""
    return "\n".join(("| key | default | values | meaning |", "|---|---|---|---|", *_rows()))


def _rows() -> Iterator[str]:
    for key, declaration in declarations().items():
        shown = declaration.shown_default
        default = shown if " " in shown else f"`{shown}`"
        yield f"| `{key}` | {default} | {declaration.kind.bounds} | {declaration.meaning} |"
