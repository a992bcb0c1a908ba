"""`gglib simulate` as a process of its own, as users run it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.command_line import REPOSITORY
from tests.raw_http import Answer, ask_once

WAIT_SECONDS = 20.0
KEY = "sk-test"
CHAT = "/v1/chat/completions"
_URL = re.compile(r" simulates on (https?)://127\.0\.0\.1:(\d+) ")


@dataclass(slots=True, kw_only=True)
class Simulated:
    """A running `gglib simulate`."""

    process: asyncio.subprocess.Process
    port: int
    said: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def chat(self, *, key: str = KEY, **fields: Any) -> Answer:
        return await ask_once(self.port, "POST", CHAT, chat(**fields), key=key)

    async def get(self, path: str, **options: Any) -> Answer:
        return await ask_once(self.port, "GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await ask_once(self.port, "POST", path, {} if body is None else body, **options)

    async def exit_code(self) -> int:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.process.wait()


def chat(**fields: Any) -> dict[str, Any]:
    """A request, for few tokens of a model without latencies."""
    messages = [{"role": "user", "content": "hello"}]
    return {"model": "alpha", "messages": messages, "max_tokens": 8} | fields


@asynccontextmanager
async def simulating(*arguments: str, **environ: str) -> AsyncIterator[Simulated]:
    """Run `gglib simulate --port 0` with these arguments; it is gone afterwards."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("GGLIB_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gglib_runtime", "simulate", "--port", "0", *arguments),
        env=kept | environ,
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            line = (await process.stdout.readline()).decode()
        found = _URL.search(line)
        assert found, line + (await process.stderr.read()).decode()
        said.append(line)
        yield Simulated(process=process, port=int(found[2]), said=said)
    finally:
        if process.returncode is None:
            process.kill()
        said.append((await process.stdout.read()).decode())
        said.append((await process.stderr.read()).decode())
        await process.wait()
