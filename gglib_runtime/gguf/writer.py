"""Encodes a small GGUF file: metadata and F32 tensors, in this machine's byte order.

Not here: what a model's metadata and tensors have to be (`tiny`), and reading (`header`).
"""

from __future__ import annotations

import itertools
import os
import struct
import tempfile
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gglib_runtime.gguf.layout import DEFAULT_ALIGNMENT, MAGIC, VALUE_TYPES

_TYPE_IDS = {name: number for number, name in VALUE_TYPES.items()}

MetadataInput = str | bool | int | float | Sequence[str] | Sequence[int] | Sequence[float]
"""Integers are written as UINT32, those of an array as INT32, floats as FLOAT32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class F32Tensor:
    """A tensor of 32-bit floats."""

    shape: tuple[int, ...]
    """Elements per dimension, fastest first, as ggml has it."""
    values: array[float]


def encode_gguf(metadata: Mapping[str, MetadataInput], tensors: Mapping[str, F32Tensor]) -> bytes:
    """Return the file's bytes; `metadata` must hold `general.architecture`."""
    parts = [MAGIC, struct.pack("=IQQ", 3, len(tensors), len(metadata))]
    parts += [_string(key) + _value(value) for key, value in metadata.items()]
    offsets = itertools.accumulate(
        (_padded(4 * len(t.values)) for t in tensors.values()), initial=0
    )
    for (name, tensor), offset in zip(tensors.items(), offsets, strict=False):
        parts.append(_string(name) + _tensor_entry(tensor, offset))
    head = b"".join(parts)
    data = (_pad(tensor.values.tobytes()) for tensor in tensors.values())
    return b"".join((_pad(head), *data))


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that the file is there whole or not at all."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _padded(size: int) -> int:
    return -(-size // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


def _pad(content: bytes) -> bytes:
    return content.ljust(_padded(len(content)), b"\0")


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("=Q", len(encoded)) + encoded


def _tensor_entry(tensor: F32Tensor, offset: int) -> bytes:
    dimensions = len(tensor.shape)
    return struct.pack(f"=I{dimensions}QIQ", dimensions, *tensor.shape, 0, offset)


def _value(value: MetadataInput) -> bytes:
    match value:
        case str():
            return struct.pack("=I", _TYPE_IDS["STRING"]) + _string(value)
        case bool():
            return struct.pack("=I?", _TYPE_IDS["BOOL"], value)
        case int():
            return struct.pack("=II", _TYPE_IDS["UINT32"], value)
        case float():
            return struct.pack("=If", _TYPE_IDS["FLOAT32"], value)
        case _:
            return struct.pack("=I", _TYPE_IDS["ARRAY"]) + _array(value)


def _array(values: Sequence[str] | Sequence[int] | Sequence[float]) -> bytes:
    if isinstance(values[0], str):
        kind, body = "STRING", b"".join(_string(str(value)) for value in values)
    elif isinstance(values[0], float):
        kind, body = "FLOAT32", struct.pack(f"={len(values)}f", *values)
    else:
        kind, body = "INT32", struct.pack(f"={len(values)}i", *values)
    return struct.pack("=IQ", _TYPE_IDS[kind], len(values)) + body
