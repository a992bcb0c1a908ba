"""docs/reliability.md names tests that there are, and misses none of those of faults."""

from __future__ import annotations

import re

import pytest

from tests.named_tests import ROOT, is_there, names_in

DOCUMENT = (ROOT / "docs" / "reliability.md").read_text()
ROW = re.compile(r"^\| (?P<fault>.+?) \| (?P<promise>.+?) \| `(?P<test>[^`:]+::\w+)` \|$")
HEADINGS = ("| fault | promise | test |", "|---|---|---|")
FAULTS = ROOT / "tests" / "integration" / "faults"


def table_lines() -> list[str]:
    lines = [line for line in DOCUMENT.splitlines() if line.startswith("|")]
    return [line for line in lines if line not in HEADINGS]


@pytest.mark.parametrize("line", table_lines())
def test_every_promise_names_a_test_that_there_is(line: str) -> None:
    row = ROW.match(line)
    assert row is not None, "a row has a fault, a promise and one test"
    assert is_there(row["test"])


def test_every_test_of_a_fault_stands_for_a_promise() -> None:
    files = [*FAULTS.glob("test_*.py"), ROOT / "tests" / "e2e" / "test_faults.py"]
    there = {
        f"{path.relative_to(ROOT).as_posix()}::{test}" for path in files for test in names_in(path)
    }
    assert len(there) > 20
    assert {each for each in there if each not in DOCUMENT} == set()
