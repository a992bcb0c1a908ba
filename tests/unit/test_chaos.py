"""The fault matrix of `gglib chaos`: what it lists, what it skips, and how it reads answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gglib_runtime.chaos.experiment import expect_error, expect_error_event, expect_no_clean_end
from gglib_runtime.chaos.matrix import MATRIX
from gglib_runtime.chaos.outcome import Broken
from gglib_runtime.chaos.wire import Connection, open_connection
from gglib_runtime.settings import Settings
from tests.command_line import REPOSITORY, Shell

DOCUMENT = (REPOSITORY / "docs" / "reliability.md").read_text()
LOST = 'data: {"error": {"code": "upstream_lost", "message": "m"}}\n\n'
PIECE = 'data: {"choices": []}\n\n'
HEAD = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*events: str) -> str:
    return HEAD + "".join(f"{len(event):x}\r\n{event}\r\n" for event in events)


@asynccontextmanager
async def answering(*answers: str) -> AsyncGenerator[Connection]:
    """A connection to a server that says this to each request, and then ends the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer.encode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        async with open_connection(f"http://127.0.0.1:{port}") as connection:
            connection.request("GET", "/")
            yield connection


def test_the_documentation_lists_every_experiment_and_no_other() -> None:
    text = re.sub(r"\s+", " ", DOCUMENT.partition("## Trying it with your own configuration")[2])
    for each in MATRIX:
        assert f"- `{each.name}`: {each.fault}. Promised: {each.promise}." in text
    assert len(re.findall(r" - `[\w-]+`:", text)) == len(MATRIX)


def test_names_are_unique() -> None:
    names = [each.name for each in MATRIX]
    assert sorted(names) == sorted({*names})


def test_the_list_can_be_had_for_people_and_programs(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    text = shell.output("chaos", "--list", "--only", "wedged")
    assert text.startswith("wedged: the engine gives no sign of life\n")
    listed = shell.json("chaos", "--list")
    assert [each["name"] for each in listed] == [each.name for each in MATRIX]


def test_an_experiment_that_is_none_is_refused(tmp_path: Path) -> None:
    message = Shell(tmp_path).failure("chaos", "--only", "nonsense", code=2)
    assert "nonsense is no experiment; there are refused-connection, " in message


@pytest.mark.parametrize(
    ("changes", "void"),
    [
        ({}, {"silent-before-head", "silent-in-stream", "neighbour"}),
        ({"max_resident": 2},
         {"silent-before-head", "silent-in-stream", "killed-with-another-waiting"}),
        ({"first_byte_timeout_seconds": 5.0, "chunk_timeout_seconds": 5.0},
         {"neighbour", "wedged", "stopped-engine"}),
        ({"first_byte_timeout_seconds": 131.0, "chunk_timeout_seconds": 131.0}, {"neighbour"}),
        ({"wedge_seconds": 0.0},
         {"silent-before-head", "silent-in-stream", "neighbour", "wedged", "stopped-engine"}),
    ],
)  # fmt: skip
def test_what_the_settings_make_void_is_skipped(changes: dict[str, float], void: set[str]) -> None:
    settings = replace(Settings(), **changes)
    assert {each.name for each in MATRIX if each.void(settings) is not None} == void


# how answers end


async def test_an_error_event_before_a_connection_that_goes_on() -> None:
    health = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with answering(chunked(PIECE, LOST, ""), health) as connection:
        await connection.begun()
        assert "goes on" in await expect_error_event(connection, "upstream_lost")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (chunked(PIECE, LOST), "cut between two events"),
        (chunked(PIECE, ""), "in place of an event"),
        (chunked(PIECE, LOST, "data: [DONE]\n\n", ""), "ended with [DONE]"),
        (chunked(PIECE, LOST, ""), "the client's connection then answered 0"),
        ("nonsense\r\n\r\n", "is no HTTP"),
    ],
)
async def test_other_ends_of_a_stream_are_told(answer: str, words: str) -> None:
    async with answering(answer) as connection:
        with pytest.raises(Broken, match=re.escape(words)):
            await expect_error_event(connection, "upstream_lost")


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (chunked(PIECE, LOST, ""), "event upstream_lost"),
        (chunked(PIECE), "cut"),
        (chunked(PIECE, PIECE[:9]), "cut"),
    ],
)
async def test_a_stream_without_a_clean_end(answer: str, seen: str) -> None:
    async with answering(answer) as connection:
        assert await expect_no_clean_end(connection, "upstream_lost") == seen


@pytest.mark.parametrize(
    "answer", [chunked(PIECE, "data: [DONE]\n\n", ""), chunked(PIECE, "data: [DONE]\n\n")]
)
async def test_a_clean_end_is_not_one_of_them(answer: str) -> None:
    async with answering(answer) as connection:
        with pytest.raises(Broken):
            await expect_no_clean_end(connection, "upstream_lost")


async def test_a_refusal_is_told_by_status_and_code() -> None:
    body = json.dumps({"error": {"code": "upstream_lost"}})
    text = f"HTTP/1.1 502 Bad Gateway\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    async with answering(text) as connection:
        answer = await connection.answer()
    assert expect_error(answer, 502, "upstream_lost") == "502 upstream_lost"
    with pytest.raises(Broken, match="502 upstream_lost in place of 503 model_load_failed"):
        expect_error(answer, 503, "model_load_failed")


async def test_a_stream_that_does_not_begin_is_told() -> None:
    async with answering("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as connection:
        with pytest.raises(Broken, match="did not begin: 503"):
            await connection.begun()
