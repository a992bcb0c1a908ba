"""The simulator as the engine of catalog models, behind `gglib serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from tests.command_line import Shell
from tests.engines import read_records
from tests.serving import serving

HELLO: Any = [{"role": "user", "content": "hello"}]
GATEWAY = ("--llama-server", "simulator")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def add(shell: Shell, name: str, *arguments: str, **environ: str) -> None:
    """Add a model that the simulator runs, with these arguments of its own."""
    tokens = [f"--arg={token}" for token in arguments]
    variables = [f"--env={name}={text}" for name, text in environ.items()]
    shell.output("model", "add", "--engine", "simulator", name, *tokens, *variables)


def test_a_model_without_a_file_is_added_and_shown(shell: Shell) -> None:
    add(shell, "alpha", "--profile", "laptop-7b")
    (entry,) = shell.json("model", "list")
    assert (entry["name"], entry["engine"]) == ("alpha", "simulator")
    assert entry["capabilities"] == ["chat", "embeddings"]
    assert "simulator" in shell.output("model", "show", "alpha")
    assert "'x' is not" in shell.failure("model", "add", "--engine", "x", "beta", code=2)


def test_the_gateway_swaps_models_that_the_simulator_runs(shell: Shell) -> None:
    add(shell, "alpha")
    add(shell, "beta")
    with serving(shell, *GATEWAY) as server:
        for name in ("alpha", "beta", "alpha"):
            answer = server.chat(name)
            assert answer.status_code == 200
            assert answer.json()["choices"][0]["message"]["content"].startswith(name)
        assert len(server.engines()) == 1


def test_a_client_with_retries_survives_a_flaky_model(shell: Shell, tmp_path: Path) -> None:
    record = tmp_path / "record"
    add(shell, "alpha", "--scenario", "flaky", "--seed", "2", GGLIB_SIM_RECORD=str(record))
    # A stream that has begun with comments cannot be told its error in a way that SDKs retry.
    patient = "--set=stream_grace_seconds=60"
    with (
        serving(shell, *GATEWAY, patient) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=8) as client,
    ):
        for number in range(14):
            if number % 2:
                chat = client.chat.completions.create(model="alpha", messages=HELLO)
                assert (chat.choices[0].message.content or "").startswith("alpha hello")
            else:
                stream = client.chat.completions.create(model="alpha", messages=HELLO, stream=True)
                text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
                assert text.startswith("alpha hello")
    outcomes = [each["outcome"] for each in read_records(record, "end")]
    assert outcomes.count("done") >= 14
    assert len([outcome for outcome in outcomes if outcome in ("status", "reset")]) >= 3
