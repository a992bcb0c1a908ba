"""llama.cpp's own counters, read from the real server and added up over its restarts."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gglib_core.engine_counters import COUNTERS, GAUGES
from tests.command_line import Shell
from tests.gguf_files import write_tiny
from tests.serving import Served, serving

pytestmark = pytest.mark.e2e


def engine_samples(server: Served) -> dict[str, float]:
    families = text_string_to_metric_families(server.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    prefix = "gglib_engine_"
    return {
        sample.name.removeprefix(prefix): sample.value
        for sample in samples
        if sample.name.startswith(prefix)
    }


def test_counters_of_llama_cpp_survive_its_restart(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    path = write_tiny(tmp_path, "tiny-a")
    shell.output("model", "add", path, "--name", "tiny", "--threads", "1", "--arg=--metrics")
    with serving(shell) as server:
        first = server.chat("tiny").json()["usage"]["completion_tokens"]
        before = engine_samples(server)
        assert set(before) == {*COUNTERS, *GAUGES}
        assert before["tokens_predicted_total"] == first
        shell.output("unload", "tiny")
        assert engine_samples(server)["tokens_predicted_total"] == first
        second = server.chat("tiny").json()["usage"]["completion_tokens"]
        assert engine_samples(server)["tokens_predicted_total"] == first + second
        unseen = server.chat("tiny").json()["usage"]["completion_tokens"]
        shell.output("unload", "tiny")
        assert engine_samples(server)["tokens_predicted_total"] == first + second + unseen
