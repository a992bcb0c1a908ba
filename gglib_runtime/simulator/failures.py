"""Loads that fail: llama-server's last log lines for each class, as measured on a real one."""

from __future__ import annotations

from gglib_runtime.simulator.behaviour import LoadFailure

_FAILED = (
    "E llama_model_load_from_file_impl: failed to load model",
    "E cmn  common_init_: failed to load model '{model}'",
    "E srv    load_model: failed to load model, '{model}'",
    "I srv    operator(): operator(): cleaning up before exit...",
    "E srv          init: exiting due to model loading error",
)
_CONTEXT_ERROR = "E llama_init_from_model: failed to initialize the context: "
_LOAD_ERROR = "E llama_model_load: error loading model: "

_LINES: dict[LoadFailure, tuple[str, ...]] = {
    "bad_file": (
        "E gguf_init_from_file: invalid magic characters: 'GARB', expected 'GGUF'",
        _LOAD_ERROR + "llama_model_loader: failed to load model from {model}",
        *_FAILED,
    ),
    "unknown_architecture": (
        _LOAD_ERROR + "error loading model architecture: unknown model architecture: 'simulated'",
        *_FAILED,
    ),
    "out_of_memory": (
        "E ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 9663676416",
        _CONTEXT_ERROR + "failed to allocate buffer for kv cache",
        *_FAILED[1:],
    ),
    "port_taken": (
        "E srv         start: couldn't bind HTTP server socket, hostname: {host}, port: {port}",
        "I srv    operator(): operator(): cleaning up before exit...",
        "E srv  llama_server: exiting due to HTTP server error",
    ),
    "bad_flag": ("error: invalid argument: --simulated-bad-flag",),
    "killed": (),
}


def failure_lines(failure: LoadFailure, *, model: str, host: str, port: int) -> list[str]:
    """The lines that llama-server ends with when it fails in this way, without time stamps."""
    return [line.format(model=model, host=host, port=port) for line in _LINES[failure]]
