"""Bodies of any shape: the simulator's hosted APIs answer or refuse them, and never fail."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gglib_runtime.simulator.arguments import parse_arguments
from gglib_runtime.simulator.behaviour import Behaviour
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.generation import ApiError
from gglib_runtime.simulator.log import EngineLog
from gglib_runtime.simulator.records import Recorder
from gglib_runtime.simulator.routes import ROUTES

PATHS = (
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages",
    "/v1/complete", "/v1/messages/count_tokens", "/v1/responses/input_tokens", "/tokenize",
)  # fmt: skip
_NAMES = """
messages role content type text input model prompt max_tokens tools function name parameters
input_schema tool_choice tool_calls id tool_call_id tool_use_id tool_use tool_result arguments
response_format json_schema schema properties required items anyOf $ref enum stop n stream_options
logprobs top_logprobs format temperature stop_sequences system dimensions encoding_format include
instructions max_tokens_to_sample best_of echo suffix seed call_id output
"""
_NEW = re.compile(rb"[a-z]*[-_]?[0-9a-f]{32}|[0-9]{10}")
"""Identifiers and times."""
NAMES = st.sampled_from(_NAMES.split())
WORDS = st.sampled_from(
    ["user", "assistant", "tool", "text", "function", "object", "array", "string", "auto", "any",
     "required", "json_schema", "json_object", "tool_use", "tool_result", "function_call", "#", "x",
     "message", "function_call_output", "\n\nHuman: x\n\nAssistant:", "#/properties/x", "^a(b$"]
)  # fmt: skip
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.just(1.5), WORDS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=12,
)
# Enough is right for the checks behind the first to be reached.
BODIES = st.one_of(
    VALUES,
    st.dictionaries(NAMES, VALUES, max_size=6).map(
        lambda body: {"model": "m", "messages": [{"role": "user", "content": "x"}],
                      "max_tokens": 20, "input": "x"} | body
    ),
)  # fmt: skip


class FakeExchange:
    """Takes an answer and keeps it; nobody is at the other end."""

    connection_number = 1
    is_paused = False
    is_over = False
    peer = "127.0.0.1"

    def __init__(self, path: str, body: bytes) -> None:
        self.request = SimpleNamespace(path=path, query="", headers={}, body=body, method="POST")
        self.on_gone: Any = None
        self.on_writable: Any = None
        self.status = 0
        self.body = b""

    def answer(self, status: int, body: bytes, **options: Any) -> None:
        self.status, self.body, self.is_over = status, body, True


class Asked:
    """A simulator that stands alone, and its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._engine = loop.run_until_complete(self._made())

    async def _made(self) -> Engine:
        arguments = parse_arguments(["--alone"])
        return Engine(arguments, Behaviour(), EngineLog(is_on=False), Recorder(None, "m"))

    def answer(self, path: str, body: Any) -> tuple[int, bytes]:
        """The status and text of the answer, without what each has anew.

        Raises what the route does not foresee.
        """
        return self._loop.run_until_complete(self._answer(path, body))

    async def _answer(self, path: str, body: Any) -> tuple[int, bytes]:
        exchange: Any = FakeExchange(path, json.dumps(body).encode())
        try:
            ROUTES["POST", path](self._engine, exchange)
        except ApiError as error:
            return error.status, str(error).encode()
        return exchange.status, _NEW.sub(b"", exchange.body)


@pytest.fixture(scope="module")
def simulator() -> Generator[Asked]:
    loop = asyncio.new_event_loop()
    yield Asked(loop)
    loop.close()


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(PATHS), BODIES)
@example("/v1/embeddings", {"model": "m", "input": "x", "encoding_format": []})
@example("/tokenize", {"content": [None]})
@example("/v1/completions", {"model": "m", "prompt": [[None, 0]]})
@example("/v1/responses", {"model": "m", "input": "x", "include": 0.5})
def test_every_body_is_answered_or_refused(simulator: Asked, path: str, body: Any) -> None:
    if isinstance(body, dict):
        body.pop("stream", None)
    status, said = simulator.answer(path, body)
    assert status in (200, 400)
    assert simulator.answer(path, body) == (status, said), "the same again"
