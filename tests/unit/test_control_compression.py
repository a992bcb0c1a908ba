"""The control plane's text is compressed for those who accept it, and for nobody else."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import brotli
import pytest
from quart import Quart, Response
from quart.testing import QuartClient

from gglib_proxy.control import compression
from gglib_proxy.control.app import create_app
from gglib_proxy.control.compression import (
    LEAST_BYTES,
    chosen_coding,
    codings,
    register_compression,
)
from tests.control_plane import control_context

KNOWN = ("br", "gzip", "deflate")
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.decompress,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}
TEXT = b"some text, again and again; " * 100


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("deflate", "deflate"),
        ("gzip;q=1, br;q=0.5", "gzip"),
        ("gzip;q=0.5, br;q=0.5", "br"),
        ("gzip ; q=0.3 , deflate; Q=0.4", "deflate"),
        ("zstd", None),
        ("*", "br"),
        ("br;q=0, *", "gzip"),
        ("*;q=0", None),
        ("*;q=0, gzip", "gzip"),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("identity;q=0", None),
        ("identity;q=0, *;q=0.1", "br"),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("gzip;q=2", None),
        ("gzip;q=-1", None),
        ("gzip;q=nan", None),
        ("gzip;q=high", None),
        (";q=1,,", None),
        ("gzip;level=9", "gzip"),
    ],
)
def test_the_coding_that_the_client_likes_best_is_chosen(accepted: str, coding: str | None) -> None:
    assert chosen_coding(accepted, KNOWN) == coding


@pytest.fixture
def client() -> QuartClient:
    app = Quart(__name__)
    register_compression(app)

    @app.get("/<kind>/<int:length>")
    async def text(kind: str, length: int) -> Response:
        types = {"json": "application/json", "png": "image/png", "stream": "text/event-stream"}
        body = (TEXT * (length // len(TEXT) + 1))[:length]
        return Response(body, content_type=types[kind], headers={"etag": '"abc"', "vary": "accept"})

    @app.get("/endless")
    async def endless() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield TEXT

        return Response(parts(), content_type="text/csv")

    return app.test_client()


async def ask(client: QuartClient, path: str, method: str = "GET", accepted: str = "gzip") -> Any:
    return await client.open(path, method=method, headers={"accept-encoding": accepted})


@pytest.mark.parametrize("coding", KNOWN)
@pytest.mark.parametrize("length", [LEAST_BYTES, 300_000])
async def test_what_is_compressed_is_the_same_when_it_is_read(
    client: QuartClient, coding: str, length: int
) -> None:
    plain = await (await ask(client, f"/json/{length}", accepted="")).get_data()
    answer = await ask(client, f"/json/{length}", accepted=coding)
    data = await answer.get_data()
    assert answer.headers["content-encoding"] == coding
    assert int(answer.headers["content-length"]) == len(data) < length
    assert DECODERS[coding](data) == plain
    assert answer.headers["etag"] == '"abc"'


async def test_every_answer_that_might_differ_says_so(client: QuartClient) -> None:
    for path in ("/json/10", "/json/5000"):
        for accepted in ("", "gzip"):
            answer = await ask(client, path, accepted=accepted)
            assert {each.strip().lower() for each in answer.headers["vary"].split(",")} == {
                "accept",
                "accept-encoding",
            }


@pytest.mark.parametrize(
    "path", [f"/json/{LEAST_BYTES - 1}", "/png/5000", "/stream/5000", "/endless"]
)
async def test_what_would_not_gain_or_must_not_wait_stays_as_it_is(
    client: QuartClient, path: str
) -> None:
    answer = await ask(client, path)
    assert "content-encoding" not in answer.headers


async def test_a_head_says_what_the_get_would(client: QuartClient) -> None:
    got, asked = await ask(client, "/json/5000"), await ask(client, "/json/5000", "HEAD")
    assert {name: value for name, value in asked.headers.items() if name != "date"} == {
        name: value for name, value in got.headers.items() if name != "date"
    }


async def test_long_texts_are_compressed_off_the_loop(
    client: QuartClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    to_thread = compression.asyncio.to_thread

    async def watched(function: Any, data: bytes) -> Any:
        sent.append(len(data))
        return await to_thread(function, data)

    monkeypatch.setattr(compression.asyncio, "to_thread", watched)
    for length in (64 * 1024, 64 * 1024 + 1):
        await ask(client, f"/json/{length}")
    assert sent == [64 * 1024 + 1]


@pytest.fixture
def without_brotli(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    codings.cache_clear()
    monkeypatch.setitem(sys.modules, "brotli", None)
    yield
    codings.cache_clear()


@pytest.mark.usefixtures("without_brotli")
async def test_brotli_is_done_without_where_it_is_not_installed(client: QuartClient) -> None:
    answer = await ask(client, "/json/5000", accepted="br, gzip;q=0.5")
    assert answer.headers["content-encoding"] == "gzip"


async def test_the_control_plane_compresses() -> None:
    client = create_app(control_context()).test_client()
    for path in ("/openapi.json", "/docs", "/metrics"):
        answer = await ask(client, path)
        assert answer.headers["content-encoding"] == "gzip", path
