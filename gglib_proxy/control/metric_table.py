"""The one table of metrics: every name with its kind, its labels, what it means and its values.

Labels are bounded: routes, known methods, the catalog's models, codes of our own; never a key, an
address or anything that a client makes up. Not here: how metrics are written for a scrape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from gglib_core.engine_counters import COUNTERS, GAUGES
from gglib_core.models import RunningModel
from gglib_proxy.meters import Load, Measurements
from gglib_proxy.tally import SECONDS, Histogram, ModelTally

MODEL = "model"
"""The label that names a model; nowhere else do metrics name one."""
WENT_WELL = "none"
"""The label `error` of what had none."""


class Kind(StrEnum):
    """As Prometheus names them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


Value = float | Histogram
Sample = tuple[tuple[str, ...], Value]
"""The labels' values in their order, and the metric's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row: a name as scrapes and queries have it, without the suffixes of a histogram."""

    name: str
    kind: Kind
    labels: tuple[str, ...] = ()
    meaning: str
    scale: float = 1.0
    """What a histogram's bounds and sum are multiplied with: ours of times may be milliseconds."""
    read: Callable[[Measurements], Iterable[Sample]]


def _counter(
    name: str, meaning: str, read: Callable[[Measurements], Iterable[Sample]], *labels: str
) -> Metric:
    return Metric(name=name, kind=Kind.COUNTER, labels=labels, meaning=meaning, read=read)


def _gauge(
    name: str, meaning: str, read: Callable[[Measurements], Iterable[Sample]], *labels: str
) -> Metric:
    return Metric(name=name, kind=Kind.GAUGE, labels=labels, meaning=meaning, read=read)


def _histogram(
    name: str,
    meaning: str,
    read: Callable[[Measurements], Iterable[Sample]],
    *labels: str,
    scale: float = 1.0,
) -> Metric:
    return Metric(
        name=name, kind=Kind.HISTOGRAM, labels=labels, meaning=meaning, scale=scale, read=read
    )


# Requests


def _requests(now: Measurements) -> Iterator[Sample]:
    for (method, path, status), times in now.tally.requests.items():
        yield (method, path, str(status)), times.count


def _durations(now: Measurements) -> Iterable[Sample]:
    found: defaultdict[tuple[str, str], Histogram] = defaultdict(lambda: Histogram(SECONDS))
    for (method, path, _), times in now.tally.requests.items():
        found[method, path].add(times)
    return found.items()


def _load(value: Callable[[Load], float]) -> Callable[[Measurements], Iterable[Sample]]:
    return lambda now: () if now.load is None else [((), value(now.load))]


def _upstream_connections(now: Measurements) -> Iterator[Sample]:
    if now.load is not None:
        idle = now.load.idle_upstream_connections
        yield ("busy",), now.load.upstream_connections - idle
        yield ("idle",), idle


# Models


def _by_model(value: Callable[[ModelTally], Value]) -> Callable[[Measurements], Iterable[Sample]]:
    return lambda now: (((name,), value(model)) for name, model in now.tally.models.items())


def _outcomes(now: Measurements) -> Iterator[Sample]:
    for name, model in now.tally.models.items():
        for error, count in model.outcomes.items():
            yield (name, error or WENT_WELL), count


def _generated(now: Measurements) -> Iterator[Sample]:
    yield (), sum(model.completion_tokens for model in now.tally.models.values())


def _costs(now: Measurements) -> Iterator[Sample]:
    for name, model in now.tally.models.items():
        for currency, money in model.cost.items():
            yield (name, currency), money


def _running(
    value: Callable[[RunningModel], float | None],
) -> Callable[[Measurements], Iterable[Sample]]:
    def read(now: Measurements) -> Iterator[Sample]:
        for model in now.running:
            found = value(model)
            if found is not None:
                yield (model.name,), found

    return read


def _states(now: Measurements) -> Iterator[Sample]:
    return (((model.name, model.state), 1) for model in now.running)


# Swaps, engines, the process


def _phases(now: Measurements) -> Iterator[Sample]:
    return (((phase,), times) for phase, times in now.swaps.phases.items())


def _engine_total(counter: str) -> Callable[[Measurements], Iterable[Sample]]:
    def read(now: Measurements) -> Iterator[Sample]:
        for name, reading in now.engines.items():
            if counter in reading.totals:
                yield (name,), reading.totals[counter]

    return read


def _engine_gauge(gauge: str) -> Callable[[Measurements], Iterable[Sample]]:
    def read(now: Measurements) -> Iterator[Sample]:
        for name, reading in now.engines.items():
            if gauge in reading.gauges:
                yield (name,), reading.gauges[gauge]

    return read


def _lag(now: Measurements) -> Iterable[Sample]:
    return () if now.loop_lag is None else [((), now.loop_lag)]


def _queued_generations(now: Measurements) -> Iterable[Sample]:
    return () if now.queued_generations is None else [((), now.queued_generations)]


_ENGINE_MEANINGS = {
    "prompt_tokens_total": "Tokens of prompts that engines processed.",
    "prompt_tokens_cached_total": "Tokens of prompts that engines had in their cache.",
    "prompt_seconds_total": "Seconds that engines processed prompts.",
    "tokens_predicted_total": "Tokens that engines generated.",
    "tokens_predicted_seconds_total": "Seconds that engines generated tokens.",
    "n_decode_total": "Calls of llama_decode().",
    "requests_processing": "Requests that the engine works at.",
    "requests_deferred": "Requests that wait for a slot of the engine.",
}

METRICS: tuple[Metric, ...] = (
    _counter(
        "http_requests_total",
        "Answers of the public listener; `path` is the route's template.",
        _requests,
        "method",
        "path",
        "status",
    ),
    _histogram(
        "http_request_duration_seconds",
        "From a request's last byte to its answer's last one.",
        _durations,
        "method",
        "path",
    ),
    _gauge(
        "llm_active_requests",
        "Requests that an engine answers, or that wait for one.",
        _load(lambda load: load.active_requests),
    ),
    _counter(
        "llm_rate_limit_exceeded_total",
        "Requests refused because of a limit or a spent budget.",
        lambda now: [((), now.tally.limits.total())],
    ),
    _counter("llm_tokens_generated_total", "Tokens of completions, of all models.", _generated),
    _gauge(
        "gglib_build_info",
        "Always 1; the labels tell what runs.",
        lambda now: [((now.version, now.python), 1)],
        "version",
        "python",
    ),
    _counter(
        "gglib_limits_exceeded_total",
        "The same refusals by the limit that was reached.",
        lambda now: (((limit,), count) for limit, count in now.tally.limits.items()),
        "limit",
    ),
    _counter(
        "gglib_keys_refused_total",
        "Requests refused because of their API key, by the error's code.",
        lambda now: (((code,), count) for code, count in now.tally.refused_keys.items()),
        "code",
    ),
    _gauge(
        "gglib_max_concurrent_requests",
        "How many requests may be under way: `max_concurrent_requests`.",
        _load(lambda load: load.max_concurrent_requests),
    ),
    _gauge(
        "gglib_connections",
        "Connections of clients, idle ones too.",
        _load(lambda load: load.connections),
    ),
    _gauge(
        "gglib_max_connections",
        "How many there may be: `max_connections`; 0 is no limit.",
        _load(lambda load: load.max_connections),
    ),
    _gauge(
        "gglib_buffered_bytes",
        "Bodies of requests that wait or are being received.",
        _load(lambda load: load.buffered_bytes),
    ),
    _gauge(
        "gglib_max_buffered_bytes",
        "How many bytes that may be: `max_buffered_bytes`.",
        _load(lambda load: load.max_buffered_bytes),
    ),
    _gauge(
        "gglib_upstream_connections",
        "Connections to engines and to the control plane.",
        _upstream_connections,
        "state",
    ),
    _gauge(
        "gglib_draining",
        "1 while gglib ends and takes no new connection.",
        _load(lambda load: load.is_draining),
    ),
    _gauge(
        "gglib_paused",
        "1 while an admin holds requests for models back.",
        _load(lambda load: load.is_paused),
    ),
    _counter(
        "gglib_generations_total",
        "Admitted requests that ended; `error` is the code, `none` where all went well.",
        _outcomes,
        "model",
        "error",
    ),
    _histogram(
        "gglib_queue_wait_seconds",
        "From a request's last byte until it had its model, loading included.",
        _by_model(lambda model: model.queue),
        "model",
        scale=0.001,
    ),
    _histogram(
        "gglib_load_wait_seconds",
        "The part of it in which the model was loaded, of requests that waited for that.",
        _by_model(lambda model: model.load),
        "model",
        scale=0.001,
    ),
    _histogram(
        "gglib_first_token_seconds",
        "From a request's last byte to the first byte of its answer's body.",
        _by_model(lambda model: model.first_token),
        "model",
        scale=0.001,
    ),
    _histogram(
        "gglib_generation_duration_seconds",
        "From a request's last byte to its answer's last one.",
        _by_model(lambda model: model.duration),
        "model",
        scale=0.001,
    ),
    _histogram(
        "gglib_tokens_per_second",
        "Of a completion, as the engine says, else between its first and last byte.",
        _by_model(lambda model: model.speed),
        "model",
    ),
    _histogram(
        "gglib_prompt_tokens",
        "Tokens of a prompt, those from the cache included.",
        _by_model(lambda model: model.prompt),
        "model",
    ),
    _counter(
        "gglib_cached_prompt_tokens_total",
        "Tokens of prompts that were in the engine's cache.",
        _by_model(lambda model: model.cached_tokens),
        "model",
    ),
    _counter(
        "gglib_completion_tokens_total",
        "Tokens of completions.",
        _by_model(lambda model: model.completion_tokens),
        "model",
    ),
    _counter(
        "gglib_estimated_generations_total",
        "Generations whose tokens gglib counted itself, for the answer did not say.",
        _by_model(lambda model: model.estimated),
        "model",
    ),
    _counter(
        "gglib_cost_total",
        "What generations cost at the models' prices.",
        _costs,
        "model",
        "currency",
    ),
    _gauge(
        "gglib_generation_queue_length",
        "Records of generations that are not written yet.",
        _queued_generations,
    ),
    _gauge(
        "gglib_model_state",
        "1 for the state that a model is in, of those that are not simply unloaded.",
        _states,
        "model",
        "state",
    ),
    _gauge(
        "gglib_model_leases",
        "Requests that hold the model.",
        _running(lambda model: model.leases),
        "model",
    ),
    _gauge(
        "gglib_model_waiting",
        "Requests that wait for the model.",
        _running(lambda model: model.waiting),
        "model",
    ),
    _gauge(
        "gglib_model_memory_bytes",
        "Main memory of the model's engine.",
        _running(lambda model: model.memory_bytes),
        "model",
    ),
    _counter(
        "gglib_launches_total",
        "Launches of engines; `failure` is the class of those that failed.",
        lambda now: now.swaps.launches.items(),
        "model",
        "outcome",
        "failure",
    ),
    _counter(
        "gglib_swaps_total",
        "The same by what they were for, and why another model gave way; `free` where none did.",
        lambda now: now.swaps.swaps.items(),
        "cause",
        "reason",
    ),
    _histogram(
        "gglib_swap_phase_seconds",
        "The parts of launches: queue, drain, stop, memory, spawn, load, first_byte.",
        _phases,
        "phase",
    ),
    _counter(
        "gglib_swaps_avoided_total",
        "Swaps that serving requests in the order of their arrival would have made besides.",
        lambda now: [((), now.swaps.avoided)],
    ),
    *(
        _counter(f"gglib_engine_{name}", _ENGINE_MEANINGS[name], _engine_total(name), "model")
        for name in COUNTERS
    ),
    *(
        _gauge(f"gglib_engine_{name}", _ENGINE_MEANINGS[name], _engine_gauge(name), "model")
        for name in GAUGES
    ),
    _gauge(
        "gglib_memory_total_bytes",
        "Main memory of the machine, or of the control group that limits the process.",
        lambda now: () if now.memory is None else [((), now.memory.total_bytes)],
    ),
    _gauge(
        "gglib_memory_available_bytes",
        "What of it could be taken without swapping.",
        lambda now: () if now.memory is None else [((), now.memory.available_bytes)],
    ),
    _histogram(
        "gglib_event_loop_lag_seconds",
        "How much later than due the event loop came to a timer, four times a second.",
        _lag,
    ),
)

PROCESS_METRICS = (
    ("process_cpu_seconds_total", "Processor time of gglib itself, without engines."),
    ("process_resident_memory_bytes", "Main memory of gglib itself."),
    ("process_virtual_memory_bytes", "Address space of gglib itself."),
    ("process_open_fds", "Files and connections that gglib has open."),
    ("process_max_fds", "How many it may have."),
    ("process_start_time_seconds", "When gglib started, in unix seconds."),
)
"""What prometheus-client adds, on Linux."""
