"""A catalog entry as commands show it: as JSON, as a table's row, in detail, in one line.

Not here: where it comes from.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gglib_core.models import Model
from gglib_runtime.cli.narrow_tables import Column
from gglib_runtime.cli.quantities import rounded_count, rounded_size
from gglib_runtime.settings.units import format_duration

COLUMNS = (
    Column(title="ID", justify="right", rank=5),
    Column(title="NAME", style="bold", is_folded=True),
    Column(title="SIZE", justify="right"),
    Column(title="PARAMS", justify="right", rank=3),
    Column(title="QUANT", rank=2),
    Column(title="TRAINED", justify="right", rank=4),
    Column(title="CAN", is_folded=True, rank=1),
)


def model_json(model: Model) -> dict[str, Any]:
    """Everything, by the names of the catalog's own fields."""
    facts = model.facts
    return {
        "id": model.id,
        "name": model.name,
        "aliases": list(model.aliases),
        "paths": list(model.paths),
        "size_bytes": model.size_bytes,
        "facts": {name: getattr(facts, name) for name in type(facts).__slots__},
        "capabilities": sorted(model.capabilities),
        "tags": list(model.tags),
        "context": model.context,
        "parallel": model.parallel,
        "threads": model.threads,
        "gpu_layers": model.gpu_layers,
        "arguments": list(model.arguments),
        "environment": dict(model.environment),
        "idle_seconds": model.idle_seconds,
        "max_concurrent": model.max_concurrent,
        "is_pinned": model.is_pinned,
        "is_preloaded": model.is_preloaded,
        "engine": model.engine,
        "input_cost_per_1k": model.input_cost_per_1k,
        "output_cost_per_1k": model.output_cost_per_1k,
        "currency": model.currency,
        "created": model.created,
    }


def model_row(model: Model) -> tuple[object, ...]:
    """What `COLUMNS` show."""
    return (
        model.id,
        model.name,
        rounded_size(model.size_bytes),
        rounded_count(model.facts.parameters),
        model.facts.quantisation,
        model.facts.context_length,
        ", ".join(sorted(model.capabilities)),
    )


def model_line(model: Model) -> str:
    """The model in one line."""
    facts = model.facts
    said = (
        facts.architecture,
        rounded_count(facts.parameters),
        facts.quantisation,
        rounded_size(model.size_bytes),
        f"trained for {facts.context_length} tokens" if facts.context_length else None,
        f"can {' and '.join(sorted(model.capabilities))}",
    )
    return f"{model.name} (id {model.id}): {', '.join(filter(None, said))}"


def model_details(model: Model) -> list[tuple[str, object]]:
    """Everything, for people; what is empty has None."""
    return [
        ("Name", model.name),
        ("Id", model.id),
        ("Aliases", ", ".join(model.aliases)),
        ("Tags", ", ".join(model.tags)),
        ("Capabilities", ", ".join(sorted(model.capabilities))),
        *[("File" if number == 0 else "", path) for number, path in enumerate(model.paths)],
        ("Size", rounded_size(model.size_bytes)),
        ("Added", datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%d %H:%M UTC")),
        *_fact_details(model),
        *_launch_details(model),
    ]


def _fact_details(model: Model) -> list[tuple[str, object]]:
    facts = model.facts
    template = facts.chat_template
    return [
        ("Title", facts.name),
        ("Architecture", facts.architecture),
        ("Parameters", rounded_count(facts.parameters)),
        ("Quantisation", facts.quantisation),
        ("Trained for", f"{facts.context_length} tokens" if facts.context_length else None),
        ("Embedding length", facts.embedding_length),
        ("Layers", facts.layers),
        ("Pooling", facts.pooling),
        ("Chat template", f"{len(template)} characters" if template else None),
        ("Licence", facts.licence),
    ]


def _launch_details(model: Model) -> list[tuple[str, object]]:
    idle = model.idle_seconds
    return [
        ("Context", f"{model.context or 'default'}"),
        ("Parallel", f"{model.parallel or 'default'}"),
        ("Threads", model.threads),
        ("GPU layers", model.gpu_layers),
        ("Arguments", " ".join(model.arguments)),
        ("Environment", " ".join(f"{name}={value}" for name, value in model.environment)),
        ("Idle time-out", None if idle is None else format_duration(idle) if idle else "never"),
        ("Concurrent", model.max_concurrent),
        ("Pinned", "yes" if model.is_pinned else None),
        ("Preloaded", "yes" if model.is_preloaded else None),
        ("Engine", model.engine),
        ("Price", _price(model)),
    ]


def _price(model: Model) -> str | None:
    prices = (model.input_cost_per_1k, model.output_cost_per_1k)
    if not any(prices):
        return None
    return "{:.10g} in, {:.10g} out {} per 1,000 tokens".format(*prices, model.currency)
