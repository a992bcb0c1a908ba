"""The simulator as an engine: a program by path, so that it is found wherever it is started.

Not here: the simulator itself (`gglib_runtime.simulator`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gglib_runtime.gguf.description import GgufModel

_NO_FILE = "/dev/null"
_TRAINED_CONTEXT = 131_072

NAME = "simulator"
"""By which a catalog entry, or `--llama-server`, asks for it."""
LABEL = "the simulator: no model runs"


def simulator_command() -> tuple[str, ...]:
    """What the engine's arguments are appended to."""
    # -P keeps this directory out of its imports.
    return (sys.executable, "-P", str(Path(__file__)))


def imagined_model() -> GgufModel:
    """What a catalog entry says of a model that has no file."""
    from gglib_core.models import Capability, GgufFacts
    from gglib_runtime.gguf.description import GgufModel

    return GgufModel(
        paths=(_NO_FILE,),
        size_bytes=0,
        facts=GgufFacts(architecture=NAME, context_length=_TRAINED_CONTEXT),
        capabilities=frozenset({Capability.CHAT, Capability.EMBEDDINGS}),
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from gglib_runtime.simulator.process import run

    sys.exit(run(sys.argv[1:], os.environ))
