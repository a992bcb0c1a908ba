"""The tests that documents name, as `path::function`."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def names_in(path: Path) -> set[str]:
    """The names of a file's tests."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = (node.name for node in ast.parse(path.read_text()).body if isinstance(node, functions))
    return {name for name in found if name.startswith("test_")}


def is_there(reference: str) -> bool:
    path, _, name = reference.partition("::")
    return (ROOT / path).is_file() and name in names_in(ROOT / path)
