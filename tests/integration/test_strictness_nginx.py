"""Where nginx does otherwise than gglib, the corpus says so, and why; nowhere else does it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.http1_corpus import CASES, Case, Seen
from tests.http1_corpus.nginx import DIFFERENCES, NGINX_VERSION
from tests.nginx_relay import ask_nginx, nginx_version, open_nginx
from tests.recording_upstream import open_recording

needs_nginx = pytest.mark.skipif(
    nginx_version() != NGINX_VERSION, reason=f"nginx {NGINX_VERSION} is not installed"
)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def describe(statuses: Sequence[int], requests: Sequence[Seen]) -> str:
    """An outcome on one line: the answers' statuses, then what the upstream was sent."""
    sent = [
        f"{method} {target} {body.decode('latin-1')}".strip() for method, target, body in requests
    ]
    return " ".join(map(str, statuses)) + "".join(f" | {each!r}"[:80] for each in sent)


def expected_of(case: Case) -> str:
    refusal = [case.status] if case.status is not None else []
    return describe([*[200] * len(case.requests), *refusal], case.requests)


@needs_nginx
async def test_nginx_does_otherwise_only_where_the_corpus_says_so(tmp_path: Path) -> None:
    found: dict[str, str] = {}
    async with open_recording() as record, open_nginx(tmp_path, record.port) as path:
        for case in CASES:
            answers = await ask_nginx(path, case.data)
            statuses = [int(each) for each in _STATUS.findall(answers) if each != b"100"]
            outcome = describe(statuses, [each.seen for each in record.requests])
            record.requests.clear()
            record.faults.clear()  # what nginx passes on, h11 need not like
            if outcome != expected_of(case):
                found[case.name] = outcome
    listed = {name: each for group in DIFFERENCES.values() for name, each in group.items()}
    assert found == listed


def test_every_listed_difference_has_a_reason_and_is_one_of_a_case() -> None:
    names = [name for group in DIFFERENCES.values() for name in group]
    assert len(names) == len(set(names))
    assert set(names) <= {case.name for case in CASES}
    assert all(len(why) > 20 for why in DIFFERENCES)
