"""Generations through the public endpoint of a server that runs: followed, listed, exported."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import httpx
from anyio import to_thread

from tests.faults import ask, faulty_server, header_id, nothing_left
from tests.serving import WAIT_SECONDS


async def test_records_are_followed_through_the_endpoint(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        async with (
            httpx.AsyncClient(base_url=server.url, timeout=WAIT_SECONDS) as client,
            client.stream(
                "GET", "/v1/generations?follow=1&endpoint=/v1/chat/completions"
            ) as answer,
        ):
            assert answer.headers["content-type"] == "text/event-stream"
            lines = answer.aiter_lines()
            assert await anext(lines) == ": following"
            expected = header_id(await ask(server))
            async for line in lines:
                if line.startswith("data: "):
                    assert json.loads(line.removeprefix("data: "))["id"] == expected
                    break
        await nothing_left(server)


async def test_records_are_listed_and_exported_page_by_page(tmp_path: Path) -> None:
    with faulty_server(tmp_path) as server:
        expected = [header_id(await ask(server)) for _ in range(5)]
        page = await to_thread.run_sync(server.get, "/v1/generations?limit=3")
        assert [each["id"] for each in page.json()["data"]] == expected[:1:-1]
        rest = await to_thread.run_sync(
            server.get, f"/v1/generations?cursor={page.json()['next_cursor']}"
        )
        assert [each["id"] for each in rest.json()["data"]] == expected[1::-1]
        export = await to_thread.run_sync(server.get, "/v1/generations.csv")
        rows = csv.DictReader(io.StringIO(export.text))
        assert [row["id"] for row in rows] == expected[::-1]
