"""Models as the catalog's tests need them: valid, short, and different only where it matters."""

from __future__ import annotations

from typing import Any

from gglib_core.catalog import catalog_entry
from gglib_core.models import Capability, GgufFacts, Model, NewModel

FULL: dict[str, Any] = {
    "aliases": ("short", "Größe/groß"),
    "tags": ("work", "großes"),
    "paths": ("/models/full-00001-of-00002.gguf", "/models/full-00002-of-00002.gguf"),
    "size_bytes": 5_000_000_000_000,
    "facts": GgufFacts(
        architecture="llama",
        name="Full",
        parameters=70_000_000_000,
        quantisation="Q4_K_M",
        context_length=131_072,
        embedding_length=8192,
        pooling="mean",
        is_causal=False,
        chat_template="{% for m in messages %}\n{{ m }}\u2028{% endfor %}",
        layers=80,
        licence="MIT",
    ),
    "capabilities": frozenset({Capability.CHAT, Capability.EMBEDDINGS}),
    "context": 65_536,
    "parallel": 8,
    "threads": 3,
    "gpu_layers": "auto",
    "arguments": ("--temp", "0.5", "--chat-template={{ x }}"),
    "environment": (("CUDA_VISIBLE_DEVICES", "0,1"), ("EMPTY", "")),
    "idle_seconds": 90.5,
    "max_concurrent": 2,
    "is_pinned": True,
    "is_preloaded": True,
    "engine": "simulator",
    "input_cost_per_1k": 0.01,
    "output_cost_per_1k": 0.03,
    "currency": "EUR",
}
"""Every property that has a default, set to something else."""


def new_model(name: str = "alpha", **properties: Any) -> NewModel:
    described: dict[str, Any] = {
        "paths": (f"/models/{name.replace('/', '-')}.gguf",),
        "size_bytes": 1000,
        "facts": GgufFacts(architecture="llama", context_length=8192),
        "capabilities": frozenset({Capability.CHAT}),
    }
    return NewModel(name=name, **(described | properties))


def model(model_id: int, name: str, **properties: Any) -> Model:
    return catalog_entry(new_model(name, **properties), model_id=model_id, created=0)
