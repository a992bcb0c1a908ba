"""The metrics as a Markdown table, for the documentation.

`python -m gglib_proxy.control.metric_reference` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from gglib_proxy.control.metric_table import METRICS, PROCESS_METRICS


def metrics_table() -> str:
    """One row for each metric."""
    return "\n".join(("| metric | kind | labels | meaning |", "|---|---|---|---|", *_rows()))


def _rows() -> Iterator[str]:
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"
    for name, meaning in PROCESS_METRICS:
        kind = "counter" if name.endswith("_total") else "gauge"
        yield f"| `{name}` | {kind} | - | {meaning} |"


if __name__ == "__main__":
    sys.stdout.write(metrics_table() + "\n")
