"""How answers are framed for clients, and which headers travel in which direction."""

from __future__ import annotations

import json

import pytest

from tests.planes import BODY, ENGINE_KEY, STREAM_BODY, Relay, relaying
from tests.upstreams import (
    STREAM_END,
    STREAM_HEAD,
    answering,
    chunked,
    event,
    playing,
    response,
    stream,
)

CHAT = "/v1/chat/completions"


def http10(body: bytes, *headers: str) -> bytes:
    lines = [f"POST {CHAT} HTTP/1.0", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


async def ask_again(relay: Relay) -> None:
    """The connection takes another request."""
    assert (await relay.client.ask("GET", "/health")).status == 200


async def test_an_answer_with_a_length_keeps_it() -> None:
    answer = response(b'{"a": 1}', headers=("X-Mine: yes",))
    async with relaying(answering(answer)) as relay:
        answer = await relay.client.ask("POST", CHAT, BODY)
        assert (answer.status, answer.body) == (200, b'{"a": 1}')
        assert answer.headers["content-length"] == "8"
        assert answer.headers["x-mine"] == "yes"
        assert "transfer-encoding" not in answer.headers
        await ask_again(relay)


async def test_a_chunked_answer_is_chunked_anew() -> None:
    pieces = [event({"n": n}) for n in range(3)]
    async with relaying(answering(stream(*pieces))) as relay:
        answer = await relay.client.ask("POST", CHAT, STREAM_BODY)
        assert answer.body == b"".join(pieces)
        assert "content-length" not in answer.headers
        await ask_again(relay)


async def test_a_stream_has_the_headers_of_a_stream() -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n"
        b"Cache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    async with relaying(answering(head + chunked(event("[DONE]")) + STREAM_END)) as relay:
        answer = await relay.client.ask("POST", CHAT, STREAM_BODY)
    lines = answer.head.split("\r\n")
    for line in (
        "Content-Type: text/event-stream",
        "Cache-Control: no-cache",
        "connection: keep-alive",
        "X-Accel-Buffering: no",
    ):
        assert lines.count(line) == 1
    assert answer.head.lower().count("content-type") == 1


async def test_an_answer_that_ends_with_its_connection_is_chunked_for_http_1_1() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end"
    async with relaying(playing(answer)) as relay:
        answer = await relay.client.ask("POST", CHAT, BODY)
        assert answer.body == b"until the end"
        assert answer.headers["transfer-encoding"] == "chunked"
        await ask_again(relay)


@pytest.mark.parametrize(
    "answer",
    [
        stream(event({"n": 1}), event("[DONE]")),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        + event({"n": 1})
        + event("[DONE]"),
    ],
    ids=["chunked", "ends with the connection"],
)
async def test_a_client_of_http_1_0_is_told_the_end_by_closing(answer: bytes) -> None:
    async with relaying(playing(answer)) as relay:
        relay.client.send(http10(json.dumps(STREAM_BODY).encode(), "Connection: keep-alive"))
        head = await relay.client.head()
        assert "transfer-encoding" not in head.headers
        assert head.headers["connection"] == "close"
        assert await relay.client.rest() == event({"n": 1}) + event("[DONE]")


async def test_a_client_of_http_1_0_keeps_a_connection_that_it_asked_to_keep() -> None:
    async with relaying() as relay:
        for _ in range(2):
            relay.client.send(http10(json.dumps(BODY).encode(), "Connection: keep-alive"))
            answer = await relay.client.answer()
            assert (answer.status, answer.body) == (200, b"{}")
            assert answer.headers["connection"] == "keep-alive"
        relay.client.send(http10(json.dumps(BODY).encode()))
        assert (await relay.client.answer()).headers["connection"] == "close"
        assert await relay.client.rest() == b""


async def test_a_client_that_says_close_is_closed() -> None:
    async with relaying() as relay:
        answer = await relay.client.ask("POST", CHAT, BODY, headers={"Connection": "close"})
        assert answer.headers["connection"] == "close"
        assert await relay.client.rest() == b""


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["length", "chunked", "a body all the same", "no framing"],
)
async def test_an_answer_to_head_has_no_body(answer: bytes) -> None:
    async with relaying(answering(), answering(answer)) as relay:
        await relay.client.ask("POST", CHAT, BODY)  # loads the model
        relay.plane.pool.abort_all()
        answer = await relay.client.ask("HEAD", "/props?model=chat")
        assert answer.status == 200
        await ask_again(relay)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("header", ["Content-Length: 5", "Transfer-Encoding: chunked", "X: y"])
async def test_an_answer_that_cannot_have_a_body_has_none(status: str, header: str) -> None:
    answer = f"HTTP/1.1 {status}\r\n{header}\r\n\r\n".encode()
    async with relaying(answering(answer)) as relay:
        relay.client.request("POST", CHAT, BODY)
        head = await relay.client.answer(has_body=False)
        assert head.status == int(status[:3])
        assert "transfer-encoding" not in head.headers
        assert status[:3] == "304" or "content-length" not in head.headers
        await ask_again(relay)


async def test_bytes_behind_an_answer_without_a_body_do_not_reach_the_client() -> None:
    answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"
    async with relaying(answering(answer)) as relay:
        relay.client.request("POST", CHAT, BODY)
        assert (await relay.client.answer(has_body=False)).status == 204
        await ask_again(relay)
        assert relay.plane.pool.idle_count == 0


async def test_informational_answers_are_not_passed_on() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" + hints + response(b"1")
    async with relaying(answering(answer)) as relay:
        answer = await relay.client.ask("POST", CHAT, BODY)
        assert (answer.status, answer.body) == (200, b"1")
        assert "link" not in answer.headers


async def test_a_switch_of_protocols_is_an_error_of_the_engine() -> None:
    answer = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nraw"
    async with relaying(answering(answer)) as relay:
        answer = await relay.client.ask("POST", CHAT, BODY)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_protocol_error")
        await ask_again(relay)


async def test_an_engines_own_error_passes_as_it_is() -> None:
    body = b'{"error":{"code":400,"message":"no","type":"invalid_request_error"}}'
    error = response(body, status="400 Bad Request", headers=("Connection: close",))
    async with relaying(playing(error)) as relay:
        answer = await relay.client.ask("POST", CHAT, STREAM_BODY)
        assert (answer.status, answer.body) == (400, body)
        assert answer.headers["content-type"] == "application/json"
        assert "connection" not in answer.headers
        await ask_again(relay)


async def test_trailers_are_dropped_in_both_directions() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\n{}\r\n0\r\nX-Sum: 1\r\nAuthorization: x\r\n\r\n"
    )
    async with relaying(answering(answer)) as relay:
        body = json.dumps(BODY).encode()
        relay.client.send(
            f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            + chunked(body)
            + b"0\r\nX-Late: 1\r\nAuthorization: x\r\n\r\n"
        )
        answer = await relay.client.answer()
        assert answer.body == b"{}"
        assert answer.headers.keys().isdisjoint({"trailer", "x-sum", "authorization"})
        received = relay.upstream.requests[0]
        assert received.body == body
        assert received.names.isdisjoint({"x-late", "transfer-encoding", "trailer"})
        assert received.header("authorization") == f"Bearer {ENGINE_KEY}"


# Headers


NEVER_SENT_TO_ENGINES = {
    "Connection": "keep-alive, X-Named, Upgrade",
    "X-Named": "1",
    "Keep-Alive": "timeout=5",
    "Proxy-Authorization": "Basic x",
    "Proxy-Connection": "keep-alive",
    "TE": "trailers",
    "Trailer": "X",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA",
    "Expect": "100-continue",
    "Forwarded": "for=1.2.3.4",
    "X-Conversation-Id": "abc",
    "X-Gglib-Peer": "1.2.3.4",
    "x-GGLIB-anything": "1",
    "X-Api-Key": "secret",
    "Api-Key": "secret",
    "Cookie": "session=secret",
}


async def test_what_is_not_for_engines_is_not_sent_to_them() -> None:
    async with relaying() as relay:
        headers = {"Authorization": "Bearer secret", "X-Kept": "1", **NEVER_SENT_TO_ENGINES}
        relay.client.request("POST", CHAT, BODY, headers=headers)
        assert (await relay.client.head()).status == 100
        assert (await relay.client.answer()).status == 200
    received = relay.upstream.requests[0]
    assert received.names.isdisjoint(name.lower() for name in NEVER_SENT_TO_ENGINES)
    assert received.header("authorization") == f"Bearer {ENGINE_KEY}"
    assert received.header("host") == f"127.0.0.1:{relay.upstream.port}"
    assert received.header("x-kept") == "1"
    assert received.header("content-type") == "application/json"
    assert json.loads(received.body) == BODY


async def test_the_body_reaches_the_engine_as_it_came() -> None:
    body = b'\n{"x": 1.0000000000000000001, "model":"chat",\t"messages":[], "num_ctx":16}'
    async with relaying() as relay:
        await relay.client.ask("POST", CHAT, body)
    assert relay.upstream.requests[0].body == body


async def test_what_is_not_for_clients_is_not_sent_to_them() -> None:
    dropped = (
        "Connection: keep-alive, X-Named",
        "X-Named: 1",
        "Keep-Alive: timeout=5, max=100",
        "Server: llama.cpp",
        "Access-Control-Allow-Origin: *",
        "X-Gglib-Source: engine",
        "Upgrade: h2c",
        "Proxy-Authenticate: Basic",
    )
    answer = response(headers=(*dropped, "X-Kept: 1"))
    async with relaying(answering(answer)) as relay:
        answer = await relay.client.ask("POST", CHAT, BODY)
    ours = {"x-request-id", "x-gglib-generation-id"}
    assert answer.headers.keys() == {"x-kept", "content-type", "content-length"} | ours
    assert "engine" not in answer.headers.values()


@pytest.mark.parametrize(
    "line",
    [b"X-A: a\rSet-Cookie: b", b"X-A: a\nSet-Cookie: b", b"X-A: a\0b", b"X-A: a\r\n folded"],
)
async def test_an_engine_cannot_smuggle_a_header_to_the_client(line: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 2\r\n\r\n{}"
    async with relaying(answering(answer)) as relay:
        answer = await relay.client.ask("POST", CHAT, BODY)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_protocol_error")
        assert "set-cookie" not in answer.headers
        await ask_again(relay)


async def test_a_model_name_cannot_split_the_answers_head() -> None:
    async with relaying() as relay:
        name = "x\r\nSet-Cookie: a=b\r\n\r\n"
        answer = await relay.client.ask("POST", CHAT, {"model": name})
        assert answer.status == 404
        assert "set-cookie" not in answer.headers
        await ask_again(relay)


async def test_one_event_may_come_in_pieces_and_several_at_once() -> None:
    pieces = [b"data: {", b'"n":1}\n', b"\n" + event({"n": 2}) + b"data: [DO", b"NE]\n\n"]
    answer = STREAM_HEAD + b"".join(map(chunked, pieces)) + STREAM_END
    async with relaying(answering(answer)) as relay:
        answer = await relay.client.ask("POST", CHAT, STREAM_BODY)
        assert answer.events == [{"n": 1}, {"n": 2}, "[DONE]"]
