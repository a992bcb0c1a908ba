"""GGUF files: reading what they say, and writing the demo model.

`describe_model` is what the catalog and the CLI need; the demo is in `demo`.
"""

from gglib_runtime.gguf.description import GgufModel, describe_model
from gglib_runtime.gguf.facts import default_capabilities, facts
from gglib_runtime.gguf.header import GgufHeader, read_header
from gglib_runtime.gguf.shards import find_shards

__all__ = [
    "GgufHeader",
    "GgufModel",
    "default_capabilities",
    "describe_model",
    "facts",
    "find_shards",
    "read_header",
]
