"""The relay's tests run on uvloop, as in production, and on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import uvloop

from tests.upstreams import FakeUpstream, Script, open_unix_upstream

EVERY_LOOP: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return EVERY_LOOP


@pytest.fixture
def unix_upstream(
    tmp_path: Path,
) -> Callable[..., AbstractAsyncContextManager[tuple[FakeUpstream, str]]]:
    """Opens an upstream on a unix socket; yields it and its path."""

    def open_it(*scripts: Script) -> AbstractAsyncContextManager[tuple[FakeUpstream, str]]:
        return open_unix_upstream(str(tmp_path / "control.sock"), *scripts)

    return open_it
