"""The embedded engine's own table takes every command line that the supervisor builds."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from gglib_core.models import Capability, LaunchSpec
from gglib_runtime.engines import embedded
from gglib_runtime.supervisor.command import EngineAddress, LaunchDefaults, build_command

CAPABILITIES = [frozenset(), *(frozenset({capability}) for capability in Capability)]


class FakeWheel:
    """As much of xllamacpp as the table touches."""

    __version__ = embedded.TESTED_VERSION

    @staticmethod
    def CommonParams() -> Any:  # noqa: N802 - the wheel's name
        return SimpleNamespace(
            model=SimpleNamespace(path=""),
            mmproj=SimpleNamespace(path=""),
            cpuparams=SimpleNamespace(n_threads=-1),
        )


@pytest.mark.parametrize(
    ("capabilities", "pooling", "gpu_layers"),
    list(product(CAPABILITIES, [None, "cls"], [None, "all"])),
)
def test_takes_what_the_supervisor_gives(
    capabilities: frozenset[Capability], pooling: str | None, gpu_layers: str | None
) -> None:
    spec = LaunchSpec(
        model_id=1,
        name="a model",
        path="/models/a model.gguf",
        size_bytes=1,
        capabilities=capabilities,
        pooling=pooling,
        threads=3,
        gpu_layers=gpu_layers,
        arguments=("--no-warmup",),
    )
    address = EngineAddress(port=4711, api_key="secret")
    command = build_command(
        ("engine",),
        spec,
        context=512,
        address=address,
        defaults=LaunchDefaults(parallel=4, cache_ram_bytes=1 << 30),
    )

    parameters = embedded._parse_by_table(FakeWheel(), command[1:])

    assert parameters.model.path == "/models/a model.gguf"
    assert parameters.model_alias == {"a model"}
    assert (parameters.hostnames, parameters.port) == (["127.0.0.1"], 4711)
    assert parameters.n_ctx == 512 * parameters.n_parallel
    assert parameters.cpuparams.n_threads == 3


def test_takes_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "secret")

    assert embedded._parse_by_table(FakeWheel(), []).api_keys == ["secret"]
