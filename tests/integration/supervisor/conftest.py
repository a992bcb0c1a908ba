"""The supervisor's tests run on uvloop, as in production; those of children on asyncio too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop

EVERY_LOOP: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}
_ON_EVERY_LOOP = {"test_supervisor_children"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if Path(item.path).stem in _ON_EVERY_LOOP:
        return EVERY_LOOP
    return {"uvloop": uvloop.new_event_loop}
