"""Whether a model's file could ever fit into this machine, for people.

A hint and no refusal: what a GPU takes needs no main memory, and llama.cpp can read a file that is
too large again and again, if slowly. Not here: waiting for memory that other models have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gglib_runtime.cli.quantities import rounded_size

if TYPE_CHECKING:
    from gglib_core.models import Model


def too_large(model: Model) -> str | None:
    """Why it may not load; None where it fits, or nobody knows."""
    from gglib_runtime.machine_memory import machine_memory

    memory = machine_memory()
    if memory is None or model.engine is not None or model.size_bytes <= memory.total_bytes:
        return None
    size, total = rounded_size(model.size_bytes), rounded_size(memory.total_bytes)
    return f"{model.name} has {size}, and this machine {total} of memory"
