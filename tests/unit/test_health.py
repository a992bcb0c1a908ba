"""The health document."""

import json
from datetime import UTC, datetime, timedelta, timezone

from gglib_core.catalog import InMemoryModelCatalog
from gglib_core.models import ModelState
from gglib_proxy.health import HealthReport, health_document
from tests.catalog_entries import model
from tests.control_plane import FakeModelRuntime

NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


def test_the_document_has_all_its_fields() -> None:
    runtime = FakeModelRuntime()
    alpha, beta = model(1, "alpha"), model(2, "org/beta")
    runtime.show(beta, ModelState.LOADED)
    catalog = InMemoryModelCatalog([alpha, beta])
    report = HealthReport(catalog, runtime, "1.2.3", 100.0, clock=lambda: 142.5, now=lambda: NOON)
    assert json.loads(report.render()) == {
        "status": "ok",
        "version": "1.2.3",
        "timestamp": "2026-11-21T12:00:00.123Z",
        "uptime_seconds": 42.5,
        "models": [{"id": "alpha", "status": "unloaded"}, {"id": "org/beta", "status": "loaded"}],
    }


def test_a_failed_model_does_not_make_the_server_unhealthy() -> None:
    runtime = FakeModelRuntime()
    alpha = model(1, "alpha")
    report = HealthReport(InMemoryModelCatalog([alpha]), runtime, "1", 0.0)
    runtime.show(alpha, ModelState.FAILED, failure="killed")
    document = json.loads(report.render())
    assert document["status"] == "ok"
    assert document["models"] == [{"id": "alpha", "status": "failed"}]


def test_callers_are_told_of_their_models_and_strangers_of_none() -> None:
    catalog = InMemoryModelCatalog([model(1, "alpha"), model(2, "beta")])
    report = HealthReport(catalog, FakeModelRuntime(), "1", 0.0)
    of_a_key = json.loads(report.render(("b*",)))
    assert [each["id"] for each in of_a_key["models"]] == ["beta"]
    assert json.loads(report.render(is_brief=True))["models"] == []


def test_models_added_later_are_seen() -> None:
    catalog = InMemoryModelCatalog()
    report = HealthReport(catalog, FakeModelRuntime(), "1", 0.0)
    assert json.loads(report.render())["models"] == []
    catalog.replace([model(1, "alpha")])
    assert json.loads(report.render())["models"] == [{"id": "alpha", "status": "unloaded"}]


def test_the_timestamp_is_in_utc_whatever_zone_it_comes_in() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    document = health_document(
        version='1"2', timestamp=NOON.astimezone(zone), uptime_seconds=1.0, models=b"[]"
    )
    assert json.loads(document)["timestamp"] == "2026-11-21T12:00:00.123Z"
    assert json.loads(document)["version"] == '1"2'
