"""Reads the header of a GGUF file, of which nothing is believed.

A file that is not a sound GGUF gives GgufError and no other exception, at little cost. Not here:
what the metadata means (`facts`), and files of several shards (`shards`).
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Literal

from gglib_core.errors import GgufError
from gglib_runtime.gguf.layout import DEFAULT_ALIGNMENT, MAGIC, MAX_DIMENSIONS, TENSOR_TYPES
from gglib_runtime.gguf.metadata import MetadataValue, read_metadata
from gglib_runtime.gguf.source import BoundedSource

MAX_ENTRIES = 65_536
"""Metadata keys, and tensors; the largest models have a few thousand tensors."""
MAX_TENSOR_NAME_BYTES = 1024
MAX_PARAMETERS = 1 << 46
"""70 trillion in one file; with 99,999 shards the sum still fits a database's integer."""

_LEAST_KEY_BYTES = 13
_LEAST_TENSOR_BYTES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What stands before a GGUF file's tensor data."""

    path: str
    version: int
    byte_order: Literal["little", "big"]
    metadata: Mapping[str, MetadataValue]
    tensor_count: int
    parameters: int
    """Elements of all tensors in this file."""
    tensor_types: Mapping[str, int]
    """Elements by tensor type, for example `Q4_K`."""
    alignment: int
    data_offset: int
    """Where the tensor data begins."""
    size_bytes: int

    def text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def integer(self, key: str) -> int | None:
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def is_native(self) -> bool:
        """Whether llama.cpp on this machine can read a file of that byte order."""
        return self.byte_order == sys.byteorder

    @property
    def file_type(self) -> int | None:
        return self.integer("general.file_type")

    @property
    def split_count(self) -> int:
        """Shards that the model is split into; 0 where the file does not say."""
        return self.integer("split.count") or 0

    @property
    def split_number(self) -> int:
        """Which of the shards this is, counted from 0."""
        return self.integer("split.no") or 0


def read_header(path: Path | str) -> GgufHeader:
    """Read the header of the GGUF file at `path`. Blocking; up to a tenth of a second.

    Raises GgufError when the file cannot be read, is no GGUF, is damaged, or ends before its data.
    """
    try:
        with _open(Path(path)) as file:
            size = os.fstat(file.fileno()).st_size
            return _read(BoundedSource(str(path), file, size))
    except OSError as error:
        raise GgufError(str(path), f"cannot be read: {error.strerror or error}") from error


def _open(path: Path) -> BinaryIO:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise GgufError(str(path), f"is {kind}, not a GGUF file")
        return path.open("rb", buffering=0)
    except ValueError as error:
        # A NUL or half a surrogate pair in the path.
        raise GgufError(ascii(str(path)), f"cannot be the name of a file: {error}") from error


def _read(source: BoundedSource) -> GgufHeader:
    _check_magic(source)
    version = _read_version(source)
    tensor_count = _count(source, "tensors", _LEAST_TENSOR_BYTES)
    metadata = read_metadata(source, _count(source, "metadata keys", _LEAST_KEY_BYTES))
    alignment = _alignment(source, metadata)
    data_bytes, tensor_types = _read_tensors(source, tensor_count)
    data_offset = -(-source.position // alignment) * alignment
    missing = data_offset + data_bytes - source.size
    if tensor_count and missing > 0:
        raise GgufError(
            source.path, f"is incomplete: {missing:,} bytes are missing; download it again"
        )
    return GgufHeader(
        path=source.path,
        version=version,
        byte_order=source.byte_order,
        metadata=MappingProxyType(dict(metadata)),
        tensor_count=tensor_count,
        parameters=tensor_types.total(),
        tensor_types=MappingProxyType(tensor_types),
        alignment=alignment,
        data_offset=data_offset,
        size_bytes=source.size,
    )


def _check_magic(source: BoundedSource) -> None:
    if source.size == 0:
        raise GgufError(source.path, "is empty")
    start = source.take(min(source.size, 40), "its first bytes")
    if not start.startswith(MAGIC):
        raise GgufError(source.path, f"is not a GGUF file: {_guess_content(start)}")
    source.position = len(MAGIC)


def _read_version(source: BoundedSource) -> int:
    version = source.number("I", "its version")
    if version and version & 0xFFFF == 0:
        source.byte_order = "big"
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in (2, 3):
        raise GgufError(
            source.path, f"is a GGUF of version {version}; llama.cpp reads versions 2 and 3"
        )
    return version


def _count(source: BoundedSource, what: str, least_bytes: int) -> int:
    count = source.number("Q", f"the number of {what}")
    if count > MAX_ENTRIES or count * least_bytes > source.remaining:
        raise source.damaged(f"it claims {count:,} {what}")
    return count


def _alignment(source: BoundedSource, metadata: Mapping[str, MetadataValue]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if isinstance(alignment, bool) or not isinstance(alignment, int):
        raise source.damaged("general.alignment is not a number")
    if alignment <= 0 or alignment & (alignment - 1):
        raise source.damaged(f"general.alignment is {alignment}, which is no power of two")
    return alignment


def _read_tensors(source: BoundedSource, count: int) -> tuple[int, Counter[str]]:
    """Return the size of the tensor data, and the elements by tensor type."""
    data_bytes, elements = 0, Counter[str]()
    for _ in range(count):
        name = source.text(MAX_TENSOR_NAME_BYTES, "a tensor's name")
        what = f"the tensor {name[:80]!r}"
        length = _tensor_length(source, what)
        type_name, size = _stored_size(source, length, what)
        elements[type_name] += length
        data_bytes = max(data_bytes, source.number("Q", what) + size)
    if elements.total() > MAX_PARAMETERS:
        raise source.damaged(f"it claims {elements.total():,} parameters")
    return data_bytes, elements


def _tensor_length(source: BoundedSource, what: str) -> int:
    dimensions = source.number("I", what)
    if dimensions > MAX_DIMENSIONS:
        raise source.damaged(f"{what} claims {dimensions:,} dimensions")
    length = 1
    for _ in range(dimensions):
        length *= source.number("Q", what)
    return length


def _stored_size(source: BoundedSource, length: int, what: str) -> tuple[str, int]:
    number = source.number("I", what)
    kind = TENSOR_TYPES.get(number)
    if kind is None:
        return f"type {number}", 0  # perhaps newer than the table: the engine will judge
    if length % kind.block_length:
        raise source.damaged(f"{what} has {length:,} elements, which {kind.name} cannot store")
    return kind.name, length // kind.block_length * kind.block_bytes


_OTHER_CONTENT = (
    (b"version https://git-lfs", "it is a Git LFS pointer; fetch the model with `git lfs pull`"),
    (b"<!doctype", "it is a web page; the download went wrong"),
    (b"<html", "it is a web page; the download went wrong"),
    (b"pk\x03\x04", "it is a zip archive or a PyTorch checkpoint; convert it to GGUF first"),
    (b"lmgg", "it has the older GGML format; convert it to GGUF first"),
    (b"tjgg", "it has the older GGJT format; convert it to GGUF first"),
)


def _guess_content(start: bytes) -> str:
    for prefix, meaning in _OTHER_CONTENT:
        if start.lower().startswith(prefix):
            return meaning
    if start[8:10] == b'{"':
        return "it looks like safetensors; convert it to GGUF first"
    return f"it begins with {start[:4].decode('latin-1')!r}, not with 'GGUF'"
