"""The counts in Prometheus' text format.

Not here: counting (`tallies.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gglib_runtime.simulator.tallies import BUCKETS_SECONDS, Tallies

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Labels = Mapping[str, object]


def render_metrics(tallies: Tallies) -> bytes:
    """All metrics."""
    lines = [
        *_family(
            "llm_simulation_requests_total",
            "counter",
            "Inference requests, by endpoint and model.",
            (
                ({"endpoint": endpoint, "model": model}, count)
                for (endpoint, model), count in tallies.requests.items()
            ),
        ),
        *_durations(tallies),
        *_family(
            "llm_errors_injected_total",
            "counter",
            "Faults that struck, by kind.",
            (({"error_type": label}, count) for label, count in tallies.injected.items()),
        ),
        *_single("llm_tokens_generated_total", "counter", "Tokens of answers.", tallies.tokens),
        *_single("llm_active_requests", "gauge", "Inference requests now.", tallies.active),
        *_single(
            "llm_rate_limit_exceeded_total",
            "counter",
            "Requests beyond a rate limit.",
            tallies.limited,
        ),
        *_single(
            "llm_overloaded_total",
            "counter",
            "Requests beyond the number of concurrent ones.",
            tallies.overloaded,
        ),
        *_family(
            "http_requests_total",
            "counter",
            "Answers, by method, path and status.",
            (
                ({"method": method, "path": path, "status": status}, count)
                for (method, path, status), count in tallies.answers.items()
            ),
        ),
    ]
    return ("\n".join(lines) + "\n").encode()


def _durations(tallies: Tallies) -> list[str]:
    name = "llm_simulation_duration_seconds"
    lines = _head(name, "histogram", "From a request's last byte to its answer's.")
    for (endpoint, model), durations in tallies.durations.items():
        labels = {"endpoint": endpoint, "model": model}
        count = 0
        for bound, each in zip((*BUCKETS_SECONDS, "+Inf"), durations.counts, strict=True):
            count += each
            lines.append(_line(f"{name}_bucket", labels | {"le": bound}, count))
        lines.append(_line(f"{name}_sum", labels, durations.total_seconds))
        lines.append(_line(f"{name}_count", labels, count))
    return lines


def _single(name: str, kind: str, meaning: str, value: float) -> list[str]:
    return _family(name, kind, meaning, [({}, value)])


def _family(
    name: str, kind: str, meaning: str, values: Iterable[tuple[Labels, float]]
) -> list[str]:
    return [*_head(name, kind, meaning), *(_line(name, labels, value) for labels, value in values)]


def _head(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Labels, value: float) -> str:
    pairs = ",".join(f'{key}="{str(each).translate(_ESCAPES)}"' for key, each in labels.items())
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"
