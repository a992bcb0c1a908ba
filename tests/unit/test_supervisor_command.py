"""The command line and the environment that an engine is started with."""

from __future__ import annotations

from typing import Any

import pytest

from gglib_core.models import Capability, LaunchSpec
from gglib_runtime.supervisor.command import (
    _HTTP_THREADS,
    EngineAddress,
    LaunchDefaults,
    build_command,
    build_environment,
)

ADDRESS = EngineAddress(port=4711, api_key="secret")
DEFAULTS = LaunchDefaults(parallel=4, cache_ram_bytes=512 * 1024**2)
CHAT = frozenset({Capability.CHAT})
EMBEDDINGS = frozenset({Capability.EMBEDDINGS})
RERANK = frozenset({Capability.RERANK})


def spec(**fields: Any) -> LaunchSpec:
    given: dict[str, Any] = {
        "model_id": 1,
        "name": "alpha",
        "path": "/models/alpha.gguf",
        "size_bytes": 1,
        "capabilities": CHAT,
    }
    return LaunchSpec(**given | fields)


def command(context: int = 1000, **fields: Any) -> list[str]:
    built = build_command(
        ["llama-server"], spec(**fields), context=context, address=ADDRESS, defaults=DEFAULTS
    )
    return list(built)


def value(argv: list[str], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_a_plain_model_gets_these_arguments() -> None:
    assert command() == [
        "llama-server",
        *("--host", "127.0.0.1", "--port", "4711"),
        *("-m", "/models/alpha.gguf", "--alias", "alpha"),
        *("-c", "4000", "-np", "4"),
        *("--threads-http", str(_HTTP_THREADS)),
        *("--cache-ram", "512", "--no-webui"),
    ]


def test_each_slot_gets_the_whole_context_of_a_request() -> None:
    argv = command(context=3000, parallel=2)
    assert (value(argv, "-c"), value(argv, "-np")) == ("6000", "2")


def test_threads_and_layers_are_passed_where_the_model_says() -> None:
    argv = command(threads=3, gpu_layers="auto")
    assert (value(argv, "-t"), value(argv, "-ngl")) == ("3", "auto")


def test_an_embedding_model_takes_whole_inputs_in_one_batch() -> None:
    argv = command(context=2048, capabilities=EMBEDDINGS, is_causal=False)
    assert "--embeddings" in argv
    assert (value(argv, "-b"), value(argv, "-ub")) == ("2048", "2048")


@pytest.mark.parametrize(
    ("is_causal", "pooling", "expected"),
    [(True, None, True), (True, "last", False), (False, None, False), (False, "cls", False)],
)
def test_only_a_causal_model_without_pooling_is_given_one(
    is_causal: bool, pooling: str | None, expected: bool
) -> None:
    argv = command(capabilities=CHAT | EMBEDDINGS, is_causal=is_causal, pooling=pooling)
    assert ("--pooling" in argv) is expected
    assert not expected or value(argv, "--pooling") == "mean"


def test_a_reranker_reranks() -> None:
    argv = command(context=512, capabilities=RERANK, is_causal=False)
    assert "--rerank" in argv
    assert "--embeddings" not in argv
    assert value(argv, "-ub") == "512"


def test_the_models_own_arguments_come_last() -> None:
    argv = command(arguments=("--cache-ram", "0", "--jinja"), capabilities=EMBEDDINGS)
    assert argv[-3:] == ["--cache-ram", "0", "--jinja"]


def test_an_engine_may_be_more_than_one_word() -> None:
    built = build_command(
        ["python", "-P", "engine.py"], spec(), context=1, address=ADDRESS, defaults=DEFAULTS
    )
    assert built[:4] == ("python", "-P", "engine.py", "--host")


def test_the_key_stands_in_the_environment_alone() -> None:
    environment = build_environment({}, spec(), ADDRESS)
    assert environment == {"LLAMA_API_KEY": "secret"}
    assert "secret" not in command()


@pytest.mark.parametrize(
    "name",
    [
        "LLAMA_ARG_CTX_SIZE",
        "LLAMA_ARG_NO_MMAP",
        "LLAMA_SERVER_ROUTER_PORT",
        "LLAMA_TRACE",
        "AIP_MODE",
        "AIP_HTTP_PORT",
        "GGLIB_API_KEY",
        "GGLIB_DATABASE_URL",
        "GGLIB_TLS_KEY_PASSWORD",
    ],
)
def test_what_changes_an_engine_or_is_secret_is_withheld(name: str) -> None:
    assert name not in build_environment({name: "1"}, spec(), ADDRESS)


@pytest.mark.parametrize("name", ["PATH", "CUDA_VISIBLE_DEVICES", "LLAMA_CACHE", "GGLIB_DATA_DIR"])
def test_everything_else_is_passed_on(name: str) -> None:
    assert build_environment({name: "1"}, spec(), ADDRESS)[name] == "1"


def test_the_models_environment_wins_but_not_over_the_key() -> None:
    own = spec(environment=(("PATH", "mine"), ("LLAMA_API_KEY", "mine")))
    environment = build_environment({"PATH": "ours"}, own, ADDRESS)
    assert environment == {"PATH": "mine", "LLAMA_API_KEY": "secret"}
