"""The engine: its state, who may ask, and which request goes where.

Not here: HTTP itself (`http.py`), the process around it (`process.py`, `endpoint.py`), the routes'
work, and what it was told to do (`direction.py`).
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
from gglib_runtime.simulator.direction import Direction
from gglib_runtime.simulator.door import (
    limit_lines,
    limit_message,
    opens,
    retry_lines,
)
from gglib_runtime.simulator.exchange import Exchange, Request
from gglib_runtime.simulator.failing import ErrorStyle, failure_body, style_of
from gglib_runtime.simulator.failures import failure_lines
from gglib_runtime.simulator.faults.injector import Asked, FaultInjector
from gglib_runtime.simulator.faults.schema import Fault
from gglib_runtime.simulator.generation import ApiError, Generation, json_bytes
from gglib_runtime.simulator.latency.library import UnknownProfile
from gglib_runtime.simulator.latency.pace import Pace
from gglib_runtime.simulator.log import EngineLog
from gglib_runtime.simulator.readings import Readings
from gglib_runtime.simulator.records import Recorder
from gglib_runtime.simulator.slots import Slots
from gglib_runtime.simulator.stored_responses import StoredResponses
from gglib_runtime.simulator.tallies import Tallies
from gglib_runtime.simulator.timing import Timing

UNAUTHORISED = b'{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}'
_CORS = (
    "Access-Control-Allow-Credentials: true\r\n"
    "Access-Control-Allow-Methods: GET, POST, DELETE, OPTIONS\r\n"
    "Access-Control-Allow-Headers: *\r\n"
)
_FLUSH_SECONDS = 0.01
_PUBLIC_PATHS = frozenset({"/health", "/v1/health"})
_PUBLIC_ALONE = _PUBLIC_PATHS | {"/ready", "/live", "/metrics", "/"}
_ADMIN = "/admin/"
_NO_KEY = "You didn't provide an API key, or it is not well-formed."


class Engine:
    """One simulated server; fills `Host`."""

    def __init__(
        self,
        arguments: Arguments,
        behaviour: Behaviour,
        log: EngineLog,
        recorder: Recorder,
    ) -> None:
        """To be made inside the loop that runs it. Raises BadBehaviour."""
        self.is_alone = arguments.is_alone
        """Whether it is an endpoint of its own, for any model's name; else llama-server."""
        self.arguments = arguments
        self.loop = asyncio.get_running_loop()
        self.direction = Direction(behaviour, self.loop)
        self.log = log
        self.recorder = recorder
        self.tallies = Tallies()
        self.slots = Slots(arguments.slots)
        self.timing = Timing(self.direction, self.slots, has_many_models=self.is_alone)
        self.name = behaviour.alias or arguments.alias
        self.stored_responses = StoredResponses()
        self.readings = Readings()
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
        self._paths: frozenset[str] = frozenset()
        self._prefixes: dict[tuple[str, str], Route] = {}

    def add_routes(
        self, routes: Mapping[tuple[str, str], Route], prefixes: Mapping[tuple[str, str], Route]
    ) -> None:
        """Answer these methods and paths, and these methods on all paths that begin so."""
        self._routes.update(routes)
        self._prefixes.update(prefixes)
        self._paths = frozenset(path for _, path in self._routes)

    # what routes ask

    @property
    def behaviour(self) -> Behaviour:
        """What it was told to do, without the scenario."""
        return self.direction.behaviour

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models that it lists."""
        return self.arguments.names or (self.name,)

    def model_for(self, body: Mapping[str, Any]) -> str:
        """The model that answers a request, by which the answer is named."""
        named = body.get("model")
        return named if self.is_alone and isinstance(named, str) and named else self.name

    def plan_for(self, exchange: Exchange, body: Mapping[str, Any]) -> AnswerPlan:
        """How this request is to be answered; raises ApiError where it asks for nonsense."""
        plan = self.direction.plan
        try:
            if REQUEST_FIELD in body:
                plan = changed_plan(plan, body[REQUEST_FIELD])
            return self.timing.settled(plan, body, self.model_for(body), self.requests + 1)
        except BadBehaviour as error:
            raise ApiError(400, str(error)) from error
        except UnknownProfile as error:
            raise ApiError(400, f"{REQUEST_FIELD}: {error}") from error

    def known_path(self, path: str) -> str:
        """`path` where there is such a route; clients may ask for any."""
        if path in self._paths:
            return path
        return next((f"{begin}…" for _, begin in self._prefixes if path.startswith(begin)), "…")

    # requests

    def handle(self, exchange: Exchange) -> None:
        """Answer a request, or see to it that it will be."""
        request = exchange.request
        if request.method == "OPTIONS":
            extra = _preflight_lines(request) if self.is_alone else _CORS
            exchange.answer(200, b"", content_type="text/html", extra=extra)
        elif self.is_alone:
            self._handle_alone(exchange)
        elif not self.is_ready:
            self.refuse(exchange, 503, "Loading model")
        elif request.path not in _PUBLIC_PATHS and not self._opens(request.key):
            self.log.server("operator()", "unauthorized: Invalid API Key", "W")
            exchange.answer(401, UNAUTHORISED)
        elif request.method != "POST" or not self._is_limited(exchange, request.key):
            self._dispatch(exchange)

    def _handle_alone(self, exchange: Exchange) -> None:
        request = exchange.request
        path = request.path
        if path.startswith(_ADMIN) or path in _PUBLIC_ALONE:
            if path in ("/live", "/metrics") or path.startswith(_ADMIN) or self._is_up():
                self._dispatch(exchange)
            else:
                self.refuse(exchange, 503, "The simulator is not ready.")
            return
        key = request.key
        if not self._is_up():
            self.refuse(exchange, 503, "The simulator is not ready.")
        elif not self._opens(key):
            message = f"Incorrect API key provided: {key[:8]}" if key else _NO_KEY
            self.refuse(exchange, 401, message)
        elif request.method != "POST" or not self._is_limited(exchange, key):
            self._dispatch(exchange)

    def _is_up(self) -> bool:
        return self.is_ready and not self.direction.phase.unready

    def _opens(self, key: str) -> bool:
        mode = self.behaviour.key
        return opens(key, self.arguments.keys, mode, is_alone=self.is_alone)

    def _is_limited(self, exchange: Exchange, key: str) -> bool:
        limiter = self.direction.limiter
        if limiter.is_empty:
            return False
        path = exchange.request.path
        exceeded = limiter.take(key=key, address=exchange.peer, endpoint=path)
        if exceeded is None:
            return False
        self.tallies.limited += 1
        self.refuse(exchange, 429, limit_message(exceeded), extra=limit_lines(exceeded))
        return True

    def _dispatch(self, exchange: Exchange) -> None:
        method = "GET" if exchange.request.method == "HEAD" else exchange.request.method
        route = self._routes.get((method, exchange.request.path)) or self._prefixed(
            method, exchange
        )
        if route is None:
            self._refuse_unknown(exchange)
            return
        try:
            route(self, exchange)
        except ApiError as error:
            self._refuse_for(exchange, error)
        except Exception as error:  # a body of a shape that no route foresees
            self._refuse_for(exchange, ApiError(500, repr(error)))

    def _prefixed(self, method: str, exchange: Exchange) -> Route | None:
        path = exchange.request.path
        for (each, prefix), route in self._prefixes.items():
            if each == method and path.startswith(prefix):
                return route
        return None

    def _refuse_unknown(self, exchange: Exchange) -> None:
        """Nothing answers this method and path; llama-server does not tell which of the two."""
        method, path = exchange.request.method, exchange.request.path
        known = sorted({other for other, each in self._routes if each == path})
        if not self.is_alone:
            self.refuse(exchange, 404, "File Not Found")
        elif not known:
            self.refuse(exchange, 404, f"Invalid URL ({method} {path})")
        else:
            hint = "HINT: Perhaps you meant to use a different HTTP method?"
            allow = f"allow: {', '.join(known)}\r\n"
            self.refuse(exchange, 405, f"Not allowed to {method} on {path} ({hint})", extra=allow)

    # errors

    def style(self, exchange: Exchange) -> ErrorStyle:
        """Whose errors this client expects."""
        return style_of(exchange.request.path, is_alone=self.is_alone)

    def refuse(self, exchange: Exchange, status: int, message: str, *, extra: str = "") -> None:
        """Answer with an error; `extra` is header lines."""
        body = failure_body(self.style(exchange), status, message)
        exchange.answer(status, body, extra=extra)

    def _refuse_for(self, exchange: Exchange, error: ApiError) -> None:
        style = self.style(exchange)
        if style is ErrorStyle.LLAMA_SERVER:
            body = json_bytes(error.body)
        else:
            body = failure_body(style, error.status, str(error), code=error.name, param=error.param)
        self.log.server("operator()", f"got exception: {body.decode()}", "W")
        exchange.answer(error.status, body)

    # what answers ask

    def slots_for(self, model: str) -> Slots:
        return self.timing.slots(model)

    def pace_for(self, plan: AnswerPlan, generation: Generation, number: int) -> Pace | None:
        return self.timing.pace(plan, generation.model, generation.prompt_tokens, number)

    def fault_for(
        self, plan: AnswerPlan, exchange: Exchange, model: str, *, is_stream: bool
    ) -> Fault | None:
        direction, request = self.direction, exchange.request
        injector, passed = direction.injector, direction.passed_seconds
        is_own = plan.faults is not direction.plan.faults
        if is_own:
            injector, passed = FaultInjector(plan.faults, self.requests), 0.0
        if injector.is_empty:
            return None
        asked = Asked(
            model=model,
            key=request.key,
            endpoint=request.path,
            body=request.body,
            is_stream=is_stream,
        )
        fault = injector.choose(asked, passed)
        if fault is not None:
            self.tallies.injected[fault.label] += 1
        return fault

    def is_overloaded(self) -> bool:
        most = self.direction.max_concurrent
        return most is not None and self.tallies.active > most

    def refuse_overload(self, exchange: Exchange) -> None:
        self.tallies.overloaded += 1
        status = 529 if self.style(exchange) is ErrorStyle.ANTHROPIC else 503
        self.refuse(exchange, status, "Overloaded", extra=retry_lines(1.0))

    def fail(self, exchange: Exchange, fault: Fault) -> None:
        style = self.style(exchange)
        body = failure_body(style, fault.status, fault.message, kind=fault.type, code=fault.code)
        exchange.answer(fault.status, body, extra=retry_lines(fault.retry_after_seconds))

    def answered(self, generation: Generation, exchange: Exchange, *, is_whole: bool) -> None:
        self.prompt_tokens += generation.prompt_tokens
        self.predicted_tokens += generation.count
        self.prompt_seconds += generation.prompt_ms / 1000
        self.predicted_seconds += generation.predicted_ms / 1000
        self.longest = max(self.longest, generation.prompt_tokens + generation.count)
        self.answers += is_whole
        if not self.direction.limiter.is_empty:
            self.direction.limiter.spend(
                generation.prompt_tokens + generation.count,
                key=exchange.request.key,
                address=exchange.peer,
                endpoint=exchange.request.path,
            )
        if is_whole and self.answers == self.behaviour.crash_after_answers:
            # The answer still has to leave this process.
            self.loop.call_later(_FLUSH_SECONDS, self._kill, None)

    def crash(self, fault: Fault) -> None:
        if fault.kind != "out_of_memory":
            self._kill(fault.signal)
            return
        for line in failure_lines("out_of_memory", model=self.arguments.model, host="", port=0):
            self.log.stamped(line)
        self.recorder.write("exit", code=1)
        os._exit(1)

    def _kill(self, number: int | None) -> None:
        number = number or self.behaviour.crash_signal
        self.recorder.write("exit", signal=number)
        os.kill(os.getpid(), signal.Signals(number))


Route = Callable[[Engine, Exchange], None]


def _preflight_lines(request: Request) -> str:
    """What a browser is told that asks whether it may send a request."""
    from gglib_proxy.door.origins import preflight_lines

    return preflight_lines(request, b"").decode("latin-1")
