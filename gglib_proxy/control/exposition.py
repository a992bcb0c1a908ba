"""Measurements as text for a scrape: Prometheus' format, or OpenMetrics for who asks for it.

Imports prometheus-client, so it is itself imported at the first scrape only, and in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import (
    Metric as Family,
)
from prometheus_client.registry import Collector

from gglib_core.keys import is_one_of
from gglib_proxy.control.metric_table import METRICS, MODEL, Kind, Metric, Sample
from gglib_proxy.meters import Measurements
from gglib_proxy.tally import Histogram


def render(now: Measurements, accept: str, models: tuple[str, ...] = ()) -> tuple[bytes, str]:
    """The text and its content type, as the header `accept` asks for.

    Of single models, only those are shown that the globs `models` name; without any, all.
    """
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Measured(now, models))
    return encode(registry), content_type


class _Measured(Collector):
    def __init__(self, now: Measurements, models: tuple[str, ...]) -> None:
        self._now = now
        self._models = models

    def describe(self) -> list[Family]:
        return []  # registering would else collect once more than needed

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            yield _FAMILIES[metric.kind](metric, self._samples(metric))

    def _samples(self, metric: Metric) -> Iterable[Sample]:
        samples = metric.read(self._now)
        if not self._models or MODEL not in metric.labels:
            return samples
        at = metric.labels.index(MODEL)
        return [each for each in samples if is_one_of(self._models, each[0][at])]


def _counter(metric: Metric, samples: Iterable[Sample]) -> Family:
    family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in samples:
        assert not isinstance(value, Histogram)
        family.add_metric(labels, value)
    return family


def _gauge(metric: Metric, samples: Iterable[Sample]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in samples:
        assert not isinstance(value, Histogram)
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, samples: Iterable[Sample]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in samples:
        assert isinstance(value, Histogram)
        family.add_metric(labels, _buckets(value, metric.scale), value.total * metric.scale)
    return family


_FAMILIES = {Kind.COUNTER: _counter, Kind.GAUGE: _gauge, Kind.HISTOGRAM: _histogram}


def _buckets(histogram: Histogram, scale: float) -> list[tuple[str, float]]:
    """Prometheus' are cumulative."""
    found: list[tuple[str, float]] = []
    count = 0
    for bound, here in zip((*histogram.bounds, None), histogram.counts, strict=True):
        count += here
        found.append(("+Inf" if bound is None else repr(float(bound * scale)), count))
    return found
