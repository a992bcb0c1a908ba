"""Describes a model file for the catalog: shards, size, facts, and what it can do.

Not here: the name under which the catalog keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gglib_core.errors import GgufError
from gglib_core.models import Capability, GgufFacts
from gglib_runtime.gguf.facts import default_capabilities, facts
from gglib_runtime.gguf.header import GgufHeader, is_native, read_header
from gglib_runtime.gguf.shards import find_shards, shard_stem


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufModel:
    """One model as its files describe it."""

    paths: tuple[str, ...]
    """Absolute paths of the shards in order; one for a file that is not split."""
    size_bytes: int
    """All shards together."""
    facts: GgufFacts
    capabilities: frozenset[Capability]

    @property
    def stem(self) -> str:
        """The file's name without suffix and shard number: the model's name by default."""
        return shard_stem(self.paths[0])


def describe_model(path: Path | str) -> GgufModel:
    """Read what the catalog needs to know of the model at `path`, any shard of a split one.

    Blocking: reads the headers of all shards. Raises GgufError when a file is missing, damaged,
    incomplete, or not a model.
    """
    shards = find_shards(path)
    headers = [read_header(shard) for shard in shards]
    first = headers[0]
    _check_shards(headers)
    _check_is_model(first)
    if not is_native(first):
        raise GgufError(
            first.path,
            f"is {first.byte_order}-endian, which llama.cpp cannot read on this machine; "
            "convert it with `gguf-convert-endian` from the `gguf` package",
        )
    parameters = sum(header.parameters for header in headers)
    if not parameters:
        raise GgufError(first.path, "has no weights: it holds a vocabulary or settings only")
    described = replace(facts(first), parameters=parameters)
    return GgufModel(
        paths=tuple(str(shard) for shard in shards),
        size_bytes=sum(header.size_bytes for header in headers),
        facts=described,
        capabilities=default_capabilities(described),
    )


def _check_shards(headers: Sequence[GgufHeader]) -> None:
    for number, header in enumerate(headers):
        if header.split_count > 1 and len(headers) == 1:
            raise GgufError(
                header.path,
                f"is one of {header.split_count} shards, but not named as one; give it back its "
                "name, NAME-00001-of-0000N.gguf, for llama.cpp finds the others by it",
            )
        if len(headers) > 1 and header.split_count != len(headers):
            raise GgufError(
                header.path,
                f"is named as one of {len(headers)} shards, but says that there are "
                f"{header.split_count}",
            )
        if len(headers) > 1 and header.split_number != number:
            raise GgufError(
                header.path,
                f"is named as shard {number + 1}, but says that it is {header.split_number + 1}",
            )


def _check_is_model(header: GgufHeader) -> None:
    kind = header.text("general.type")
    architecture = header.text("general.architecture")
    path = header.path
    if architecture == "clip" or kind == "mmproj":
        raise GgufError(
            path,
            "is a vision or audio projector, not a model; add it to its model with "
            f"--arg=--mmproj --arg={path}",
        )
    if kind == "adapter":
        raise GgufError(
            path,
            f"is a LoRA adapter, not a model; add it to its model with --arg=--lora --arg={path}",
        )
    if architecture == "controlvector":
        raise GgufError(
            path,
            "is a control vector, not a model; add it to its model with "
            f"--arg=--control-vector --arg={path}",
        )
    if kind == "imatrix":
        raise GgufError(path, "is an importance matrix for quantising, not a model")
