"""The stand-in engine on the wire: keys, framing, keep-alive, limits, errors.

The heads and bodies here were taken from a real llama-server (llama.cpp 0.6).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from tests.engines import KEY, record_of, running_simulator
from tests.raw_http import ask_once, open_raw

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "hello"}]}
INVALID_KEY = {"message": "Invalid API Key", "type": "authentication_error", "code": 401}


async def test_a_whole_answer_has_llama_servers_head() -> None:
    async with running_simulator() as simulator, open_raw(simulator.port) as connection:
        answer = await connection.ask("GET", "/health", headers={"Origin": "http://a.b"})
        assert answer.head == (
            "HTTP/1.1 200 OK\r\n"
            "Server: llama.cpp\r\n"
            "Access-Control-Allow-Origin: http://a.b\r\n"
            "Content-Type: application/json; charset=utf-8\r\n"
            "Content-Length: 15\r\n"
            "Keep-Alive: timeout=5, max=100"
        )
        assert answer.body == b'{"status":"ok"}'


async def test_a_streamed_answer_has_llama_servers_head_and_ends_the_connection() -> None:
    async with running_simulator() as simulator, open_raw(simulator.port) as connection:
        answer = await connection.ask("POST", CHAT, HELLO | {"stream": True}, key=KEY)
        assert answer.head == (
            "HTTP/1.1 200 OK\r\n"
            "Server: llama.cpp\r\n"
            "Access-Control-Allow-Origin: \r\n"
            "X-Accel-Buffering: no\r\n"
            "Content-Type: text/event-stream\r\n"
            "Transfer-Encoding: chunked\r\n"
            "Keep-Alive: timeout=5, max=100"
        )
        assert await connection.rest() == b""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": KEY}, 200),
        ({"X-Api-Key": KEY}, 200),
        ({"Authorization": "Bearer other"}, 401),
        ({"X-Api-Key": ""}, 401),
        ({}, 401),
    ],
)
async def test_everything_but_health_needs_the_key(headers: dict[str, str], status: int) -> None:
    async with running_simulator() as simulator:
        for path in ("/props", "/v1/models"):
            answer = await ask_once(simulator.port, "GET", path, headers=headers)
            assert answer.status == status
            if status == 401:
                assert answer.json == {"error": INVALID_KEY}
                assert answer.headers["connection"] == "close"
        assert (await ask_once(simulator.port, "GET", "/v1/health")).status == 200


@pytest.mark.parametrize(
    ("mode", "without", "with_own", "with_other"),
    [
        ("own", 401, 200, 401),
        ("any", 401, 200, 200),
        ("other", 401, 401, 401),
        ("ignored", 200, 200, 200),
    ],
)
async def test_which_keys_open_it(mode: str, without: int, with_own: int, with_other: int) -> None:
    async with running_simulator(sim={"key": mode}) as simulator:
        answers = [
            await ask_once(simulator.port, "GET", "/props", key=key) for key in (None, KEY, "other")
        ]
        assert [answer.status for answer in answers] == [without, with_own, with_other]


async def test_head_and_options_are_answered() -> None:
    async with running_simulator() as simulator, open_raw(simulator.port) as connection:
        head = await connection.ask("HEAD", "/health")
        assert head.headers["content-length"] == "15"
        options = await connection.ask("OPTIONS", "/v1/models")
        assert (options.status, options.headers["content-type"]) == (200, "text/html")
        assert options.headers["access-control-allow-headers"] == "*"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nope"), ("POST", "/health"), ("GET", "/v1/models/alpha")]
)
async def test_an_unknown_path_or_method_is_not_found(method: str, path: str) -> None:
    async with running_simulator() as simulator:
        answer = await ask_once(simulator.port, method, path, key=KEY)
        assert answer.status == 404
        error = {"message": "File Not Found", "type": "not_found_error", "code": 404}
        assert answer.json == {"error": error}


REFUSED: list[tuple[str, Any, int, str]] = [
    (CHAT, b"{bad", 400, "[json.exception.parse_error.101]"),
    (CHAT, b"", 400, "[json.exception.parse_error.101]"),
    (CHAT, b"[" * 100_000, 400, "[json.exception.parse_error.101]"),
    (CHAT, [1], 400, "'messages' is required"),
    (CHAT, {}, 400, "'messages' is required"),
    (CHAT, {"messages": 1}, 400, "Expected 'messages' to be an array"),
    (CHAT, {"messages": [1]}, 400, "All non-assistant messages must contain 'content'"),
    (CHAT, HELLO | {"max_tokens": "x"}, 400, "Field 'max_tokens': [json.exception.type_error.302]"),
    (CHAT, HELLO | {"n": 9}, 400, "Field 'n': Value must be between 1 <= value <= 4, but got 9"),
    (CHAT, HELLO | {"gglib_sim": {"token": 1}}, 400, "gglib_sim: "),
    ("/v1/completions", {}, 400, "[json.exception.out_of_range.403] key 'prompt' not found"),
    ("/v1/responses", {}, 400, "'input' is required"),
    ("/v1/messages", {}, 500, "'messages' is required"),
    ("/apply-template", {}, 400, "'messages' is required"),
    ("/detokenize", {"tokens": [2**31 - 1]}, 500, "vector::_M_range_check"),
    ("/v1/embeddings", {"input": "x"}, 501, "This server does not support embeddings."),
    ("/v1/rerank", {}, 501, "This server does not support reranking. Start it with `--reranking`"),
    ("/props", {}, 501, "This server does not support changing global properties."),
]  # fmt: skip


async def test_refusals_are_llama_servers() -> None:
    async with running_simulator() as simulator:
        for path, body, status, message in REFUSED:
            answer = await ask_once(simulator.port, "POST", path, body, key=KEY)
            error = answer.json["error"]
            assert (answer.status, error["code"]) == (status, status), (path, body, error)
            assert error["message"].startswith(message)
            assert answer.headers["connection"] == "close"


async def test_a_prompt_beyond_the_context_is_refused_in_plain_json() -> None:
    async with running_simulator("-c", "1024", "-np", "2") as simulator:
        body = {"messages": [{"role": "user", "content": "x" * 6000}], "stream": True}
        answer = await ask_once(simulator.port, "POST", CHAT, body, key=KEY)
        error = answer.json["error"]
        assert (answer.status, error["type"]) == (400, "exceed_context_size_error")
        assert (error["n_prompt_tokens"], error["n_ctx"]) == (1009, 512)
        assert error["message"] == (
            "request (1009 tokens) exceeds the available context size (512 tokens), "
            "try increasing it"
        )


async def test_a_connection_is_kept_for_so_many_answers() -> None:
    async with running_simulator() as simulator, open_raw(simulator.port) as connection:
        for _ in range(99):
            assert "keep-alive" in (await connection.ask("GET", "/health")).headers
        last = await connection.ask("GET", "/health")
        assert last.headers["connection"] == "close"
        assert await connection.rest() == b""


async def test_an_idle_connection_is_closed() -> None:
    async with running_simulator(sim={"keep_alive_seconds": 0.05}) as simulator:
        async with open_raw(simulator.port) as fresh:
            assert await fresh.rest() == b""
        async with open_raw(simulator.port) as used:
            assert (await used.ask("GET", "/health")).status == 200
            assert await used.rest() == b""


async def test_a_running_request_is_not_idle(tmp_path: Path) -> None:
    go = tmp_path / "go"
    sim = {"keep_alive_seconds": 0.05, "hold_until": str(go)}
    async with running_simulator(sim=sim) as simulator, open_raw(simulator.port) as running:
        running.request("POST", CHAT, HELLO, key=KEY)
        async with open_raw(simulator.port) as idle:
            await idle.rest()
        go.touch()
        assert (await running.answer()).status == 200


async def test_the_client_may_ask_it_to_close() -> None:
    async with running_simulator() as simulator, open_raw(simulator.port) as connection:
        answer = await connection.ask("GET", "/health", headers={"Connection": "close"})
        assert answer.headers["connection"] == "close"
        assert await connection.rest() == b""


async def test_it_may_close_right_after_an_answer_that_promised_to_stay() -> None:
    sim = {"close_idle": "after_answer"}
    async with running_simulator(sim=sim) as simulator, open_raw(simulator.port) as connection:
        assert "keep-alive" in (await connection.ask("GET", "/health")).headers
        assert await connection.rest() == b""


async def test_it_may_close_as_the_next_request_arrives() -> None:
    sim = {"close_idle": "on_next_request"}
    async with running_simulator(sim=sim) as simulator, open_raw(simulator.port) as connection:
        assert (await connection.ask("GET", "/health")).status == 200
        connection.request("GET", "/health")
        assert await connection.rest() == b""


async def test_pipelined_requests_are_answered_in_order() -> None:
    sim = {"first_token_seconds": 0.01}
    async with running_simulator(sim=sim) as simulator, open_raw(simulator.port) as connection:
        for text in ("one", "two", "three"):
            body = {"messages": [{"role": "user", "content": text}], "max_tokens": 2}
            connection.request("POST", CHAT, body, key=KEY)
        answers = [(await connection.answer()).json for _ in range(3)]
        texts = [answer["choices"][0]["message"]["content"] for answer in answers]
        assert texts == ["alpha one", "alpha two", "alpha three"]


async def test_chunked_bodies_and_100_continue_work() -> None:
    async with running_simulator() as simulator, open_raw(simulator.port) as connection:
        head = f"POST /tokenize HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        rest = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        connection.send((head + rest).encode())
        assert (await connection.head()).status == 100
        connection.send(b'6\r\n{"cont\r\nb\r\nent":"abc"}\r\n0\r\n\r\n')
        assert (await connection.answer()).json == {"tokens": [1117123]}


TRANSPORT_ERRORS: list[tuple[bytes, int]] = [
    (b"BROKEN\r\n\r\n", 400),
    (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-A: 1\r\n" * 101 + b"\r\n", 400),
    (b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n", 400),
    (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 104857601\r\n\r\n", 413),
    (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Encoding: gzip\r\n\r\n", 415),
]


async def test_what_is_no_request_gets_a_bare_answer_and_the_end() -> None:
    async with running_simulator() as simulator:
        for data, status in TRANSPORT_ERRORS:
            async with open_raw(simulator.port) as connection:
                connection.send(data)
                answer = await connection.answer()
                assert (answer.status, answer.body) == (status, b""), data[:40]
                assert answer.headers["connection"] == "close"
                assert await connection.rest() == b""


async def test_a_half_closed_client_counts_as_gone(tmp_path: Path) -> None:
    record = tmp_path / "record"
    sim = {"hold_until": str(tmp_path / "never")}
    async with (
        running_simulator(sim=sim, record=record) as simulator,
        open_raw(simulator.port) as connection,
    ):
        connection.request("POST", CHAT, HELLO, key=KEY)
        await record_of(record, "begin")
        connection.writer.write_eof()
        assert await connection.rest() == b""
        await record_of(record, "gone")


async def test_a_reader_that_pauses_gets_its_stream_whole_and_holds_up_no_other(
    tmp_path: Path,
) -> None:
    record = tmp_path / "record"
    body = HELLO | {"stream": True, "gglib_sim": {"tokens": 60_000}}
    async with (
        running_simulator("-c", "262144", "-np", "2", record=record) as simulator,
        open_raw(simulator.port) as slow,
    ):
        slow.request("POST", CHAT, body, key=KEY)
        await slow.chunk_after_head()
        transport = cast("asyncio.ReadTransport", slow.writer.transport)
        transport.pause_reading()
        await record_of(record, "paused")
        assert (await ask_once(simulator.port, "POST", CHAT, HELLO, key=KEY)).status == 200
        transport.resume_reading()
        chunks = 1
        while await slow.chunk():
            chunks += 1
        assert chunks == 60_000 + 2
