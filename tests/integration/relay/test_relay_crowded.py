"""Many requests at once, whose answers share turns of the event loop: each gets its own, whole."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from gglib_proxy.turn import CROWD
from tests.planes import Relay, relaying
from tests.raw_http import RawConnection
from tests.upstreams import STREAM_END, STREAM_HEAD, Peer, chunked, event, response

CLIENTS = 3 * CROWD


class Chorus:
    """An engine that answers nobody until all have asked, and then all at once."""

    def __init__(self) -> None:
        self.all_asked = asyncio.Barrier(CLIENTS)

    async def script(self, peer: Peer) -> None:
        while True:
            request = json.loads((await peer.request()).body)
            await self.all_asked.wait()
            name = request["user"]
            if request["stream"]:
                peer.send(STREAM_HEAD + chunked(event([name, 1])))
                peer.send(chunked(event([name, 2])) + STREAM_END)
            else:
                peer.send(response(json.dumps(name).encode()))


async def ask(client: RawConnection, name: str, *, is_stream: bool, **headers: str) -> None:
    body: dict[str, Any] = {"model": "chat", "messages": [], "user": name, "stream": is_stream}
    client.request("POST", "/v1/chat/completions", body, headers=headers)
    answer = await client.answer()
    if is_stream:
        assert answer.events == [[name, 1], [name, 2]]
    else:
        assert answer.json == name


async def visit(relay: Relay, number: int) -> None:
    """Ask twice: the second time connections to the engine are there, and no task is needed."""
    async with relay.running.open() as client:
        await ask(client, f"first {number}", is_stream=False)
        await ask(client, f"last {number}", is_stream=number % 2 == 0, Connection="close")
        assert await client.reader.read() == b""


async def test_many_who_are_answered_at_once_get_each_their_own() -> None:
    async with relaying(Chorus().script) as relay:
        await asyncio.gather(*(visit(relay, number) for number in range(CLIENTS)))
        assert relay.upstream.connections == CLIENTS
