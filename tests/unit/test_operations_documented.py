"""docs/operations.md says of probes, metrics, traces and alerts what is true."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from gglib_proxy.control.metric_reference import metrics_table
from gglib_proxy.routes import UNKNOWN, find_route
from gglib_proxy.tally import SECONDS, TOKENS, TOKENS_PER_SECOND
from gglib_runtime.settings.schema import declarations
from gglib_runtime.span_export import FLUSH_SECONDS

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = (REPOSITORY / "docs" / "operations.md").read_text()


def test_the_table_of_metrics_is_the_one_in_the_source() -> None:
    assert metrics_table() in DOCUMENT


def test_buckets_are_as_they_are_told() -> None:
    assert f"buckets up to {SECONDS[-1]:g} s" in DOCUMENT
    assert f"tokens per second up to {TOKENS_PER_SECOND[-1]:,};" in DOCUMENT
    assert f"prompt tokens up to {TOKENS[-1]:,}." in DOCUMENT
    assert f"the last ones {FLUSH_SECONDS:g} s" in DOCUMENT


def test_probes_are_open_and_there() -> None:
    section = DOCUMENT.partition("## Probes\n")[2].partition("\n## ")[0]
    paths = re.findall(r"^\| `(/\w+)` \|", section, re.MULTILINE)
    assert paths == ["/live", "/ready", "/health"]
    for path in paths:
        route = find_route(path.encode())
        assert route is not UNKNOWN
        assert route.endpoint is None


def test_the_alerts_are_those_that_there_are() -> None:
    rules = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "alerts.yml").read_text())
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert re.findall(r"^\| `(Gglib\w+)` \|", DOCUMENT, re.MULTILINE) == names


def test_files_and_settings_that_are_named_exist() -> None:
    for path in re.findall(r"`(deploy/[\w./-]+)`", DOCUMENT):
        assert (REPOSITORY / path).exists(), path
    for key in ("otel_enabled", "drain_seconds", "stop_grace_seconds", "max_concurrent_requests"):
        assert f"`{key}`" in DOCUMENT
        assert key in declarations()


def test_attributes_of_spans_are_those_that_are_set() -> None:
    source = (REPOSITORY / "gglib_runtime" / "tracing.py").read_text()
    section = DOCUMENT.partition("## Traces\n")[2].partition("\n## ")[0]
    names = re.findall(r"`((?:gen_ai|gglib|error)\.[\w.]+)`", section)
    assert len(names) >= 8
    for name in names:
        assert f'"{name}"' in source, name
