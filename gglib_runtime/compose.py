"""The composition root: which adapter fills which port, and what lives how long.

Everything that must be closed is entered here, in the order of dependency; nothing else in gglib
makes an adapter.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvloop
from anyio import to_thread
from sqlalchemy.engine import Engine as Database

from gglib_core import __version__
from gglib_core.launch_costs import LaunchCosts
from gglib_core.models import NewModel
from gglib_core.rate_limits import InMemoryRateLimiter
from gglib_core.swaps import SwapLedger
from gglib_proxy.books import Books
from gglib_proxy.control.context import ServerInfo
from gglib_proxy.door.door import Door
from gglib_proxy.limits import Limits
from gglib_proxy.meters import Meters
from gglib_proxy.server import serve
from gglib_proxy.services import Services, Tuning
from gglib_proxy.swap_tally import SwapTally
from gglib_runtime.catalog.cutting import cut_connections_later
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.reachable import open_database_check
from gglib_runtime.catalog.sql_catalog import SqlModelCatalog, open_sql_catalog
from gglib_runtime.catalog.sql_stored_models import SqlStoredModels
from gglib_runtime.catalog.store import SqlModelStore
from gglib_runtime.engines.discovery import Engine, find_engine
from gglib_runtime.generations.history import SqlGenerationHistory
from gglib_runtime.generations.writer import open_generation_log
from gglib_runtime.gguf.description import describe_model
from gglib_runtime.gguf.model_files import GgufModelFiles
from gglib_runtime.keys.access import VARIABLE as API_KEY_VARIABLE
from gglib_runtime.keys.access import access_line, check_access, is_local, provide_first_key
from gglib_runtime.keys.ring import SqlKeyRing
from gglib_runtime.keys.spending import SqlSpendHistory, open_spending
from gglib_runtime.keys.sql_api_keys import SqlApiKeys
from gglib_runtime.keys.store import SqlKeyStore
from gglib_runtime.listener import open_listener, url_of
from gglib_runtime.live_settings import open_live_settings
from gglib_runtime.log_output import Logging, open_logging
from gglib_runtime.machine_memory import machine_memory
from gglib_runtime.open_files import raise_file_limit
from gglib_runtime.process_signals import open_signals
from gglib_runtime.retention import Retention
from gglib_runtime.server_record import (
    ServeInfo,
    ServerRecord,
    hold_data_directory,
    publish_record,
)
from gglib_runtime.settings import LoadedSettings, Settings
from gglib_runtime.settings.parts import (
    door_rules_of,
    limits_of,
    limits_within,
    policy_of,
    supervisor_settings_of,
)
from gglib_runtime.span_export import open_tracing
from gglib_runtime.supervisor.engine_counters import LlamaServerCounters
from gglib_runtime.supervisor.opening import open_supervisor
from gglib_runtime.supervisor.supervisor import Supervisor
from gglib_runtime.supervisor.turning import SupervisorTurning
from gglib_runtime.swaps.sql_ledger import learned_costs, open_sql_swap_ledger
from gglib_runtime.tls import open_certificate, tls_files

Announce = Callable[[ServeInfo], None]
_CLOSE_SECONDS = 1.0
"""How long a database may keep us waiting for what nobody needs any more."""


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
        open_logging(settings.log_level, settings.log_format) as log,
        hold_data_directory(settings.paths),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        limits = limits_within(loaded, raise_file_limit())
        runner.run(_serve(loaded, limits, log, engine, extra, announce))
    return 0


async def _serve(
    loaded: LoadedSettings,
    limits: Limits,
    log: Logging,
    engine: Engine,
    extra: Sequence[NewModel],
    announce: Announce,
) -> None:
    settings = loaded.settings
    async with AsyncExitStack() as stack:
        # Around all else: a signal that comes while something ends must not kill us.
        signals = stack.enter_context(open_signals())
        files = tls_files(settings)
        certificate = stack.enter_context(open_certificate(files)) if files else None
        listener = stack.enter_context(
            open_listener(settings.listen_address, unix_mode=settings.unix_socket_mode)
        )
        is_loopback = listener.family != socket.AF_UNIX and is_local(listener)
        url = url_of(listener, is_tls=certificate is not None)
        database = stack.enter_context(open_database(settings.effective_database_url))
        await to_thread.run_sync(upgrade, database)
        keys = await _keys(settings, database, listener)
        catalog = await stack.enter_async_context(
            open_sql_catalog(database, extra=extra, also=[keys])
        )
        check_access(keys.current, is_local=is_local(listener), host=settings.host)
        live = await stack.enter_async_context(open_live_settings(loaded))
        database_check = await stack.enter_async_context(open_database_check(database))
        tracer = await stack.enter_async_context(
            open_tracing(os.environ, is_enabled=settings.otel_enabled)
        )
        retention = Retention(seconds=settings.generation_retention_seconds)
        limiter = InMemoryRateLimiter(settings.allowance, settings.limits)
        budgets_changed = await stack.enter_async_context(
            open_spending(limiter, SqlSpendHistory(database), keys)
        )
        # What is still asked when all is written can be asked again.
        stack.callback(cut_connections_later, database, _CLOSE_SECONDS)
        generations = await stack.enter_async_context(
            open_generation_log(
                database, unwritten=settings.paths.unwritten_generations, retention=retention
            )
        )
        ledger = await stack.enter_async_context(
            open_sql_swap_ledger(database, retention=retention)
        )
        swaps = SwapTally(ledger)
        costs = await learned_costs(database)
        supervisor = await stack.enter_async_context(
            _supervisor(settings, engine, catalog, swaps, costs)
        )
        signals.on_stop(supervisor.begin_shutdown)
        signals.on_hurry(supervisor.hurry)
        signals.on_reload(live.ask_to_reload)
        door = Door(door_rules_of(settings, keys.current, is_loopback=is_loopback))
        tuning = Tuning(limits, settings.default_model)

        def keys_changed() -> None:
            door.rules = dataclasses.replace(door.rules, keys=keys.current)

        def settings_changed(new: Settings) -> None:
            log.set_level(new.log_level)
            keys.set_auth_off(new.no_auth)
            door.rules = door_rules_of(new, keys.current, is_loopback=is_loopback)
            limiter.configure(new.allowance, new.limits)
            budgets_changed()
            retention.seconds = new.generation_retention_seconds
            supervisor.configure(supervisor_settings_of(new), policy_of(new))
            tuning.change(
                dataclasses.replace(limits_of(new), max_connections=limits.max_connections),
                new.default_model,
            )

        stack.callback(keys.add_listener(keys_changed))
        live.on_change(settings_changed)
        info = ServerInfo(
            version=__version__,
            pid=os.getpid(),
            url=url,
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
                    access=access_line(
                        keys.current, is_local=is_local(listener), is_auth_off=settings.no_auth
                    ),
                    needs_key=not keys.current.is_open,
                    missing_default=_missing_default(settings.default_model, catalog),
                )
            )

        counters = LlamaServerCounters(supervisor.targets, catalog)
        supervisor.before_stop(counters.read_last)
        await serve(
            listener,
            Services(
                catalog=catalog,
                runtime=supervisor,
                logs=supervisor.logs,
                door=door,
                books=Books(log=generations, limiter=limiter, tracer=tracer),
                generations=SqlGenerationHistory(database, generations),
                swaps=ledger,
                meters=Meters(
                    swaps=swaps,
                    queued_generations=lambda: generations.waiting,
                    memory=machine_memory,
                    engines=counters,
                ),
                readiness=(
                    database_check,
                    SupervisorTurning(supervisor, lambda: live.settings.stop_grace_seconds),
                ),
                configuration=live,
                keys=SqlApiKeys(
                    SqlKeyStore(database, settings.paths.pepper), after_change=catalog.catch_up
                ),
                models=SqlStoredModels(SqlModelStore(database), after_change=catalog.catch_up),
                files=GgufModelFiles(),
                log=log.memory,
            ),
            default_ctx=settings.default_ctx,
            stop=signals.stop,
            hurry=signals.hurry,
            tuning=tuning,
            info=info,
            tls=certificate.context if certificate else None,
            on_listening=on_listening,
        )


async def _keys(settings: Settings, database: Database, listener: socket.socket) -> SqlKeyRing:
    """The keys, still to be read; the first is made where the environment names one."""
    if secret := os.environ.get(API_KEY_VARIABLE):
        store = SqlKeyStore(database, settings.paths.pepper)
        await to_thread.run_sync(provide_first_key, store, secret)
    return SqlKeyRing(
        settings.paths.pepper, is_local=is_local(listener), is_auth_off=settings.no_auth
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
        supervisor_settings_of(settings),
        policy=policy_of(settings),
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


def _missing_default(name: str | None, catalog: SqlModelCatalog) -> str:
    return name if name is not None and catalog.resolve_model(name) is None else ""


def _model_of(path: Path) -> NewModel:
    found = describe_model(path)
    return NewModel(
        name=found.stem,
        paths=found.paths,
        size_bytes=found.size_bytes,
        facts=found.facts,
        capabilities=found.capabilities,
    )
