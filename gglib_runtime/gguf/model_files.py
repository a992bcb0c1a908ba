"""Model files for the event loop: their headers are read in worker threads.

Not here: what a header says (`description`).
"""

from __future__ import annotations

import os

from anyio import to_thread

from gglib_core.errors import GgufError
from gglib_core.models import Capability, GgufFacts
from gglib_core.stored_models import ModelFile
from gglib_runtime.engines.simulated import imagined_model
from gglib_runtime.gguf.description import GgufModel, describe_model
from gglib_runtime.gguf.facts import default_capabilities


class GgufModelFiles:
    """Fills `ModelFiles`."""

    async def describe(self, path: str, *, engine: str | None = None) -> ModelFile:
        return await to_thread.run_sync(_describe, path, engine)

    def default_capabilities(self, facts: GgufFacts) -> frozenset[Capability]:
        return default_capabilities(facts)


def _describe(path: str, engine: str | None) -> ModelFile:
    _check_path(path)
    if engine is not None and not os.path.exists(path):  # noqa: PTH110 -- Path's raises
        return _model_file(imagined_model(), stem=path)
    if not path.startswith("/"):
        raise GgufError(path, "is no absolute path, and gglib may run in any directory")
    if os.path.isdir(path):  # noqa: PTH112
        raise GgufError(path, "is a directory; name the file in it")
    found = describe_model(path)
    return _model_file(found, stem=found.stem)


def _check_path(path: str) -> None:
    if not path or not path.isprintable():
        raise GgufError(repr(path), "is no path of a model")


def _model_file(found: GgufModel, *, stem: str) -> ModelFile:
    return ModelFile(
        stem=stem,
        paths=found.paths,
        size_bytes=found.size_bytes,
        facts=found.facts,
        capabilities=found.capabilities,
    )
