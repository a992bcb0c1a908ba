"""docs/strictness.md says what the corpus says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.http1_corpus import CASES
from tests.http1_corpus.reference import broken_responses, nginx_differences, refusals
from tests.http1_corpus.responses import RESPONSES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "strictness.md").read_text()
HINT = "run `python -m tests.http1_corpus.reference` and put its output into docs/strictness.md"


@pytest.mark.parametrize("listed", [refusals(), broken_responses(), nginx_differences()])
def test_the_lists_are_those_of_the_corpus(listed: str) -> None:
    assert listed in DOCUMENT, HINT


def test_every_status_is_explained() -> None:
    """408 is what becomes of requests that are incomplete, 502 of answers that are refused."""
    explained = set(re.findall(r"\*\*(\d{3})\*\*(?=[:,])", DOCUMENT))
    assert explained == {str(case.status) for case in CASES if case.status} | {"408", "502"}


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(CASES) >= 150
    assert len(RESPONSES) >= 60
