"""Describes a model file for the catalog: shards, size, facts, and what it can do.

Not here: the name under which the catalog keeps it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gglib_core.errors import GgufError
from gglib_core.models import Capability, GgufFacts
from gglib_runtime.gguf.facts import default_capabilities, facts
from gglib_runtime.gguf.header import GgufHeader, read_header
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
    _check_name(shards[0])
    headers = [read_header(shard) for shard in shards]
    _check_shards(headers)
    whole = _merge(headers)
    _check_is_model(whole)
    described = facts(whole)
    return GgufModel(
        paths=tuple(str(shard) for shard in shards),
        size_bytes=whole.size_bytes,
        facts=described,
        capabilities=default_capabilities(described),
    )


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise GgufError(
            repr(str(path)),
            "has a path that is not UTF-8, which the catalog cannot keep; rename it",
        ) from None


def _merge(headers: Sequence[GgufHeader]) -> GgufHeader:
    """The first shard's header, which has the metadata, with the tensors of all."""
    elements = Counter[str]()
    for header in headers:
        elements.update(header.tensor_types)
    return replace(
        headers[0],
        tensor_count=sum(header.tensor_count for header in headers),
        parameters=elements.total(),
        tensor_types=elements,
        size_bytes=sum(header.size_bytes for header in headers),
    )


def _check_shards(headers: Sequence[GgufHeader]) -> None:
    """Hold what the shards say of themselves against their names."""
    count = len(headers)
    if count == 1 and headers[0].split_count > 1:
        raise GgufError(
            headers[0].path,
            f"is one of {headers[0].split_count} shards, but not named as one; give it back its "
            "name, NAME-00001-of-0000N.gguf, for llama.cpp finds the others by it",
        )
    for number, header in enumerate(headers if count > 1 else ()):
        if (header.split_number, header.split_count) != (number, count):
            raise GgufError(
                header.path,
                f"is named as shard {number + 1} of {count}, but says that it is "
                f"{header.split_number + 1} of {header.split_count}",
            )
    expected = headers[0].integer("split.tensors.count")
    found = sum(header.tensor_count for header in headers)
    if count > 1 and expected not in (None, found):
        raise GgufError(
            headers[0].path, f"should have {expected} tensors, but its shards have {found}"
        )


_PROJECTOR = (
    "is a vision or audio projector, not a model; add it to its model with "
    "--arg=--mmproj --arg={path}"
)
_OTHER_KINDS = {
    "clip": _PROJECTOR,
    "mmproj": _PROJECTOR,
    "adapter": "is a LoRA adapter, not a model; add it to its model with --arg=--lora --arg={path}",
    "controlvector": "is a control vector, not a model; add it to its model with "
    "--arg=--control-vector --arg={path}",
    "imatrix": "is an importance matrix for quantising, not a model",
}


def _check_is_model(header: GgufHeader) -> None:
    for key in ("general.architecture", "general.type"):
        advice = _OTHER_KINDS.get(header.text(key) or "")
        if advice is not None:
            raise GgufError(header.path, advice.format(path=header.path))
    if not header.parameters:
        raise GgufError(header.path, "has no weights: it holds a vocabulary or settings only")
    if not header.is_native:
        raise GgufError(
            header.path,
            f"is {header.byte_order}-endian, which llama.cpp cannot read on this machine; "
            "convert it with `gguf-convert-endian` from the `gguf` package",
        )
