"""llama.cpp's server from the xllamacpp wheel, as a program with llama-server's command line.

    python -P embedded.py -m model.gguf --port 8080 --alias name …

It ends as llama-server does: 0 after SIGTERM or SIGINT, 1 after a failed start or a second signal,
by the signal itself while it loads. The wheel's library exports llama.cpp's own argument parser, so
that every flag and LLAMA_ARG_* variable works; where that parser cannot be called safely, a table
of the flags that gglib emits stands in.

Runs by its path and imports nothing of gglib, so that it starts fast. Not here: what flags to give
(the supervisor), and ending when the parent dies (its wrapper around the child).
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

FALLBACK_VARIABLE = "GGLIB_EMBEDDED_FALLBACK"
"""When set, the table is used though the native parser is there."""

_PARSER_SYMBOL = "_Z19common_params_parseiPPcR13common_params13llama_examplePFviS0_E"
_SERVER_EXAMPLE = 12
"""`LLAMA_EXAMPLE_SERVER`: the parser then takes the server's flags."""
_AUTO_PARALLEL = 4
"""Slots that llama-server makes when the number is left to it."""

# The wheel has no complete type stubs: it and its objects are opaque here.
Wheel = Any
Parameters = Any


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal; the return value is the exit code."""
    # Until the model is loaded a signal ends the process at once, as it does llama-server; loading
    # holds the interpreter, so that a handler would wait for the end of it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        xllamacpp: Any = importlib.import_module("xllamacpp")
    except ImportError as error:
        return _fail(f"the embedded engine cannot be loaded: {error}")
    parameters = _parse(xllamacpp, arguments)
    if not parameters.model.path:
        return _fail("the embedded engine needs a model: give it with --model FILE")
    _settle(parameters)
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError:
        return _fail("exiting due to a failed start; the lines above say why")
    return _serve_until_signal([server])


def _parse(xllamacpp: Wheel, arguments: Sequence[str]) -> Parameters:
    if FALLBACK_VARIABLE not in os.environ:
        parameters = _parse_natively(xllamacpp, arguments)
        if parameters is not None:
            return parameters
    return _parse_by_table(xllamacpp, arguments)


def _parse_natively(xllamacpp: Wheel, arguments: Sequence[str]) -> Parameters | None:
    """Let llama.cpp fill in a CommonParams; None where this wheel does not lend itself to it."""
    parse = _native_parser(xllamacpp)
    if parse is None:
        return None
    parameters = xllamacpp.CommonParams()
    address = id(parameters) + object.__basicsize__
    if not _has_expected_layout(parameters, address):
        return None
    argv = [b"llama-server", *map(os.fsencode, arguments)]
    vector = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
    sys.stdout.flush()
    # Prints its own errors; --version and --help end the process.
    if not parse(len(argv), vector, address, _SERVER_EXAMPLE, None):
        raise SystemExit(1)
    return parameters


def _native_parser(xllamacpp: Wheel) -> Callable[..., bool] | None:
    try:
        parse = getattr(ctypes.CDLL(xllamacpp.xllamacpp.__file__), _PARSER_SYMBOL)
    except (OSError, AttributeError):
        return None
    pointer = ctypes.c_void_p
    parse.restype = ctypes.c_bool
    parse.argtypes = [ctypes.c_int, pointer, pointer, ctypes.c_int, pointer]
    return parse


def _has_expected_layout(parameters: Parameters, address: int) -> bool:
    """Whether the C++ structure begins right behind the object's header, as in the pinned wheel."""
    first = (ctypes.c_int32 * 4).from_address(address)
    known = [parameters.n_predict, parameters.n_ctx, parameters.n_batch, parameters.n_ubatch]
    return list(first) == known


def _parse_by_table(xllamacpp: Wheel, arguments: Sequence[str]) -> Parameters:
    """Set the public attributes of a CommonParams from the flags that gglib itself emits."""
    parser = _table()
    chosen = parser.parse_args(arguments)
    if chosen.version:
        sys.stderr.write(f"version: xllamacpp {xllamacpp.__version__}\n")
        raise SystemExit(0)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = chosen.model
    parameters.model_alias = {name for name in chosen.alias.split(",") if name}
    parameters.hostnames = chosen.host.split(",")
    parameters.port = chosen.port
    keys = chosen.api_key or os.environ.get("LLAMA_API_KEY", "")
    parameters.api_keys = [key for key in keys.split(",") if key]
    parameters.n_ctx = chosen.ctx_size
    parameters.n_parallel = chosen.parallel
    parameters.endpoint_metrics = chosen.metrics
    parameters.endpoint_slots = chosen.slots
    parameters.endpoint_props = chosen.props
    parameters.ui = chosen.webui
    parameters.warmup = chosen.warmup
    parameters.embedding = chosen.embeddings or chosen.rerank
    _set_pooling(xllamacpp, parameters, "rank" if chosen.rerank else chosen.pooling)
    _set_given(parameters, chosen)
    return parameters


def _table() -> argparse.ArgumentParser:
    parser = _ArgumentParser(prog="llama-server", allow_abbrev=False)
    add = parser.add_argument
    switch = argparse.BooleanOptionalAction
    add("--version", action="store_true")
    add("-m", "--model", default="")
    add("-a", "--alias", default="")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8080)
    add("--api-key", default="")
    add("-c", "--ctx-size", type=int, default=0)
    add("-np", "--parallel", type=int, default=-1)
    add("-t", "--threads", type=int)
    add("-ngl", "--gpu-layers", "--n-gpu-layers", type=_gpu_layers)
    add("-b", "--batch-size", type=int)
    add("-ub", "--ubatch-size", type=int)
    add("-cram", "--cache-ram", type=int)
    add("--mmproj")
    add("--embeddings", "--embedding", action="store_true")
    add("--rerank", "--reranking", action="store_true")
    add("--pooling", choices=("none", "mean", "cls", "last", "rank"))
    add("--metrics", action="store_true")
    add("--props", action="store_true")
    add("--slots", action=switch, default=True)
    add("--webui", "--ui", action=switch, default=True)
    add("--warmup", action=switch, default=True)
    return parser


class _ArgumentParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # llama-server's exit code, and its word for it, by which a failed start is classified.
        self.exit(1, f"error: invalid argument: {message}\n")


def _gpu_layers(text: str) -> int:
    named = {"auto": -1, "all": -2}
    return named[text] if text in named else int(text)


def _set_pooling(xllamacpp: Wheel, parameters: Parameters, pooling: str | None) -> None:
    if pooling:
        name = f"LLAMA_POOLING_TYPE_{pooling.upper()}"
        parameters.pooling_type = getattr(xllamacpp.llama_pooling_type, name)


def _set_given(parameters: Parameters, chosen: argparse.Namespace) -> None:
    given = {
        "n_gpu_layers": chosen.gpu_layers,
        "n_batch": chosen.batch_size,
        "n_ubatch": chosen.ubatch_size,
        "cache_ram_mib": chosen.cache_ram,
    }
    for name, value in given.items():
        if value is not None:
            setattr(parameters, name, value)
    if chosen.threads is not None:
        parameters.cpuparams.n_threads = chosen.threads
    if chosen.mmproj is not None:
        parameters.mmproj.path = chosen.mmproj


def _settle(parameters: Parameters) -> None:
    """Do what llama-server does between parsing and serving."""
    if parameters.embedding and parameters.n_batch > parameters.n_ubatch:
        parameters.n_batch = parameters.n_ubatch
    if parameters.n_parallel < 0:
        parameters.n_parallel = _AUTO_PARALLEL
        parameters.kv_unified = True


def _serve_until_signal(server: list[object]) -> int:
    """Wait for a signal, then end the server, the only item of `server`."""
    asked = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            sys.stderr.write("Received second interrupt, terminating immediately.\n")
            sys.stderr.flush()
            os._exit(1)
        asked.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    asked.wait()
    # The server's destructor waits for requests in flight: in a thread, so that this one goes on
    # taking signals.
    ending = threading.Thread(target=server.clear)
    ending.start()
    ending.join()
    return 0


def _fail(reason: str) -> int:
    sys.stderr.write(f"error: {reason}\n")
    return 1


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    # Past the interpreter's own end, which the native library does not always survive.
    os._exit(code)
