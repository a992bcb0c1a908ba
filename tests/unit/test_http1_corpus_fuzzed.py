"""What fuzzing kept is replayed: every input that once led to code which others did not reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_fuzzing_found_is_read_as_promised(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for each in inputs:
        try:
            TARGETS[name](each.read_bytes())
        except Exception as error:
            error.add_note(f"the input is {each}")
            raise


def test_every_kept_corpus_has_its_target() -> None:
    assert {each.name for each in CORPUS.iterdir()} == set(TARGETS)
