"""The table of errors in Markdown, for the documentation.

`python -m gglib_proxy.error_reference` prints it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from gglib_core import errors
from gglib_proxy.errors import ERROR_TABLE, PERMANENT_LAUNCH_FAILURE, ErrorRow

_RAISED_PARENTS = (errors.ConfigError,)


def error_table() -> str:
    """One row for each error that can be raised, by status."""
    rows = sorted(_rows(), key=lambda row: (row[0], row[1]))
    return "\n".join(
        ("| status | code | class | when | again |", "|---|---|---|---|---|", *_lines(rows))
    )


def _lines(rows: list[tuple[int, str, str, str, str]]) -> Iterator[str]:
    for status, code, name, meaning, again in rows:
        yield f"| {status} | `{code}` | `{name}` | {meaning} | {again} |"


def _rows() -> Iterator[tuple[int, str, str, str, str]]:
    for error, row in ERROR_TABLE.items():
        is_parent = any(each in ERROR_TABLE for each in error.__subclasses__())
        if is_parent and error not in _RAISED_PARENTS:
            continue  # it is what callers catch
        meaning = (inspect.getdoc(error) or "").partition("\n")[0].rstrip(".")
        if error is errors.LaunchFailed:
            yield _row(PERMANENT_LAUNCH_FAILURE, error, f"{meaning}; it would fail again")
            meaning += "; it may work another time"
        yield _row(row, error, meaning)


def _row(row: ErrorRow, error: type, meaning: str) -> tuple[int, str, str, str, str]:
    return (row.status, row.code, error.__name__, meaning, _again(row))


def _again(row: ErrorRow) -> str:
    if row.should_retry is False:
        return "`x-should-retry: false`"
    return "`Retry-After`" if row.retry_after_seconds is not None else ""


if __name__ == "__main__":
    print(error_table())  # noqa: T201 -- printing is what running this module is for
