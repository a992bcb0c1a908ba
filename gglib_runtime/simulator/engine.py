"""The engine: its state, who may ask, and which request goes where.

Not here: HTTP itself (`http.py`), the process around it (`process.py`), the routes' work.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from gglib_runtime.simulator.arguments import Arguments
from gglib_runtime.simulator.behaviour import (
    REQUEST_FIELD,
    AnswerPlan,
    BadBehaviour,
    Behaviour,
    changed_plan,
)
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.failing import ErrorStyle, failure_body, style_of
from gglib_runtime.simulator.generation import ApiError, Generation, json_bytes
from gglib_runtime.simulator.log import EngineLog
from gglib_runtime.simulator.records import Recorder
from gglib_runtime.simulator.slots import Slots

LOADING = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'
UNAUTHORISED = b'{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}'
NOT_FOUND = b'{"error":{"message":"File Not Found","type":"not_found_error","code":404}}'
_CORS = (
    "Access-Control-Allow-Credentials: true\r\n"
    "Access-Control-Allow-Methods: GET, POST, DELETE, OPTIONS\r\n"
    "Access-Control-Allow-Headers: *\r\n"
)
_FLUSH_SECONDS = 0.01
_PUBLIC_PATHS = frozenset({"/health", "/v1/health"})


class Engine:
    """One simulated llama-server; fills `Host`."""

    def __init__(
        self,
        arguments: Arguments,
        behaviour: Behaviour,
        log: EngineLog,
        recorder: Recorder,
    ) -> None:
        self.is_alone = arguments.is_alone
        """Whether it is an endpoint of its own, for any model's name; else llama-server."""
        self.arguments = arguments
        self.behaviour = behaviour
        self.log = log
        self.recorder = recorder
        self.slots = Slots(arguments.slots)
        self.name = behaviour.alias or arguments.alias
        self.is_ready = False
        self.is_stopping = False
        self.requests = 0
        """Inference requests so far."""
        self.answers = 0
        self.prompt_tokens = 0
        self.predicted_tokens = 0
        self.prompt_seconds = 0.0
        self.predicted_seconds = 0.0
        self.longest = 0
        self.started_at = int(time.time())
        self._routes: dict[tuple[str, str], Route] = {}
        self._prefixes: dict[tuple[str, str], Route] = {}

    def add_routes(
        self, routes: Mapping[tuple[str, str], Route], prefixes: Mapping[tuple[str, str], Route]
    ) -> None:
        """Answer these methods and paths, and these methods on all paths that begin so."""
        self._routes.update(routes)
        self._prefixes.update(prefixes)

    # what routes ask

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models that it lists."""
        return (self.name,)

    def model_for(self, body: Mapping[str, Any]) -> str:
        """The model that answers a request, by which the answer is named."""
        named = body.get("model")
        return named if self.is_alone and isinstance(named, str) and named else self.name

    def plan_for(self, exchange: Exchange, body: Mapping[str, Any]) -> AnswerPlan:
        """How this request is to be answered; raises ApiError where it asks for nonsense."""
        if REQUEST_FIELD not in body:
            return self.behaviour
        try:
            return changed_plan(self.behaviour, body[REQUEST_FIELD])
        except BadBehaviour as error:
            raise ApiError(400, str(error)) from error

    # requests

    def handle(self, exchange: Exchange) -> None:
        """Answer a request, or see to it that it will be."""
        request = exchange.request
        if request.method == "OPTIONS":
            exchange.answer(200, b"", content_type="text/html", extra=_CORS)
        elif not self.is_ready:
            exchange.answer(503, LOADING)
        elif request.path not in _PUBLIC_PATHS and not self._may_enter(exchange):
            self.log.server("operator()", "unauthorized: Invalid API Key", "W")
            exchange.answer(401, UNAUTHORISED)
        else:
            self._dispatch(exchange)

    def _dispatch(self, exchange: Exchange) -> None:
        method = "GET" if exchange.request.method == "HEAD" else exchange.request.method
        route = self._routes.get((method, exchange.request.path)) or self._prefixed(
            method, exchange
        )
        if route is None:
            exchange.answer(404, NOT_FOUND)
            return
        try:
            route(self, exchange)
        except ApiError as error:
            self._refuse(exchange, error)
        except Exception as error:  # a body of a shape that no route foresees
            self._refuse(exchange, ApiError(500, repr(error)))

    def _prefixed(self, method: str, exchange: Exchange) -> Route | None:
        path = exchange.request.path
        for (each, prefix), route in self._prefixes.items():
            if each == method and path.startswith(prefix):
                return route
        return None

    def _refuse(self, exchange: Exchange, error: ApiError) -> None:
        style = style_of(exchange.request.path, is_alone=self.is_alone)
        if style is ErrorStyle.LLAMA_SERVER:
            body = json_bytes(error.body)
        else:
            found = error.body["error"]
            body = failure_body(
                style, error.status, str(error), code=found.get("name"), param=found.get("param")
            )
        self.log.server("operator()", f"got exception: {body.decode()}", "W")
        exchange.answer(error.status, body)

    def _may_enter(self, exchange: Exchange) -> bool:
        keys = self.arguments.keys
        mode = self.behaviour.key
        if mode == "ignored" or (not keys and mode == "own"):
            return True
        headers = exchange.request.headers
        given = headers.get(b"x-api-key") or headers.get(b"authorization", b"")
        key = given.removeprefix(b"Bearer ").decode("latin-1")
        return bool(key) and (mode == "any" or (mode == "own" and key in keys))

    def answered(self, generation: Generation, *, is_whole: bool) -> None:
        """Count an answer that was sent to its end, or not."""
        self.prompt_tokens += generation.prompt_tokens
        self.predicted_tokens += generation.count
        self.prompt_seconds += generation.prompt_ms / 1000
        self.predicted_seconds += generation.predicted_ms / 1000
        self.longest = max(self.longest, generation.prompt_tokens + generation.count)
        self.answers += is_whole
        if is_whole and self.answers == self.behaviour.crash_after_answers:
            # The answer still has to leave this process.
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.crash)

    def crash(self) -> None:
        self.recorder.write("exit", signal=self.behaviour.crash_signal)
        os.kill(os.getpid(), signal.Signals(self.behaviour.crash_signal))


Route = Callable[[Engine, Exchange], None]
