"""A client gets the answer to its own request, whole and once, or learns that it failed.

The corpus of responses through a whole data plane: behind each, another request is sent, and what
it is told then must not be a left-over of the first.
"""

from __future__ import annotations

import asyncio

import pytest

from gglib_proxy.http1.responses import ResponseError, ResponseReader
from tests.http1_corpus.responses import RESPONSES, Fate, ResponseCase
from tests.planes import BODY, Relay, relaying
from tests.raw_http import Answer
from tests.upstreams import Peer, Script, response

NEXT = b'{"next":true}'
PATH = "/upstream/chat/x"
each_case = pytest.mark.parametrize("case", RESPONSES, ids=[case.name for case in RESPONSES])


def playing_case(case: ResponseCase) -> Script:
    """The case for the second request, whatever its connection; the usual answer for others."""

    async def script(peer: Peer) -> None:
        while True:
            received = await peer.request()
            if received.header("x-case") is None:
                peer.send(response(NEXT))
                continue
            peer.send(case.data)
            if case.closes:
                await peer.drained()
                peer.half_close()
                await peer.gone()

    return script


async def ask_case(relay: Relay, case: ResponseCase) -> Answer | None:
    """The answer, or None where it was cut."""
    relay.client.request(case.method, PATH, BODY, headers={"X-Case": "1"})
    try:
        return await relay.client.answer(has_body=case.method != "HEAD" and case.status != 304)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        assert relay.client.reader.at_eof()
        return None


async def ask_next(relay: Relay) -> bytes:
    async with relay.running.open() as client:
        answer = await client.ask("POST", PATH, BODY)
    assert answer.status == 200
    return answer.body


@each_case
async def test_a_client_gets_its_answer_or_an_error_and_the_next_gets_its_own(
    case: ResponseCase,
) -> None:
    async with relaying(playing_case(case)) as relay:
        assert await ask_next(relay) == NEXT
        before = relay.upstream.connections
        answer = await ask_case(relay, case)
        if case.fate is Fate.BROKEN:
            assert answer is None or answer.status == 502
        else:
            assert answer is not None
            assert (answer.status, answer.body) == (case.status, case.body)
            assert "set-cookie" not in answer.headers
        await relay.running.idle()
        assert await ask_next(relay) == NEXT
        reused = relay.upstream.connections == before
        assert reused is (case.fate is Fate.REUSED)


def fails_behind_its_head(case: ResponseCase) -> bool:
    reader = ResponseReader()
    try:
        reader.feed(case.data[: head_size(case)])
    except ResponseError:
        return False
    return case.fate is Fate.BROKEN and reader.head is not None


def head_size(case: ResponseCase) -> int:
    return case.data.find(b"\r\n\r\n") + 4


LATE = [case for case in RESPONSES if len(case.data) > head_size(case) > 3]
LATE = [case for case in LATE if fails_behind_its_head(case)]


@pytest.mark.parametrize("case", LATE, ids=[case.name for case in LATE])
async def test_an_answer_that_fails_behind_its_head_is_cut(case: ResponseCase) -> None:
    is_begun = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(case.data[: head_size(case)])
        await is_begun.wait()
        peer.send(case.data[head_size(case) :])
        if case.closes:
            await peer.drained()
            peer.half_close()
        await peer.gone()

    async with relaying(script) as relay:
        relay.client.request(case.method, PATH, BODY)
        answer = await relay.client.head()
        assert answer.status == case.status
        is_begun.set()
        rest = await relay.client.rest()
        if "content-length" in answer.headers:
            assert len(rest) < int(answer.headers["content-length"])
        else:
            assert not rest.endswith(b"0\r\n\r\n")
