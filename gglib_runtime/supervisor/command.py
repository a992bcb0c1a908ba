"""The command line and the environment of an engine, from what is to be launched.

Pure. Not here: which engine, which port, and starting it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gglib_core.models import Capability, LaunchSpec

HOST = "127.0.0.1"
_MIB = 1024**2

_HTTP_THREADS = 512
"""A connection takes a thread of llama-server's for its whole life. Those beyond the fixed number
are started by need, but a burst that comes while some idle is counted wrongly: measured, 48 of 64
connections at once waited 5 to 10 s. A thread that idles costs 8 KiB."""

# They change llama-server's flags behind our back; AIP_MODE even moves its port.
_SCRUBBED = ("LLAMA_ARG_", "LLAMA_API_KEY", "LLAMA_SERVER_", "LLAMA_TRACE", "AIP_")
_OURS = "GGLIB_"
_SECRET_WORDS = ("KEY", "SECRET", "TOKEN", "PASSWORD", "DATABASE_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchDefaults:
    """What holds for a launch where its model does not say."""

    parallel: int
    cache_ram_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """Where an engine is to listen, and the key that opens it."""

    port: int
    api_key: str


def build_command(
    engine: Sequence[str],
    spec: LaunchSpec,
    *,
    context: int,
    address: EngineAddress,
    defaults: LaunchDefaults,
) -> tuple[str, ...]:
    """The engine's whole argv; the user's own arguments come last, so that they win."""
    return (
        *engine,
        *("--host", HOST, "--port", str(address.port)),
        *("-m", spec.path, "--alias", spec.name),
        *_size_flags(spec, context, defaults),
        *_capability_flags(spec, context),
        *("--threads-http", str(_HTTP_THREADS)),
        *("--cache-ram", str(defaults.cache_ram_bytes // _MIB), "--no-webui"),
        *spec.arguments,
    )


def build_environment(
    environ: Mapping[str, str], spec: LaunchSpec, address: EngineAddress
) -> dict[str, str]:
    """The engine's environment: ours without what is not its business, then the model's."""
    kept = {name: value for name, value in environ.items() if not _is_withheld(name)}
    return kept | dict(spec.environment) | {"LLAMA_API_KEY": address.api_key}


def _size_flags(spec: LaunchSpec, context: int, defaults: LaunchDefaults) -> list[str]:
    # Without -np the slots share one pool, whose overflow fails every running request.
    parallel = spec.parallel or defaults.parallel
    flags = ["-c", str(context * parallel), "-np", str(parallel)]
    if spec.threads is not None:
        flags += ["-t", str(spec.threads)]
    if spec.gpu_layers is not None:
        flags += ["-ngl", spec.gpu_layers]
    return flags


def _capability_flags(spec: LaunchSpec, context: int) -> list[str]:
    flags: list[str] = []
    if Capability.RERANK in spec.capabilities:
        flags.append("--rerank")
    elif Capability.EMBEDDINGS in spec.capabilities:
        flags.append("--embeddings")
        if spec.is_causal and spec.pooling is None:
            flags += ["--pooling", "mean"]
    if flags:
        # An input must fit into one batch, or it gets 500; the default is 512 tokens.
        flags += ["-b", str(context), "-ub", str(context)]
    return flags


def _is_withheld(name: str) -> bool:
    is_our_secret = name.startswith(_OURS) and any(word in name for word in _SECRET_WORDS)
    return is_our_secret or name.startswith(_SCRUBBED)
