"""llama.cpp's server from the xllamacpp wheel, as a program with llama-server's command line.

    python -P embedded.py -m model.gguf --port 8080 --alias name …

It ends as llama-server does: with 0 after SIGTERM or SIGINT, 1 after a failed start, and by the
signal itself while it loads; but at once, without waiting for requests. The wheel's library exports
llama.cpp's own argument parser, so that every flag and LLAMA_ARG_* variable works; where that
parser cannot be called safely, a table of the flags that gglib emits stands in.

Runs by its path and imports nothing of gglib, so that it starts fast. Not here: what flags to give
(the supervisor), and ending when the parent dies (its wrapper around the child).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

FALLBACK_VARIABLE = "GGLIB_EMBEDDED_FALLBACK"
"""When set, the table is used though the native parser is there."""

TESTED_VERSION = "2026.10.11549"
"""The wheel whose parser is called: the symbol and the number below are no stable interface."""
_PARSER_SYMBOL = "_Z19common_params_parseiPPcR13common_params13llama_examplePFviS0_E"
_SERVER_EXAMPLE = 12
"""`LLAMA_EXAMPLE_SERVER`: the parser then takes the server's flags."""
_LEFT_TO_SERVER = -1
"""The number of slots before a flag sets it; llama-server then makes `_AUTO_PARALLEL`."""
_AUTO_PARALLEL = 4

_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)

# The wheel has no complete type stubs: it and its objects are opaque here.
Wheel = Any
Parameters = Any


class _Exit(Exception):
    """End the process with `code`; a message goes to stderr where llama.cpp has not said it."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal, which ends the process with 0; return 1 if the start failed."""
    # Until the model is loaded a signal ends the process at once, as it does llama-server: loading
    # holds the interpreter, so that a handler would wait for the end of it.
    for number in _ENDING_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    try:
        server = _start(arguments)
    except _Exit as end:
        if message := str(end):
            _say(message)
        return end.code
    _wait_for_signal()
    return _leave(server)


def _say(line: str) -> None:
    # To the descriptor, as llama.cpp does: stderr may be closed, or nobody may read it any more.
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="replace"))


def _leave(_still_referred_to: object) -> NoReturn:
    """End the process past the server's destructor; the kernel gives back all there is.

    The destructor waits 0.1 s for idle connections, and for ever when it is called just after the
    start. After a failed start the interpreter's own end is needed: it writes the rest of the log.
    """
    os._exit(0)


def _start(arguments: Sequence[str]) -> object:
    """Return the running server; it would end with the last reference to it."""
    try:
        wheel: Wheel = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise _Exit(1, f"error: the embedded engine cannot be loaded: {error}") from error
    parameters = _parse(wheel, arguments)
    if not parameters.model.path:
        raise _Exit(1, "error: the embedded engine needs a model: give it with --model FILE")
    _settle(parameters)
    try:
        return wheel.Server(parameters)
    except RuntimeError as error:
        # The wheel's own words are the same for every cause; llama.cpp has logged the real one.
        raise _Exit(1) from error
    except Exception as error:
        raise _Exit(1, f"error: the server did not start: {error!r}") from error


def _parse(wheel: Wheel, arguments: Sequence[str]) -> Parameters:
    if FALLBACK_VARIABLE not in os.environ and _is_tested(wheel):
        parameters = _parse_natively(wheel, arguments)
        if parameters is not None:
            return parameters
    return _parse_by_table(wheel, arguments)


def _is_tested(wheel: Wheel) -> bool:
    # A build for another device has a local version: 1.2.3+cu128.
    return wheel.__version__.partition("+")[0] == TESTED_VERSION


def _parse_natively(wheel: Wheel, arguments: Sequence[str]) -> Parameters | None:
    """Let llama.cpp fill in a CommonParams; None where this wheel does not lend itself to it."""
    parse = _native_parser(wheel)
    parameters = wheel.CommonParams()
    address = id(parameters) + object.__basicsize__
    if parse is None or not _has_expected_layout(parameters, address):
        return None
    argv = [b"llama-server", *map(os.fsencode, arguments)]
    vector = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
    # Prints its own errors; --version and --help end the process.
    if not parse(len(argv), vector, address, _SERVER_EXAMPLE, None):
        raise _Exit(1)
    return parameters


def _native_parser(wheel: Wheel) -> Callable[..., bool] | None:
    try:
        parse = getattr(ctypes.CDLL(wheel.xllamacpp.__file__), _PARSER_SYMBOL)
    except (OSError, AttributeError):
        return None
    pointer = ctypes.c_void_p
    parse.restype = ctypes.c_bool
    parse.argtypes = [ctypes.c_int, pointer, pointer, ctypes.c_int, pointer]
    return parse


def _has_expected_layout(parameters: Parameters, address: int) -> bool:
    """Whether the C++ structure begins right behind the object's header."""
    first = (ctypes.c_int32 * 4).from_address(address)
    known = [parameters.n_predict, parameters.n_ctx, parameters.n_batch, parameters.n_ubatch]
    return list(first) == known


def _parse_by_table(wheel: Wheel, arguments: Sequence[str]) -> Parameters:
    """Set public attributes of a CommonParams, from the flags that gglib itself emits."""
    parameters = wheel.CommonParams()
    parameters.n_parallel = _LEFT_TO_SERVER
    if keys := os.environ.get("LLAMA_API_KEY"):
        parameters.api_keys = _names(keys)
    remaining = iter(arguments)
    for flag in remaining:
        if flag == "--version":
            raise _Exit(0, f"version: xllamacpp {wheel.__version__}")
        if flag in _SWITCHES:
            _assign(parameters, _SWITCHES[flag])
        elif flag in _VALUES:
            _assign_value(parameters, flag, next(remaining, None))
        else:
            raise _Exit(1, f"error: invalid argument: {flag}{_hint(wheel)}")
    return parameters


def _assign_value(parameters: Parameters, flag: str, text: str | None) -> None:
    attribute, convert = _VALUES[flag]
    if text is None:
        raise _Exit(1, f'error while handling argument "{flag}": expected value for argument')
    try:
        _assign(parameters, {attribute: convert(text)})
    except (ValueError, KeyError, OverflowError) as error:
        raise _Exit(1, f'error while handling argument "{flag}": invalid value {text!r}') from error


def _hint(wheel: Wheel) -> str:
    if _is_tested(wheel):
        return ""
    return (
        f" (xllamacpp {wheel.__version__} takes gglib's own flags only; for all of llama-server's "
        f"install xllamacpp=={TESTED_VERSION})"
    )


def _assign(parameters: Parameters, values: Mapping[str, object]) -> None:
    for path, value in values.items():
        *parents, attribute = path.split(".")
        owner = functools.reduce(getattr, parents, parameters)
        setattr(owner, attribute, value)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _alias(text: str) -> set[str]:
    return set(_names(text))


def _gpu_layers(text: str) -> int:
    named = {"auto": -1, "all": -2}
    return named[text] if text in named else int(text)


_POOLING = {"none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}

_SWITCHES: Mapping[str, Mapping[str, object]] = {
    "--embeddings": {"embedding": True},
    "--rerank": {"embedding": True, "pooling_type": _POOLING["rank"]},
    "--metrics": {"endpoint_metrics": True},
    "--props": {"endpoint_props": True},
    "--slots": {"endpoint_slots": True},
    "--no-slots": {"endpoint_slots": False},
    "--no-webui": {"ui": False},
    "--no-warmup": {"warmup": False},
}

_VALUES: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "-m": ("model.path", str),
    "--model": ("model.path", str),
    "--mmproj": ("mmproj.path", str),
    "--alias": ("model_alias", _alias),
    "--host": ("hostnames", _names),
    "--port": ("port", int),
    "--api-key": ("api_keys", _names),
    "-c": ("n_ctx", int),
    "--ctx-size": ("n_ctx", int),
    "-np": ("n_parallel", int),
    "--parallel": ("n_parallel", int),
    "-t": ("cpuparams.n_threads", int),
    "--threads": ("cpuparams.n_threads", int),
    "--threads-http": ("n_threads_http", int),
    "-ngl": ("n_gpu_layers", _gpu_layers),
    "--n-gpu-layers": ("n_gpu_layers", _gpu_layers),
    "-b": ("n_batch", int),
    "--batch-size": ("n_batch", int),
    "-ub": ("n_ubatch", int),
    "--ubatch-size": ("n_ubatch", int),
    "--pooling": ("pooling_type", _POOLING.__getitem__),
    "--cache-ram": ("cache_ram_mib", int),
}


def _settle(parameters: Parameters) -> None:
    """Do what llama-server does between parsing and serving."""
    if parameters.embedding and parameters.n_batch > parameters.n_ubatch:
        parameters.n_batch = parameters.n_ubatch
    if parameters.n_parallel == _LEFT_TO_SERVER:
        parameters.n_parallel = _AUTO_PARALLEL
        parameters.kv_unified = True


def _wait_for_signal() -> None:
    """Return at the first SIGTERM or SIGINT.

    Each puts a byte into a pipe. A lock that a handler releases would not do: a signal just before
    the wait would be missed, and one within it would deadlock.
    """
    arrived, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in _ENDING_SIGNALS:
        signal.signal(number, _do_nothing)
    _say("embedded engine: serving until SIGTERM")
    os.read(arrived, 1)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Keep the signal from its default effect."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
