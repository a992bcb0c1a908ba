"""The composition root: which adapter fills which port, and what lives how long.

Everything that must be closed is entered here, in the order of dependency; nothing else in gglib
makes an adapter.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import uvloop
from anyio import to_thread

from gglib_core import __version__
from gglib_core.admission import AdmissionPolicy
from gglib_core.launch_costs import LaunchCosts
from gglib_core.models import NewModel
from gglib_core.swaps import SwapLedger
from gglib_proxy.books import Books
from gglib_proxy.control.context import ServerInfo
from gglib_proxy.limits import Limits
from gglib_proxy.meters import Meters
from gglib_proxy.server import serve
from gglib_proxy.services import Services, Tuning
from gglib_proxy.swap_tally import SwapTally
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.reachable import open_database_check
from gglib_runtime.catalog.sql_catalog import SqlModelCatalog, open_sql_catalog
from gglib_runtime.engines.discovery import Engine, find_engine
from gglib_runtime.generations.history import SqlGenerationHistory
from gglib_runtime.generations.writer import Retention, open_generation_log
from gglib_runtime.gguf.description import describe_model
from gglib_runtime.listener import open_listener, url_of
from gglib_runtime.log_output import open_logging
from gglib_runtime.machine_memory import machine_memory
from gglib_runtime.open_files import clients_within, raise_file_limit
from gglib_runtime.server_record import (
    ServeInfo,
    ServerRecord,
    hold_data_directory,
    publish_record,
)
from gglib_runtime.settings import Layer, LoadedSettings, Settings
from gglib_runtime.span_export import open_tracing
from gglib_runtime.supervisor.engine_counters import LlamaServerCounters
from gglib_runtime.supervisor.opening import open_supervisor
from gglib_runtime.supervisor.settings import SupervisorSettings
from gglib_runtime.supervisor.supervisor import Supervisor
from gglib_runtime.supervisor.turning import SupervisorTurning
from gglib_runtime.swaps.sql_ledger import learned_costs, open_sql_swap_ledger
from gglib_runtime.tls import open_certificate, tls_files

Announce = Callable[[ServeInfo], None]

logger = logging.getLogger(__name__)


def run_serve(loaded: LoadedSettings, extra_paths: Sequence[Path], announce: Announce) -> int:
    """Serve until a signal says otherwise; returns the exit code.

    Must be called in the main thread, whose children die with it. `extra_paths` are models of this
    run only. `announce` is called, on the event loop, once the endpoint answers. Raises GglibError
    for what keeps it from starting.
    """
    settings = loaded.settings
    engine = find_engine(settings.llama_server, os.environ)
    extra = [_model_of(path) for path in extra_paths]
    with (
        open_logging(settings.log_level, settings.log_format),
        hold_data_directory(settings.paths),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        limits = _limits(loaded, raise_file_limit())
        runner.run(_serve(settings, limits, engine, extra, announce))
    return 0


async def _serve(
    settings: Settings,
    limits: Limits,
    engine: Engine,
    extra: Sequence[NewModel],
    announce: Announce,
) -> None:
    async with AsyncExitStack() as stack:
        files = tls_files(settings)
        certificate = stack.enter_context(open_certificate(files)) if files else None
        listener = stack.enter_context(
            open_listener(settings.listen_address, unix_mode=settings.unix_socket_mode)
        )
        database = stack.enter_context(open_database(settings.effective_database_url))
        await to_thread.run_sync(upgrade, database)
        catalog = await stack.enter_async_context(open_sql_catalog(database, extra=extra))
        database_check = await stack.enter_async_context(open_database_check(database))
        tracer = await stack.enter_async_context(
            open_tracing(os.environ, is_enabled=settings.otel_enabled)
        )
        # Around the supervisor too: a signal that comes while engines end must not kill us.
        signals = stack.enter_context(_signals())
        generations = await stack.enter_async_context(
            open_generation_log(
                database,
                unwritten=settings.paths.unwritten_generations,
                retention=Retention(seconds=settings.generation_retention_seconds),
            )
        )
        ledger = await stack.enter_async_context(open_sql_swap_ledger(database))
        swaps = SwapTally(ledger)
        costs = await learned_costs(database)
        supervisor = await stack.enter_async_context(
            _supervisor(settings, engine, catalog, swaps, costs)
        )
        signals.on_stop(supervisor.begin_shutdown)
        signals.on_hurry(supervisor.hurry)
        info = ServerInfo(
            version=__version__,
            pid=os.getpid(),
            url=url_of(listener, is_tls=certificate is not None),
            engine=engine.label,
            started=time.monotonic(),
        )

        def on_listening(control_socket: str) -> None:
            record = ServerRecord(
                pid=info.pid,
                started=time.time(),
                url=info.url,
                socket=control_socket,
                version=info.version,
                certificate=str(files.certificate) if files else None,
            )
            stack.enter_context(publish_record(settings.paths, record))
            announce(
                ServeInfo(
                    url=info.url,
                    certificate=files.certificate if files else None,
                    data_dir=settings.data_dir,
                    engine=engine.label,
                    models=len(catalog.list_models()),
                    control_socket=control_socket,
                )
            )

        await serve(
            listener,
            Services(
                catalog=catalog,
                runtime=supervisor,
                logs=supervisor.logs,
                books=Books(log=generations, tracer=tracer),
                generations=SqlGenerationHistory(database, generations),
                swaps=ledger,
                meters=Meters(
                    swaps=swaps,
                    queued_generations=lambda: generations.waiting,
                    memory=machine_memory,
                    engines=LlamaServerCounters(supervisor.targets, catalog),
                ),
                readiness=(
                    database_check,
                    SupervisorTurning(supervisor, settings.stop_grace_seconds),
                ),
            ),
            default_ctx=settings.default_ctx,
            stop=signals.stop,
            hurry=signals.hurry,
            tuning=Tuning(limits, settings.default_model),
            info=info,
            tls=certificate.context if certificate else None,
            on_listening=on_listening,
        )


@asynccontextmanager
async def _supervisor(
    settings: Settings,
    engine: Engine,
    catalog: SqlModelCatalog,
    ledger: SwapLedger,
    costs: LaunchCosts,
) -> AsyncGenerator[Supervisor]:
    async with open_supervisor(
        _supervisor_settings(settings),
        policy=_policy(settings),
        catalog=catalog,
        engine_command=engine.command,
        paths=settings.paths,
        ledger=ledger,
        costs=costs,
    ) as supervisor:
        forget_listener = catalog.add_listener(supervisor.catalog_changed)
        try:
            yield supervisor
        finally:
            forget_listener()


class _Signals:
    """What the process is told by signals: the first ends it in peace, the second hurries."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self._on_stop: Callable[[], None] = lambda: None
        self._on_hurry: Callable[[], None] = lambda: None

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call back at the first signal, which may have come already."""
        self._on_stop = callback
        if self.stop.is_set():
            callback()

    def on_hurry(self, callback: Callable[[], None]) -> None:
        """Call back at each signal after the first."""
        self._on_hurry = callback

    def received(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
            self._on_hurry()
            return
        self.stop.set()
        self._on_stop()


@contextmanager
def _signals() -> Generator[_Signals]:
    loop = asyncio.get_running_loop()
    signals = _Signals()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, signals.received)
    try:
        yield signals
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _model_of(path: Path) -> NewModel:
    found = describe_model(path)
    return NewModel(
        name=found.stem,
        paths=found.paths,
        size_bytes=found.size_bytes,
        facts=found.facts,
        capabilities=found.capabilities,
    )


def _policy(settings: Settings) -> AdmissionPolicy:
    return AdmissionPolicy(
        max_resident=settings.max_resident,
        quantum_seconds=settings.quantum_seconds,
        queue_limit=settings.queue_limit,
        queue_seconds=settings.queue_seconds,
        idle_seconds=settings.idle_seconds,
    )


def _supervisor_settings(settings: Settings) -> SupervisorSettings:
    return SupervisorSettings(
        default_context=settings.default_ctx,
        default_parallel=settings.default_parallel,
        cache_ram_bytes=settings.cache_ram_bytes,
        load_stall_seconds=settings.load_stall_seconds,
        wedge_seconds=settings.wedge_seconds,
        stop_grace_seconds=settings.stop_grace_seconds,
        log_file_bytes=settings.log_file_bytes,
        log_file_count=settings.log_file_count,
    )


def _limits(loaded: LoadedSettings, files: int) -> Limits:
    names = {each.name for each in dataclasses.fields(Limits)}
    known = {each.name for each in dataclasses.fields(Settings)}
    limits = Limits(**{name: getattr(loaded.settings, name) for name in names & known})
    most = clients_within(files)
    if limits.max_connections <= most:
        return limits
    if loaded.origins["max_connections"].layer != Layer.DEFAULT:
        logger.warning("max_connections is %d: only %d files may be open", most, files)
    return dataclasses.replace(limits, max_connections=most)
