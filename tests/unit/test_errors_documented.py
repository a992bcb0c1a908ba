"""docs/errors.md lists the errors that there are, and no others."""

import ast
from collections.abc import Iterator
from pathlib import Path

from gglib_core.errors import LaunchFailure
from gglib_proxy.control.answers import REFUSAL_CODES
from gglib_proxy.error_reference import error_table
from gglib_proxy.errors import SHOWN_LOG_LINES

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "errors.md").read_text()


def refusals() -> Iterator[tuple[int, str]]:
    """Status and code of every refusal in the source."""
    for path in (ROOT / "gglib_proxy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal":
                status, code = node.args[:2]
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    yield int(str(status.value)), str(code.value)


def documented_refusals() -> Iterator[tuple[int, str]]:
    for line in DOCUMENT.partition("## Refusals")[2].splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 2 and cells[1].isdigit():
            yield int(cells[1]), cells[2].strip("`")


def test_the_table_of_errors_is_the_one_in_the_source() -> None:
    hint = "run `python -m gglib_proxy.error_reference` and put its output into docs/errors.md"
    assert error_table() in DOCUMENT, hint


def test_the_refusals_are_the_ones_in_the_source() -> None:
    documented = list(documented_refusals())
    assert set(documented) == set(refusals()) | set(REFUSAL_CODES.items())
    assert documented == sorted(documented)


def test_every_class_of_launch_failure_is_named() -> None:
    for failure in LaunchFailure:
        assert f"`{failure}`" in DOCUMENT
    for failure in LaunchFailure:
        is_listed_as_permanent = f"`{failure}`" in DOCUMENT.partition("would fail again until")[2]
        assert is_listed_as_permanent == failure.is_permanent


def test_as_many_log_lines_as_it_says_are_shown() -> None:
    assert f"the last {SHOWN_LOG_LINES} lines" in DOCUMENT
