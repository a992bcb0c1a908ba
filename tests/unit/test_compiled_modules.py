"""What the modules that may be compiled must not do, so that they mean the same compiled."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatch_build import MODULES
from tests.command_line import REPOSITORY

PACKAGES = ("gglib_core", "gglib_proxy", "gglib_runtime")
AWAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def parsed(name: str) -> ast.Module:
    return ast.parse((REPOSITORY / name).read_text())


def awaits_in_handlers(node: ast.AST, *, is_inside: bool = False) -> Iterator[int]:
    """Lines that wait while an error is being handled, or in a `finally`."""
    for child in ast.iter_child_nodes(node):
        is_final = isinstance(node, ast.Try) and child in node.finalbody
        inside = is_inside or is_final or isinstance(child, ast.ExceptHandler)
        if isinstance(child, FUNCTIONS):
            inside = False
        if inside and isinstance(child, AWAITS):
            yield child.lineno
        yield from awaits_in_handlers(child, is_inside=inside)


def classes(name: str) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(parsed(name)) if isinstance(node, ast.ClassDef))


def bases(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}


@pytest.mark.parametrize("name", MODULES)
def test_nothing_waits_while_an_error_is_handled(name: str) -> None:
    """mypyc forgets which error it was: a `raise` behind raises another, or ends the process."""
    assert [*awaits_in_handlers(parsed(name))] == []


@pytest.mark.parametrize(
    "text",
    [
        "async def f():\n try: g()\n except E: await h()",
        "async def f():\n try: g()\n finally: await h()",
        "async def f():\n try: g()\n except E:\n  if x: await h()",
        "def f():\n try: g()\n except E:\n  with x: yield",
    ],
)
def test_such_waiting_is_found(text: str) -> None:
    assert [*awaits_in_handlers(ast.parse(text))]


@pytest.mark.parametrize("name", MODULES)
def test_no_context_that_waits_when_it_is_left_is_used(name: str) -> None:
    """It would wait while the error that left it is handled; a time-out's end does not wait."""
    used = [node for node in ast.walk(parsed(name)) if isinstance(node, ast.AsyncWith)]
    entered = {ast.unparse(item.context_expr).split("(")[0] for node in used for item in node.items}
    assert entered <= {"asyncio.timeout"}


@pytest.mark.parametrize("name", MODULES)
def test_no_object_is_made_without_its_constructor(name: str) -> None:
    called = [node.attr for node in ast.walk(parsed(name)) if isinstance(node, ast.Attribute)]
    assert "__new__" not in called


@pytest.mark.parametrize("name", MODULES)
def test_no_class_asks_for_its_annotations(name: str) -> None:
    """msgspec's structures do, and find none that say anything."""
    assert not [node.name for node in classes(name) if "Struct" in bases(node)]


def test_what_is_derived_from_a_compiled_class_is_compiled_too() -> None:
    compiled = {node.name for name in MODULES for node in classes(name)}
    everything = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    plain = {str(path.relative_to(REPOSITORY)) for path in everything} - {*MODULES}
    imported = {name: imports(name) for name in plain}
    derived = {
        (name, node.name)
        for name in plain
        for node in classes(name)
        if bases(node) & compiled & imported[name]
    }
    assert derived == set()


def imports(name: str) -> set[str]:
    """The names that the module takes from modules that are compiled."""
    homes = {str(Path(each).with_suffix("")).replace("/", ".") for each in MODULES}
    found = [node for node in ast.walk(parsed(name)) if isinstance(node, ast.ImportFrom)]
    taken = [alias for node in found if node.module in homes for alias in node.names]
    return {alias.asname or alias.name for alias in taken}
