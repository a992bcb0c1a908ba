"""`gglib simulate`: a model server without a model, until it is told to stop.

Not here: the simulator (`gglib_runtime.simulator`).
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gglib_runtime.cli.listening import explained
from gglib_runtime.cli.output import abandon_output
from gglib_runtime.listen_address import ListenAddress, listen_address

if TYPE_CHECKING:
    import socket

    from gglib_runtime.simulator.behaviour import Behaviour
    from gglib_runtime.simulator.endpoint import EndpointOptions

_DEFAULT_PORT = 8080
_MAX_CONCURRENT = 10_000
_CONTEXT = 131_072
_MODELS = (
    "claude-3-5-haiku-latest",
    "claude-3-5-sonnet-latest",
    "claude-3-opus-latest",
    "gemini-1.5-flash",
    "gemini-1.5-pro",
    "gpt-3.5-turbo",
    "gpt-4",
    "gpt-4-turbo",
    "gpt-4o",
    "gpt-4o-mini",
    "llama-3-70b",
    "llama-3-8b",
    "text-embedding-3-small",
)
"""That it lists; it answers for any name."""


@click.command()
@click.option("--host", default="127.0.0.1", metavar="TEXT", show_default=True, help="Address.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_DEFAULT_PORT,
    metavar="N",
    show_default=True,
    help="Port; 0 is any that is free.",
)
@click.option(
    "--profile",
    metavar="NAME|FILE",
    help="Latencies: a profile, a TOML file of one, or measurements in CSV or JSON; `auto` goes by "
    "the model's name, `none` answers at once.  [default: auto]",
)
@click.option("--scenario", metavar="NAME|FILE", help="What goes wrong, and when.")
@click.option("--seed", type=int, metavar="N", help="Of all chance.  [default: 0]")
@click.option(
    "--max-concurrent",
    type=click.IntRange(1),
    metavar="N",
    help=f"Requests at once; more are told that it is overloaded.  [default: {_MAX_CONCURRENT}]",
)
@click.option(
    "--api-key",
    "api_keys",
    multiple=True,
    metavar="KEY",
    help="A key that opens it; may be repeated. Without one every well-formed key does.",
)
@click.option("--admin-key", default="", metavar="KEY", help="Opens /admin from other machines.")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="Serve https.")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Its key.")
@click.option("--cors/--no-cors", default=True, show_default=True, help="For pages of any origin.")
@click.option(
    "--behaviour",
    "behaviour_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML or JSON with faults, limits and all else that it can do.",
)
@click.option("--log-answers", is_flag=True, help="One line of JSON for each answer, to stderr.")
def simulate(
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    **options: Any,  # noqa: ANN401 -- as the options above have them
) -> int:
    """Run a model server without a model: realistic latencies and every kind of fault.

    It speaks OpenAI's, Anthropic's and llama-server's APIs, for any model's name.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    try:
        address = listen_address(host, port)
    except ValueError as error:
        raise click.UsageError(f"--host {host!r} is no address.") from error
    return _run(address, tls_cert, tls_key, options)


def _run(
    address: ListenAddress, tls_cert: Path | None, tls_key: Path | None, options: dict[str, Any]
) -> int:
    from gglib_core.errors import ConfigError
    from gglib_runtime.listener import open_listener, url_of
    from gglib_runtime.open_files import raise_file_limit
    from gglib_runtime.simulator.behaviour import BadBehaviour
    from gglib_runtime.simulator.endpoint import EndpointOptions

    try:
        behaviour = _behaviour(options)
        raise_file_limit()
        with ExitStack() as stack, explained(address):
            tls = None
            if tls_cert is not None and tls_key is not None:
                from gglib_runtime.tls import TlsFiles, open_certificate

                files = TlsFiles(certificate=tls_cert, key=tls_key)
                tls = stack.enter_context(open_certificate(files)).context
            listener = stack.enter_context(open_listener(address))
            log = _log_answer if options["log_answers"] else None
            served = EndpointOptions(cors=options["cors"], tls=tls, log_answer=log)
            url = url_of(listener, is_tls=tls is not None)
            _serve(listener, url, behaviour, served, options)
    except BadBehaviour as error:
        raise ConfigError(str(error)) from error
    return 0


def _behaviour(options: dict[str, Any]) -> Behaviour:
    """What the environment, the file and the flags say, the latter first."""
    from gglib_runtime.simulator.behaviour import (
        behaviour_from_file,
        read_behaviour,
        told_by,
    )
    from gglib_runtime.simulator.latency.library import AUTO

    path: Path | None = options["behaviour_file"]
    base = read_behaviour(os.environ) if path is None else behaviour_from_file(path)
    return told_by(
        base,
        seed=options["seed"],
        profile=options["profile"] or base.profile or AUTO,
        scenario=options["scenario"],
        max_concurrent=options["max_concurrent"] or base.max_concurrent or _MAX_CONCURRENT,
    )


def _serve(
    listener: socket.socket,
    url: str,
    behaviour: Behaviour,
    served: EndpointOptions,
    options: dict[str, Any],
) -> None:
    import asyncio

    import uvloop

    from gglib_runtime.simulator import records
    from gglib_runtime.simulator.arguments import Arguments
    from gglib_runtime.simulator.endpoint import serve_endpoint
    from gglib_runtime.simulator.engine import Engine
    from gglib_runtime.simulator.log import EngineLog
    from gglib_runtime.simulator.records import Recorder

    arguments = Arguments(
        alias="simulator",
        names=_MODELS,
        is_alone=True,
        keys=options["api_keys"],
        admin_key=options["admin_key"],
        slots=behaviour.max_concurrent or _MAX_CONCURRENT,
        slot_context=_CONTEXT,
        ubatch=_CONTEXT,
        embeddings=True,
    )

    async def live() -> None:
        recorder = Recorder(os.environ.get(records.ENVIRONMENT_NAME), "simulator")
        engine = Engine(arguments, behaviour, EngineLog(is_on=False), recorder)
        await serve_endpoint(
            engine, listener, served, on_ready=lambda: _announce(url, behaviour, options)
        )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live())


def _announce(url: str, behaviour: Behaviour, options: dict[str, Any]) -> None:
    """Say where it is, and how to talk to it."""
    key = options["api_keys"][0] if options["api_keys"] else "any-key"
    plays = f", scenario {behaviour.scenario}" if behaviour.scenario else ""
    text = f"""gglib simulates on {url} (profile {behaviour.profile}{plays}); Ctrl-C ends it.

  curl {url}/v1/chat/completions -H 'Authorization: Bearer {key}' \\
    -d '{{"model": "gpt-4o", "messages": [{{"role": "user", "content": "Hello"}}]}}'

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{key}")
"""
    try:
        click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:  # who started it has stopped reading, and that ends no server
        abandon_output()


def _log_answer(line: bytes) -> None:
    try:
        os.write(sys.stderr.fileno(), line)
    except OSError:  # nobody reads it any more
        return
