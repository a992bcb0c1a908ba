"""What an operator sees of a running `gglib serve`: probes, metrics, traces."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.collector import open_collector
from tests.command_line import REPOSITORY, Shell
from tests.gguf_files import write_tiny
from tests.serving import Served, chat_body, serving, wait_until
from tests.traces import PARENT, TRACE, TRACEPARENT


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A user whose llama-server is the simulator."""
    shell = Shell(tmp_path)
    engine = tmp_path / "engine"
    engine.write_text(
        f"#!/bin/sh\nexec env PYTHONPATH={REPOSITORY} "
        f'{sys.executable} -m gglib_runtime.simulator "$@"\n'
    )
    engine.chmod(0o755)
    shell.environ["GGLIB_LLAMA_SERVER"] = str(engine)
    return shell


@pytest.fixture
def tiny(tmp_path: Path, shell: Shell) -> str:
    shell.output(
        "model", "add", write_tiny(tmp_path, "tiny-a"), "--name", "tiny", "--arg=--metrics"
    )
    return "tiny"


def scrape(server: Served) -> dict[tuple[str, tuple[str, ...]], float]:
    """By name and the labels' values, in the order of the labels' names."""
    answer = server.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_probes_answer_while_gglib_serves(shell: Shell) -> None:
    with serving(shell) as server:
        assert server.get("/live").json()["status"] == "ok"
        ready = server.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert set(ready.json()["checks"]) == {"accepting", "database", "supervisor"}


def test_a_database_that_has_gone_makes_gglib_unready_and_not_dead(shell: Shell) -> None:
    with serving(shell) as server:
        database = next(shell.data_dir.glob("*.db"))
        database.rename(database.with_suffix(".away"))
        wait_until(lambda: server.get("/ready").status_code == 503)
        checks = server.get("/ready").json()["checks"]
        assert not checks["database"]["ok"]
        assert str(database) in checks["database"]["problem"]
        assert server.get("/live").status_code == 200
        database.with_suffix(".away").rename(database)
        wait_until(lambda: server.get("/ready").status_code == 200)


def test_what_was_served_is_measured(shell: Shell, tiny: str) -> None:
    with serving(shell) as server:
        usage = server.chat(tiny).json()["usage"]
        server.get("/no/such/path")
        server.get("/health")
        found = scrape(server)
        again = scrape(server)
    chat = ("POST", "/v1/chat/completions")
    assert found["http_requests_total", (*chat, "200")] == 1
    assert found["http_requests_total", ("GET", "/health", "200")] == 1
    assert found["http_requests_total", ("GET", "other", "404")] == 1
    assert again["http_requests_total", ("GET", "/metrics", "200")] == 1
    assert found["http_request_duration_seconds_count", chat] == 1
    assert found["llm_tokens_generated_total", ()] == usage["completion_tokens"]
    assert found["llm_active_requests", ()] == 0
    assert found["gglib_generation_queue_length", ()] in (0, 1)  # it may be written by now
    assert found["gglib_prompt_tokens_sum", (tiny,)] == usage["prompt_tokens"]
    assert found["gglib_load_wait_seconds_count", (tiny,)] == 1
    assert found["gglib_model_state", (tiny, "loaded")] == 1
    assert found["gglib_launches_total", ("", tiny, "ready")] == 1
    assert found["gglib_swap_phase_seconds_count", ("load",)] == 1
    assert found["gglib_model_memory_bytes", (tiny,)] > 0
    assert found["gglib_engine_tokens_predicted_total", (tiny,)] > 0
    assert found["gglib_memory_total_bytes", ()] > found["gglib_memory_available_bytes", ()] > 0
    assert found["gglib_connections", ()] >= 1
    assert found["process_resident_memory_bytes", ()] > 0
    assert again["gglib_event_loop_lag_seconds_count", ()] > 0


def test_a_request_is_traced_from_its_client_to_its_engine(shell: Shell, tiny: str) -> None:
    with open_collector() as collector:
        shell.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        with serving(shell, "--set", "otel_enabled=yes") as server:
            answer = server.post(
                "/v1/chat/completions", chat_body(tiny), headers={"traceparent": TRACEPARENT}
            )
            assert answer.status_code == 200
            server.stop()
        spans = {span.name: span for span in collector.spans()}
    assert set(spans) == {"POST /v1/chat/completions", "queue", "load", "chat tiny"}
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    root = spans["POST /v1/chat/completions"]
    assert root.parent_span_id.hex() == PARENT
    assert {span.parent_span_id for span in spans.values()} == {root.span_id, root.parent_span_id}
    load, upstream = spans["load"], spans["chat tiny"]
    assert spans["queue"].end_time_unix_nano == load.start_time_unix_nano
    assert root.start_time_unix_nano < load.end_time_unix_nano <= upstream.end_time_unix_nano
