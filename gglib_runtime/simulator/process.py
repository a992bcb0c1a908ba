"""The engine's life as a process: binds, loads, serves, and ends as llama-server does.

SIGTERM while loading has its default effect, as there; handlers come with readiness. Exit codes:
0 after SIGTERM, 1 for what llama-server refuses, 2 for a behaviour that makes no sense.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from gglib_proxy.accept_loop import BACKLOG
from gglib_runtime.simulator import records
from gglib_runtime.simulator.arguments import Arguments, BadArgument, parse_arguments
from gglib_runtime.simulator.behaviour import (
    BadBehaviour,
    Behaviour,
    LoadFailure,
    read_behaviour,
    told_by,
)
from gglib_runtime.simulator.endpoint import EndpointOptions, load_at_leisure, serve_endpoint
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.failures import failure_lines
from gglib_runtime.simulator.http import ENGINE_LIMITS, HttpServer, ServerOptions
from gglib_runtime.simulator.latency.library import AUTO, NONE, UnknownProfile, find_profile
from gglib_runtime.simulator.latency.pace import request_random
from gglib_runtime.simulator.listening import Listening, open_listening
from gglib_runtime.simulator.log import EngineLog
from gglib_runtime.simulator.records import Recorder
from gglib_runtime.simulator.routes import PREFIXES, ROUTES

_VERSION = "version: 0.6.0-simulator (build 0, commit none)"
_POLL_SECONDS = 0.005
_HELPER_SECONDS = 60
_CUT_SECONDS = 0.1
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Be llama-server with these arguments; returns the exit code."""
    if "--version" in argv:
        EngineLog(is_on=True).bare(_VERSION)
        return 0
    try:
        behaviour = read_behaviour(environment)
        arguments = parse_arguments(argv, environment.get("LLAMA_API_KEY", ""))
        behaviour = _with_load_time(_told_by(behaviour, arguments))
        alias = behaviour.alias or arguments.alias
        recorder = Recorder(environment.get(records.ENVIRONMENT_NAME), alias)
        return Process(arguments, behaviour, recorder).run(argv)
    except BadBehaviour as error:
        EngineLog(is_on=True).bare(str(error))
        return 2
    except BadArgument as error:
        EngineLog(is_on=True).bare(str(error))
        return 1


def _told_by(behaviour: Behaviour, arguments: Arguments) -> Behaviour:
    return told_by(
        behaviour,
        seed=arguments.seed,
        profile=arguments.profile,
        scenario=arguments.scenario,
        max_concurrent=arguments.max_concurrent,
    )


def _with_load_time(behaviour: Behaviour) -> Behaviour:
    """`behaviour` that loads as long as its profile says, where it does not say itself."""
    if behaviour.load_seconds or behaviour.profile in (None, AUTO, NONE):
        return behaviour
    try:
        load = find_profile(behaviour.profile).load
    except UnknownProfile as error:
        raise BadBehaviour(f"profile: {error}") from error
    seconds = load.draw(request_random(behaviour.seed or 0, "load", 0)) * behaviour.slowdown
    return msgspec.structs.replace(behaviour, load_seconds=seconds)


class Process:
    """One run of the simulator."""

    def __init__(self, arguments: Arguments, behaviour: Behaviour, recorder: Recorder) -> None:
        self._arguments = arguments
        self._behaviour = behaviour
        self._recorder = recorder
        self._log = EngineLog(
            is_on=arguments.logs and not behaviour.silent,
            tells_answers=not arguments.is_alone,
            chatter_lines=behaviour.chatter_lines,
            chatter_line_bytes=behaviour.chatter_line_bytes,
        )
        self._ballast: list[bytearray] = []
        self._terms = 0

    def run(self, argv: Sequence[str]) -> int:
        code = self._fork()
        if code is None:
            others = self._recorder.others_alive()
            self._recorder.write("started", argv=[*argv], port=self._arguments.port, others=others)
            self._set_signals()
            code = self._serve()
            self._recorder.write("exit", code=code)
        return code

    def _set_signals(self) -> None:
        effect = signal.SIG_IGN if self._behaviour.ignore_term else signal.SIG_DFL
        for number in _ENDING_SIGNALS:
            signal.signal(number, effect)

    # a process beside this one

    def _fork(self) -> int | None:
        """Fork what the behaviour asks for; returns an exit code where there is no more to do."""
        if self._behaviour.fork == "helper":
            self._fork_helper()
        elif self._behaviour.fork == "server" and (child := os.fork()):
            _, status = os.waitpid(child, 0)
            return os.waitstatus_to_exitcode(status) & 0xFF
        return None

    def _fork_helper(self) -> None:
        child = os.fork()
        if child:
            self._recorder.write("helper", helper=child)
            return
        self._set_signals()
        time.sleep(_HELPER_SECONDS)
        os._exit(0)

    # life

    def _serve(self) -> int:
        failure = self._behaviour.fail_load
        self._log.server("init", "initializing ...")
        if failure == "bad_flag":
            return self._fail(failure)
        time.sleep(self._behaviour.bind_seconds)
        listener = self._bind()
        if failure == "port_taken" or listener is None:
            return self._fail("port_taken")
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            return runner.run(self._live(listener))

    def _bind(self) -> socket.socket | None:
        family = socket.AF_INET6 if ":" in self._arguments.host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._arguments.host, self._arguments.port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            return None
        return listener

    async def _live(self, listener: socket.socket) -> int:
        loop = asyncio.get_running_loop()
        engine = Engine(self._arguments, self._behaviour, self._log, self._recorder)
        engine.add_routes(ROUTES, PREFIXES)
        if self._arguments.is_alone:
            return await self._live_alone(engine, listener)
        http = HttpServer(engine.handle, self._options())
        async with open_listening(http, listener) as listening:
            engine.direction.on_refusing = listening.set_refusing
            http.sweep()
            await self._load()
            if self._behaviour.fails_to_load:
                return self._fail(self._behaviour.fail_load)
            stopped = self._watch_signals(loop)
            self._announce(engine, listener)
            load_at_leisure()
            await stopped.wait()
            await self._stop(engine, listening, http)
            return 0

    async def _live_alone(self, engine: Engine, listener: socket.socket) -> int:
        await serve_endpoint(
            engine, listener, EndpointOptions(), on_ready=lambda: self._announce(engine, listener)
        )
        return 0

    def _options(self) -> ServerOptions:
        behaviour, recorder = self._behaviour, self._recorder
        options = ServerOptions(
            limits=dataclasses.replace(
                ENGINE_LIMITS, keepalive_timeout_seconds=behaviour.keep_alive_seconds
            ),
            keep_alive_answers=behaviour.keep_alive_answers,
            close_idle=behaviour.close_idle,
        )
        if recorder.is_on:
            options.on_connected = lambda number: recorder.write("connected", connection=number)
            options.on_closed = lambda number: recorder.write("closed", connection=number)
        return options

    async def _load(self) -> None:
        """Take as long as asked, and memory and log lines meanwhile."""
        behaviour = self._behaviour
        self._log.server("load_model", f"loading model '{self._arguments.model}'")
        self._log.chatter()
        self._recorder.write("loading")
        clock = asyncio.get_running_loop().time
        begin = logged = clock()
        while (passed := clock() - begin) < behaviour.load_seconds or self._must_wait():
            self._grow_to(passed / behaviour.load_seconds if behaviour.load_seconds else 1.0)
            if behaviour.load_log_seconds and clock() - logged >= behaviour.load_log_seconds:
                logged = clock()
                self._log.server("load_model", f"still loading, {passed:.2f} s")
            await asyncio.sleep(_POLL_SECONDS)
        self._grow_to(1.0)

    def _must_wait(self) -> bool:
        until = self._behaviour.load_until
        return self._behaviour.never_ready or (until is not None and not Path(until).exists())

    def _grow_to(self, share: float) -> None:
        wanted = int(self._behaviour.ballast_bytes * min(share, 1.0))
        missing = wanted - sum(map(len, self._ballast))
        if missing > 0:
            self._ballast.append(bytearray(b"\1") * missing)

    def _announce(self, engine: Engine, listener: socket.socket) -> None:
        arguments = self._arguments
        self._log.server(
            "load_model",
            f"initializing, n_slots = {arguments.slots}, n_ctx_slot = {arguments.slot_context}, "
            "kv_unified = 'false'",
        )
        engine.is_ready = True
        port = listener.getsockname()[1]
        self._log.server("init", "model loaded")
        self._log.server("init", f"listening on http://{arguments.host}:{port}")
        self._recorder.write("ready", port=port)

    def _fail(self, failure: LoadFailure | None) -> int:
        """Print the last lines of a failed load."""
        if self._behaviour.exit_lines is not None:
            for line in self._behaviour.exit_lines:
                self._log.bare(line)
        elif failure is not None:
            arguments = self._arguments
            for line in failure_lines(
                failure, model=arguments.model, host=arguments.host, port=arguments.port
            ):
                self._log.stamped(line)
        if failure == "killed":
            self._recorder.write("exit", signal=int(signal.SIGKILL))
            os.kill(os.getpid(), signal.SIGKILL)
        return self._behaviour.exit_code

    # the end

    def _watch_signals(self, loop: asyncio.AbstractEventLoop) -> asyncio.Event:
        stopped = asyncio.Event()
        if not self._behaviour.ignore_term:
            for number in _ENDING_SIGNALS:
                loop.add_signal_handler(number, self._on_term, stopped)
        return stopped

    def _on_term(self, stopped: asyncio.Event) -> None:
        self._terms += 1
        self._recorder.write("term", count=self._terms)
        if self._terms > 1:
            self._log.bare("Received second interrupt, terminating immediately.")
            self._recorder.write("exit", code=1)
            os._exit(1)
        stopped.set()

    async def _stop(self, engine: Engine, listening: Listening, http: HttpServer) -> None:
        self._log.server("operator()", "operator(): cleaning up before exit...")
        engine.is_stopping = True
        if not self._behaviour.stop_listening:
            await asyncio.sleep(self._behaviour.stop_seconds)
        listening.close()
        http.stop()
        if self._behaviour.stop_listening:
            await asyncio.sleep(self._behaviour.stop_seconds)
        if self._behaviour.stop_with_requests == "cut" and http.connections:
            await asyncio.sleep(_CUT_SECONDS)
            http.abort()
        await http.wait_closed()
        engine.direction.close()
        self._hold_memory()

    def _hold_memory(self) -> None:
        """Let a child keep what was loaded for a while: some memory is freed late."""
        if not self._behaviour.ballast_held_seconds or os.fork():
            return
        os.setsid()  # else it would end with our group
        time.sleep(self._behaviour.ballast_held_seconds)
        os._exit(0)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()
