"""The settings as a Markdown table, for the documentation.

`python -m gglib_runtime.settings` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator

from gglib_runtime.settings.schema import declarations


def settings_table() -> str:
    """One row for each setting."""
    heads = ("| key | default | values | changes | meaning |", "|---|---|---|---|---|")
    return "\n".join((*heads, *_rows()))


def _rows() -> Iterator[str]:
    for key, declaration in declarations().items():
        shown = declaration.shown_default
        default = shown if " " in shown else f"`{shown}`"
        values = declaration.kind.bounds
        when = "restart" if declaration.needs_restart else "at once"
        yield f"| `{key}` | {default} | {values} | {when} | {declaration.meaning} |"
