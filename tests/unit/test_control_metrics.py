"""What a scrape of `/metrics` finds."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from gglib_core.models import ModelState
from gglib_proxy.control.app import create_app
from gglib_proxy.control.metric_table import METRICS, PROCESS_METRICS, Kind
from gglib_proxy.meters import Meters
from tests.catalog_entries import model
from tests.control_plane import FakeModelRuntime, control_context
from tests.measured import busy_meters

ALPHA = model(1, "chat")
OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(meters: Meters, accept: str = "*/*") -> tuple[str, str]:
    runtime = FakeModelRuntime()
    runtime.show(ALPHA, ModelState.LOADED, leases=2, waiting=1, memory_bytes=4096)
    context = dataclasses.replace(control_context([ALPHA], runtime=runtime), meters=meters)
    answer = await create_app(context).test_client().get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    return await answer.get_data(as_text=True), answer.headers["content-type"]


def samples_of(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


async def test_the_seeds_names_are_there_with_their_labels() -> None:
    text, content_type = await scrape(busy_meters())
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    found = samples_of(text)
    chat = {"method": "POST", "path": "/v1/chat/completions"}
    assert value(found, "http_requests_total", **chat, status="200") == 1
    assert value(found, "http_requests_total", **chat, status="503") == 1
    assert value(found, "http_request_duration_seconds_count", **chat) == 2
    assert value(found, "http_request_duration_seconds_sum", **chat) == 7.02
    assert value(found, "http_request_duration_seconds_bucket", **chat, le="0.01") == 0
    assert value(found, "http_request_duration_seconds_bucket", **chat, le="0.025") == 1
    assert value(found, "http_request_duration_seconds_bucket", **chat, le="5.0") == 1
    assert value(found, "http_request_duration_seconds_bucket", **chat, le="+Inf") == 2
    assert value(found, "llm_active_requests") == 3
    assert value(found, "llm_rate_limit_exceeded_total") == 1
    assert value(found, "llm_tokens_generated_total") == 23


async def test_times_of_generations_are_in_seconds() -> None:
    found = samples_of((await scrape(busy_meters()))[0])
    assert value(found, "gglib_queue_wait_seconds_sum", model="chat") == 1.2
    assert value(found, "gglib_queue_wait_seconds_bucket", model="chat", le="1.0") == 1
    assert value(found, "gglib_queue_wait_seconds_bucket", model="chat", le="2.5") == 2
    assert value(found, "gglib_load_wait_seconds_count", model="chat") == 1
    assert value(found, "gglib_first_token_seconds_sum", model="chat") == 1.25
    assert value(found, "gglib_tokens_per_second_sum", model="chat") == 35


async def test_swaps_models_and_engines_are_shown() -> None:
    found = samples_of((await scrape(busy_meters()))[0])
    launch = {"model": "chat", "outcome": "ready", "failure": ""}
    assert value(found, "gglib_launches_total", **launch) == 1
    assert value(found, "gglib_swaps_total", cause="request", reason="turn_over") == 1
    assert value(found, "gglib_swap_phase_seconds_sum", phase="load") == 6
    assert value(found, "gglib_model_state", model="chat", state="loaded") == 1
    assert value(found, "gglib_model_memory_bytes", model="chat") == 4096
    assert value(found, "gglib_engine_tokens_predicted_total", model="chat") == 12
    assert value(found, "gglib_engine_requests_deferred", model="chat") == 1
    assert value(found, "gglib_generations_total", model="chat", error="none") == 1
    assert value(found, "gglib_generations_total", model="chat", error="client_left") == 1
    assert value(found, "gglib_cost_total", model="chat", currency="USD") == 0.25


async def test_every_metric_of_the_table_is_in_a_scrape_with_its_kind_and_labels() -> None:
    text, _ = await scrape(busy_meters())
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind
        assert family.documentation == metric.meaning
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        assert labels == set(metric.labels), metric.name
        assert family.samples, metric.name
    known = {metric.name.removesuffix("_total") for metric in METRICS}
    process = {name.removesuffix("_total") for name, _ in PROCESS_METRICS}
    assert set(families) - known == (process if sys.platform == "linux" else set())


async def test_who_asks_for_open_metrics_gets_it() -> None:
    text, content_type = await scrape(busy_meters(), OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    families = {family.name: family for family in open_metrics_families(text)}
    assert families["http_requests"].type == "counter"
    assert families["gglib_event_loop_lag_seconds"].type == "histogram"


async def test_a_server_that_nothing_has_happened_to_is_scraped_too() -> None:
    found = samples_of((await scrape(Meters()))[0])
    assert value(found, "llm_tokens_generated_total") == 0
    assert value(found, "llm_rate_limit_exceeded_total") == 0
    assert not any(name == "llm_active_requests" for name, _ in found)


async def test_two_scrapes_count_nothing_twice() -> None:
    meters = busy_meters()
    first, second = [samples_of((await scrape(meters))[0]) for _ in range(2)]
    moving = {name for name, _ in PROCESS_METRICS}
    assert {k: v for k, v in first.items() if k[0] not in moving} == {
        k: v for k, v in second.items() if k[0] not in moving
    }


def test_names_follow_the_conventions() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert metric.name.startswith(("http_", "llm_", "gglib_"))


@pytest.mark.parametrize("module", ["prometheus_client", "opentelemetry"])
def test_serving_does_not_import_what_only_a_scrape_or_a_trace_needs(module: str) -> None:
    code = (
        "import sys, gglib_proxy.control.app, gglib_proxy.control.server, gglib_proxy.server; "
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
