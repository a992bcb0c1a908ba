"""docs/strictness.md names every limit, each is a setting, and each has a test that there is."""

from __future__ import annotations

import dataclasses
import re

import pytest

from gglib_proxy.limits import Limits
from gglib_runtime.settings import Settings
from tests.named_tests import ROOT, is_there

DOCUMENT = (ROOT / "docs" / "strictness.md").read_text()
ROW = re.compile(r"^\| `(?P<limit>\w+)` \| [^|]+ \| `(?P<test>[^`:]+::\w+)` \|$", re.MULTILINE)
ROWS = {row["limit"]: row["test"] for row in ROW.finditer(DOCUMENT)}
NO_LIMITS = {
    "comment_interval_seconds",
    "drain_seconds",
    "slow_request_seconds",
    "stream_grace_seconds",
}
OF_THE_QUEUE = {"queue_limit", "queue_seconds"}


def test_every_limit_is_named() -> None:
    limits = {each.name for each in dataclasses.fields(Limits)} - NO_LIMITS
    assert set(ROWS) == limits | OF_THE_QUEUE


def test_every_limit_is_a_setting_with_the_same_default() -> None:
    settings = {each.name: each.default for each in dataclasses.fields(Settings)}
    defaults = {each.name: each.default for each in dataclasses.fields(Limits)}
    for name in ROWS:
        assert name in settings
        assert name in OF_THE_QUEUE or settings[name] == defaults[name], name


@pytest.mark.parametrize("limit", ROWS)
def test_every_limit_has_a_test(limit: str) -> None:
    assert is_there(ROWS[limit])
