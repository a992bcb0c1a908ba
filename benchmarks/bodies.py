"""Large bodies: what one costs in time and memory, and what other clients notice of it.

The others talk to another model, so that they meet nothing of it but gglib.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from base64 import b64encode
from pathlib import Path

from benchmarks.chats import CHAT, chat_body
from benchmarks.load import keep_busy, quantile, request_bytes
from benchmarks.report import Report, at_most
from benchmarks.scale import Scale
from benchmarks.servers import Server, engine_script, gglib

_BODY_BYTES = 20_000_000
_OTHERS = 8
_SETTINGS = {"max_resident": 2}


def _vision_body(model: str) -> bytes:
    image = b64encode(os.urandom(_BODY_BYTES * 3 // 4)).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "What is this?"}]}]
    return json.dumps({"model": model, "messages": messages}).encode()


def _token_body(model: str) -> bytes:
    tokens = random.Random(1).choices(range(150_000), k=_BODY_BYTES // 8)
    return json.dumps({"model": model, "messages": [], "x": tokens}).encode()


async def measure_bodies(directory: Path, models: list[Path], scale: Scale, report: Report) -> None:
    engine = engine_script(directory, "benchmarks.stream_engine")
    report.section("bodies of 20 MB")
    message = request_bytes(CHAT, _vision_body("model-b"))
    async with gglib(directory / "data-bodies", engine, models, settings=_SETTINGS) as proxy:
        await _send(proxy.port, message)
        others = chat_body("model-a")
        await keep_busy(proxy.port, CHAT, others, connections=_OTHERS, seconds=1)
        await _cost(proxy, "one after the other", message, scale, report)
        tokens = request_bytes(CHAT, _token_body("model-b"))
        await _cost(proxy, "the same of tokens' numbers", tokens, scale, report)
        await _disturbance(proxy, message, others, scale, report)


async def _cost(proxy: Server, what: str, message: bytes, scale: Scale, report: Report) -> None:
    before, rss = proxy.cpu_seconds(), proxy.rss_bytes()
    proxy.forget_peak()
    seconds = [await _send(proxy.port, message) for _ in range(scale.bodies)]
    cpu = (proxy.cpu_seconds() - before) / scale.bodies
    report.add(
        what,
        {"copies": at_most(2)},
        p50_ms=1e3 * quantile(seconds, 0.5),
        cpu_ms=1e3 * cpu,
        copies=(proxy.peak_bytes() - rss) / len(message),
    )


async def _disturbance(
    proxy: Server, message: bytes, others: bytes, scale: Scale, report: Report
) -> None:
    undisturbed = await keep_busy(
        proxy.port, CHAT, others, connections=_OTHERS, seconds=scale.seconds
    )

    sent = 0

    async def send_bodies() -> None:
        nonlocal sent
        while True:
            await _send(proxy.port, message)
            sent += 1

    sending = asyncio.create_task(send_bodies())
    try:
        disturbed = await keep_busy(
            proxy.port, CHAT, others, connections=_OTHERS, seconds=max(2.0, scale.seconds)
        )
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    report.add(
        f"{_OTHERS} other clients meanwhile",
        {"p99_ms": at_most(20)},
        bodies_per_second=sent / disturbed.seconds,
        p50_ms=disturbed.microseconds(0.5) / 1e3,
        p99_ms=disturbed.microseconds(0.99) / 1e3,
        undisturbed_p99_ms=undisturbed.microseconds(0.99) / 1e3,
    )


async def _send(port: int, message: bytes) -> float:
    """Seconds until the answer has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.perf_counter()
    try:
        writer.write(message)
        line = await reader.readline()
        if b" 200 " not in line:
            raise RuntimeError(f"a large body was answered with {line!r}")
        await reader.readuntil(b"}")
        return time.perf_counter() - started
    finally:
        writer.transport.abort()
