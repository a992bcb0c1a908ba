"""What an upstream understood is what gglib decided on: the corpus, through a whole data plane.

The upstreams are the control plane's, on a unix socket, and an engine's, over TCP; both read with
h11. A request that was smuggled would be one more, or another one, than the corpus says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from gglib_proxy.limits import Limits
from tests.http1_corpus import (
    CASES,
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADER_COUNT,
    Case,
    End,
    Seen,
)
from tests.planes import BODY, RunningPlane, running_plane
from tests.raw_http import Answer, RawConnection
from tests.recording_upstream import Parsed, Record, open_recording

LIMITS = Limits(
    max_header_bytes=MAX_HEADER_BYTES,
    max_header_count=MAX_HEADER_COUNT,
    max_body_bytes=MAX_BODY_BYTES,
)
SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: a\r\n\r\n"
LATER_SECONDS = 1e6
HOP_BY_HOP = {b"connection", b"transfer-encoding", b"upgrade", b"http2-settings", b"expect", b"te"}
each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


async def final_answer(client: RawConnection, method: str) -> Answer:
    while True:
        answer = await client.answer(has_body=method != "HEAD")
        if answer.status >= 200:
            return answer


async def play(running: RunningPlane, data: bytes, case: Case, expected: Sequence[Seen]) -> None:
    """Send a case and see that it is answered as often as it has requests, and how it ends."""
    is_open = case.status is None and case.end is End.OPEN
    async with running.open() as client:
        client.send(data + (SENTINEL if is_open else b""))
        for method, _, _ in expected:
            assert (await final_answer(client, method)).status == 200
        if is_open:
            assert (await final_answer(client, "GET")).status == 200
            return
        status = case.status
        if case.end is End.INCOMPLETE:
            await running.until(lambda: any(not each.is_idle for each in running.plane.connections))
            await running.idle()
            running.sweep(LATER_SECONDS)
            status = 408
        if status is not None:
            answer = await final_answer(client, "GET")
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert answer.json["error"]["gglib"]["source"] == "gglib"
        assert await client.rest() == b""


def check_heads(requests: Sequence[Parsed]) -> None:
    """None may say more of its framing than its length, and none may carry what ends here."""
    for each in requests:
        names = [name for name, _ in each.headers]
        assert names.count(b"host") == 1
        assert names.count(b"content-length") <= 1
        assert not HOP_BY_HOP.intersection(names)


@each_case
async def test_the_control_plane_reads_what_was_decided(case: Case, tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    async with (
        open_recording(path) as record,
        running_plane(1, limits=LIMITS, control_path=path) as running,
    ):
        await play(running, case.data, case, case.requests)
    requests = record.take()
    sentinels = case.status is None and case.end is End.OPEN
    expected = [*case.requests, *([("GET", "/sentinel", b"")] if sentinels else [])]
    assert [each.seen for each in requests] == expected
    check_heads(requests)


FOR_ENGINES = [
    case
    for case in CASES
    if b" / HTTP/1" in case.data
    and not any(b"HTTP/" in body or method == "OPTIONS" for method, _, body in case.requests)
    and len(case.data) < MAX_HEADER_BYTES - 100
]


async def load(running: RunningPlane, record: Record) -> None:
    """GETs are for models that run."""
    async with running.open() as client:
        body = json.dumps(BODY).encode()
        assert (await client.ask("POST", "/v1/chat/completions", body)).status == 200
    assert len(record.take()) == 1


@pytest.mark.parametrize("case", FOR_ENGINES, ids=[case.name for case in FOR_ENGINES])
async def test_an_engine_reads_what_was_decided(case: Case, tmp_path: Path) -> None:
    control = str(tmp_path / "control.sock")
    data = case.data.replace(b" / HTTP/1", b" /upstream/chat/ HTTP/1")
    async with (
        open_recording() as record,
        open_recording(control) as others,
        running_plane(record.port, limits=LIMITS, control_path=control) as running,
    ):
        await load(running, record)
        await play(running, data, case, case.requests)
    requests = record.take()
    engines = [each for each in case.requests if each[1] == "/"]
    assert [each.seen for each in requests] == engines
    assert all(each.target != "/" for each in others.take())
    check_heads(requests)
    for each in requests:
        assert dict(each.headers)[b"authorization"] == b"Bearer engine-key"
