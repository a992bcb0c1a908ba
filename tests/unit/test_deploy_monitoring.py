"""Dashboards and alerts ask for metrics that there are, with labels that these have."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gglib_core.models import ModelState
from gglib_proxy.control.app import create_app
from gglib_proxy.control.metric_table import METRICS
from tests.catalog_entries import model
from tests.control_plane import FakeModelRuntime, control_context
from tests.measured import busy_meters
from tests.promql import COUNTER_FUNCTIONS, PromqlError, parse

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "gglib.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in RULES},
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in PANELS
        for target in panel["targets"]
    },
}
OF_PROMETHEUS = {"up": "gauge"}
TARGET_LABELS = {"job", "instance"}


async def scraped() -> dict[str, tuple[str, set[str]]]:
    """By the name of each sample: its metric's kind and its labels."""
    runtime = FakeModelRuntime()
    runtime.show(model(1, "chat"), ModelState.LOADED, memory_bytes=1)
    context = dataclasses.replace(control_context(runtime=runtime), meters=busy_meters())
    answer = await create_app(context).test_client().get("/metrics")
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(await answer.get_data(as_text=True)):
        for sample in family.samples:
            found[sample.name] = (family.type, set(sample.labels))
    return found | {name: (kind, set()) for name, kind in OF_PROMETHEUS.items()}


@pytest.mark.parametrize("name", EXPRESSIONS)
async def test_an_expression_asks_for_what_a_scrape_has(name: str) -> None:
    there = await scraped()
    parsed = parse(EXPRESSIONS[name])
    assert parsed.selectors
    for selector in parsed.selectors:
        assert selector.metric in there, f"there is no {selector.metric}"
        kind, labels = there[selector.metric]
        for label, operator, value in selector.matchers:
            assert label in labels | TARGET_LABELS, f"{selector.metric} has no {label}"
            if operator in ("=~", "!~"):
                re.compile(value.replace("$instance", "x").replace("$model", "x"))
        is_counted = bool(set(selector.functions) & COUNTER_FUNCTIONS)
        assert selector.is_range == is_counted, f"{selector.metric} needs a range and a rate"
        assert is_counted == (kind in ("counter", "histogram")), f"{selector.metric} is a {kind}"
        if "histogram_quantile" in selector.functions:
            assert selector.metric.endswith("_bucket")
    for label, metrics in parsed.grouped_by:
        for metric in metrics:
            assert label in there[metric][1] | TARGET_LABELS, f"{metric} has no {label}"


@pytest.mark.parametrize(
    "text",
    ["sum(rate(x[5m])", "sum by (rate(x[5m]))", "rate(x[5])", 'x{a="b"', "x +", "x y", "x{a>'b'}"],
)
def test_what_is_no_expression_is_noticed(text: str) -> None:
    with pytest.raises(PromqlError):
        parse(text)


def test_the_alerts_that_were_asked_for_are_there() -> None:
    rules = {rule["alert"]: (" ".join(rule["expr"].split()), rule.get("for")) for rule in RULES}
    assert rules["GglibErrors"][0].endswith("> 0.05")
    assert 'status=~"5.."' in rules["GglibErrors"][0]
    assert rules["GglibErrors"][1] == "5m"
    assert rules["GglibSlow"][0].startswith("histogram_quantile(0.99,")
    assert rules["GglibSlow"][0].endswith("> 5")
    assert rules["GglibSlow"][1] == "5m"
    assert rules["GglibNearlyFull"][0].endswith("> 0.9")
    assert rules["GglibMemory"][0].endswith("> 0.8")


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
        available = {"job", "instance"} | {label for label, _ in parse(rule["expr"]).grouped_by}
        text = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= available


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", selector.metric)
        for panel in PANELS
        for target in panel["targets"]
        for selector in parse(target["expr"]).selectors
    }
    assert {metric.name for metric in METRICS} - shown == {
        "gglib_draining",
        "gglib_paused",
        "gglib_engine_n_decode_total",
    }


def test_panels_have_ids_of_their_own_and_do_not_lie_on_each_other() -> None:
    ids = [each["id"] for each in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for each in DASHBOARD["panels"]:
        place = each["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, each["title"]
        taken |= cells


def test_every_variable_is_used_and_every_used_one_is_there() -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD["panels"])
    used = set(re.findall(r"\$\{?(\w+)\}?", text)) - {"__rate_interval"}
    assert used == set(variables)
    for each in variables.values():
        if each["type"] == "query":
            match = re.fullmatch(r"label_values\((\w+), (\w+)\)", each["definition"])
            assert match is not None
            there = {metric.name: metric for metric in METRICS}
            assert match[2] in {*there[match[1]].labels, *TARGET_LABELS}
