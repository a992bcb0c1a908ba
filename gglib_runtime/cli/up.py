"""`gglib up`: from nothing to a first answer.

Not here: the server (`gglib_runtime.compose`), finding an engine, the demo model itself, and what
is told of it all (`welcome`).
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gglib_runtime.cli.catalog import open_store
from gglib_runtime.cli.endpoint import Endpoint
from gglib_runtime.cli.failures import CommandFailed, ExitCode, NoServer, report
from gglib_runtime.cli.first_answer import ask
from gglib_runtime.cli.key_store import open_key_store
from gglib_runtime.cli.listening import explained, next_free_port
from gglib_runtime.cli.options import with_settings
from gglib_runtime.cli.output import abandon_output, note
from gglib_runtime.cli.server import find_server
from gglib_runtime.cli.welcome import say_answer, say_next_steps
from gglib_runtime.listen_address import TcpAddress
from gglib_runtime.server_record import read_record

if TYPE_CHECKING:
    from gglib_core.models import Model
    from gglib_runtime.catalog.store import SqlModelStore
    from gglib_runtime.paths import DataPaths
    from gglib_runtime.server_record import ServeInfo
    from gglib_runtime.settings import LoadedSettings, Settings

DEMO_MODEL = "gglib-demo"
_JOIN_SECONDS = 5.0


@click.command()
@click.option("--check", "is_check", is_flag=True, help="End after the first answer.")
@with_settings("host", "port", "tls_cert", "tls_key", "no_auth", "llama_server")
def up(loaded: LoadedSettings, is_check: bool) -> int:
    """Start the endpoint and send a first request through it.

    Finds a llama-server, makes a demo model if the catalog is empty, and takes the next port if the
    usual one is taken. Running it again is safe.
    """
    from gglib_runtime.engines.discovery import find_engine

    loaded = _calmed(loaded)
    settings = loaded.settings
    if (running := _running(settings)) is not None:
        endpoint, model = running
        click.echo(f"gglib runs already at {endpoint.url}")
        problem = _problem(endpoint, model) if is_check else ""
        if problem:
            note(f"gglib: {problem}")
        say_next_steps(endpoint, model)
        return ExitCode.FAILURE if problem else ExitCode.OK
    click.echo(f"Engine: {find_engine(settings.llama_server, os.environ).label}")
    with open_store(settings) as store:
        _provide_model(store, settings.paths)
        model = model_to_ask(store.list(), settings.default_model)
    return _serve(_with_free_port(loaded), FirstRequest(model, is_check=is_check))


class FirstRequest:
    """Asks a model once the endpoint is there, and tells the user, while the server runs."""

    def __init__(self, model: str | None, *, is_check: bool) -> None:
        self._model = model
        self._is_check = is_check
        self._is_answered = False
        self._thread: threading.Thread | None = None

    def announce(self, info: ServeInfo) -> None:
        """Begin; the server's loop is not held up."""
        endpoint = Endpoint(url=info.url, certificate=info.certificate, needs_key=info.needs_key)
        arguments = (endpoint, info.access)
        self._thread = threading.Thread(target=self._run, args=arguments, daemon=True)
        self._thread.start()

    def conclude(self, code: int) -> int:
        """What to exit with, the server having ended with `code`."""
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)
        if code or not self._is_check:
            return code
        return ExitCode.OK if self._is_answered else ExitCode.FAILURE

    def _run(self, endpoint: Endpoint, access: str) -> None:
        try:
            self._tell(endpoint, access)
        except BrokenPipeError:  # who started it has stopped reading, and that ends no server
            abandon_output()
        except Exception as error:
            report(error)
        finally:
            if self._is_check:
                os.kill(os.getpid(), signal.SIGTERM)

    def _tell(self, endpoint: Endpoint, access: str) -> None:
        click.echo(f"gglib is up at {endpoint.url}")
        if access:
            click.echo(f"Access: {access}.")
        problem = _problem(endpoint, self._model)
        self._is_answered = not problem
        if not endpoint.is_open():  # ended meanwhile, and so nothing is worth telling
            return
        if problem:
            note(f"gglib: {problem}")
        say_next_steps(endpoint, self._model)
        if not self._is_check:
            click.echo("\nCtrl-C ends it.")


def model_to_ask(models: Sequence[Model], default: str | None) -> str | None:
    """The model whose answer costs least, unless the settings name one; None if none can chat."""
    from gglib_core.catalog import CatalogSnapshot
    from gglib_core.models import Capability

    named = CatalogSnapshot(models).resolve_model(default) if default else None
    able = [model for model in models if Capability.CHAT in model.capabilities]
    if named is not None and named in able:
        return named.name
    return min(able, key=lambda model: model.size_bytes).name if able else None


def _serve(loaded: LoadedSettings, request: FirstRequest) -> int:
    from gglib_runtime.compose import run_serve

    with explained(loaded.settings.listen_address):
        return request.conclude(run_serve(loaded, (), request.announce))


def _running(settings: Settings) -> tuple[Endpoint, str | None] | None:
    """The server of this directory, and a model to ask: one that is loaded, if any is."""

    def cost(entry: dict[str, Any]) -> tuple[bool, bool]:
        is_default = settings.default_model in (entry["id"], *entry["aliases"])
        return entry["status"] != "loaded", not is_default

    try:
        server = find_server(settings.paths)
        able = [entry for entry in server.models() if "chat" in entry["capabilities"]]
        url = server.status()["url"]
    except NoServer:
        return None
    record = read_record(settings.paths)
    certificate = Path(record.certificate) if record and record.certificate else None
    with open_key_store(settings) as store:
        needs_key = bool(store.list()) and not settings.no_auth
    endpoint = Endpoint(url=url, certificate=certificate, needs_key=needs_key)
    return endpoint, min(able, key=cost)["id"] if able else None


def _problem(endpoint: Endpoint, model: str | None) -> str:
    """Ask, and show the answer; else why there is none, which ends no server."""
    if model is None:
        return "No model in the catalog can chat, so no request was sent."
    secret = os.environ.get("GGLIB_API_KEY") if endpoint.needs_key else None
    if endpoint.needs_key and not secret:
        return "Requests need an API key, so none was sent. Set GGLIB_API_KEY to one."
    click.echo(f"Asking {model} …")
    try:
        say_answer(ask(endpoint, model, secret))
    except CommandFailed as error:
        return error.message
    return ""


def _provide_model(store: SqlModelStore, paths: DataPaths) -> None:
    """Make the demo model if the catalog is empty, or if its own file has gone."""
    from gglib_core.errors import CatalogError
    from gglib_core.models import NewModel
    from gglib_runtime.gguf.demo import write_demo_model
    from gglib_runtime.gguf.description import describe_model

    models, path = store.list(), paths.models / f"{DEMO_MODEL}.gguf"
    is_listed = any(model.path == str(path) for model in models)
    if (models and not is_listed) or (is_listed and path.exists()):
        return
    paths.create()
    write_demo_model(path)
    if is_listed:
        return
    described = describe_model(path)
    new = NewModel(
        name=DEMO_MODEL,
        paths=described.paths,
        size_bytes=described.size_bytes,
        facts=described.facts,
        capabilities=described.capabilities,
        tags=("demo",),
    )
    try:
        store.add(new)
    except CatalogError:
        if not store.list():
            raise
        return  # another one was quicker
    click.echo(f"Made a demo model, {DEMO_MODEL}: its weights are random, so it writes nonsense.")


def _calmed(loaded: LoadedSettings) -> LoadedSettings:
    """Log lines would stand between what a newcomer is told, unless they are wished for."""
    return replace(loaded.sources, defaults={"log_level": "warning"}).load()


def _with_free_port(loaded: LoadedSettings) -> LoadedSettings:
    address = loaded.settings.listen_address
    if not isinstance(address, TcpAddress):
        return loaded
    port = next_free_port(address)
    if port == address.port:
        return loaded
    click.echo(f"Port {address.port} is taken; using {port}.")
    assignments = (*loaded.sources.assignments, f"port={port}")
    return replace(loaded.sources, assignments=assignments).load()
