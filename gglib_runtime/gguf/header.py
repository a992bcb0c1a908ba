"""Reads the header of a GGUF file, of which nothing is believed.

Every length is held against the file's size and against a limit of our own, large values are
stepped over, and what a file can make us keep or walk through is bounded. A file that is not a
sound GGUF gives GgufError and no other exception.

Not here: what the metadata means (`facts`), and files of several shards (`shards`).
"""

from __future__ import annotations

import stat
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Literal

from gglib_core.errors import GgufError
from gglib_runtime.gguf.layout import (
    ARRAY_TYPE,
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_DIMENSIONS,
    SCALAR_CODES,
    STRING_TYPE,
    TENSOR_TYPES,
    VALUE_TYPES,
)

MAX_ENTRIES = 65_536
"""Metadata keys, and tensors; the largest models have a few thousand tensors."""
MAX_KEY_BYTES = 65_535
MAX_TENSOR_NAME_BYTES = 1024
MAX_ARRAY_DEPTH = 4
MAX_ARRAY_STEPS = 8_000_000
"""Strings and nested arrays in all arrays together; a large vocabulary has 0.3 million."""
MAX_KEPT_STRING_BYTES = 1 << 20
MAX_KEPT_TEMPLATE_BYTES = 4 << 20
MAX_KEPT_ITEMS = 1024
"""Longer arrays are stepped over."""
MAX_KEPT_BYTES = 16 << 20
"""Of keys and values together; further values are stepped over."""
MAX_PARAMETERS = (1 << 63) - 1

CHAT_TEMPLATE_KEY = "tokenizer.chat_template"
_WINDOW_BYTES = 256 << 10

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class SkippedValue:
    """Stands for a string or an array that was too large to keep."""

    length: int
    """Bytes of a string, items of an array."""


MetadataValue = Scalar | tuple[Scalar, ...] | SkippedValue


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
    """Read the header of the GGUF file at `path`. Blocking; a few milliseconds for most files.

    Raises GgufError when the file cannot be read, is no GGUF, is damaged, or ends before its data.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise GgufError(str(path), f"is {kind}, not a GGUF file")
        with path.open("rb", buffering=0) as file:
            return _HeaderReader(str(path), file, path.stat().st_size).read()
    except OSError as error:
        raise GgufError(str(path), f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a path with a NUL
        raise GgufError(str(path), f"cannot be read: {error}") from error


class _HeaderReader:
    """A position in one file, and what of the limits is used up."""

    def __init__(self, path: str, file: BinaryIO, size: int) -> None:
        self._path = path
        self._file = file
        self._size = size
        self._position = 0
        self._window = b""
        self._window_start = 0
        self._order = "<"
        self._kept_bytes = 0
        self._array_steps = 0

    def read(self) -> GgufHeader:
        self._check_magic()
        version = self._read_version()
        tensor_count = self._count("tensors", least_bytes=24)
        metadata = self._read_metadata(self._count("metadata keys", least_bytes=13))
        alignment = self._alignment(metadata)
        ends, elements = self._read_tensors(tensor_count)
        data_offset = -(-self._position // alignment) * alignment
        if tensor_count and data_offset + ends > self._size:
            missing = data_offset + ends - self._size
            raise self._error(
                f"is incomplete: {missing:,} bytes of tensor data are missing. Download it again."
            )
        return GgufHeader(
            path=self._path,
            version=version,
            byte_order="little" if self._order == "<" else "big",
            metadata=MappingProxyType(metadata),
            tensor_count=tensor_count,
            parameters=sum(elements.values()),
            tensor_types=MappingProxyType(elements),
            alignment=alignment,
            data_offset=data_offset,
            size_bytes=self._size,
        )

    def _error(self, reason: str) -> GgufError:
        return GgufError(self._path, reason)

    def _damaged(self, what: str) -> GgufError:
        return self._error(f"is damaged or not a GGUF file: {what} (near byte {self._position:,})")

    # Bytes

    def _take(self, size: int, what: str) -> bytes:
        """The next `size` bytes; callers bound `size`."""
        if size > self._size - self._position:
            raise self._error(f"ends within {what}: it is incomplete or damaged")
        start = self._position - self._window_start
        if start < 0 or start + size > len(self._window):
            self._fill(size, what)
            start = 0
        self._position += size
        return self._window[start : start + size]

    def _fill(self, size: int, what: str) -> None:
        self._file.seek(self._position)
        self._window_start = self._position
        self._window = b""
        while len(self._window) < size:
            more = self._file.read(max(_WINDOW_BYTES, size) - len(self._window))
            if not more:
                raise self._error(f"ends within {what}: it is incomplete or damaged")
            self._window += more

    def _skip(self, size: int, what: str) -> None:
        if size > self._size - self._position:
            raise self._error(f"ends within {what}: it is incomplete or damaged")
        self._position += size

    def _number(self, code: str, what: str) -> int:
        (value,) = struct.unpack(self._order + code, self._take(struct.calcsize(code), what))
        return value

    def _count(self, what: str, least_bytes: int) -> int:
        count = self._number("Q", f"the number of {what}")
        if count > MAX_ENTRIES or count * least_bytes > self._size - self._position:
            raise self._damaged(f"it claims {count:,} {what}")
        return count

    # Structure

    def _check_magic(self) -> None:
        if self._size == 0:
            raise self._error("is empty")
        magic = self._take(min(self._size, 40), "its first bytes")
        if not magic.startswith(MAGIC):
            raise self._error(f"is not a GGUF file: {_guess_content(magic)}")
        self._position = len(MAGIC)

    def _read_version(self) -> int:
        version = self._number("I", "the version")
        if version and version & 0xFFFF == 0:
            self._order = ">"
            version = int.from_bytes(version.to_bytes(4, "little"), "big")
        if version == 1:
            raise self._error("is a GGUF of version 1, which llama.cpp no longer reads")
        if version not in (2, 3):
            raise self._error(f"is a GGUF of version {version}; gglib reads versions 2 and 3")
        return version

    def _read_metadata(self, count: int) -> dict[str, MetadataValue]:
        metadata: dict[str, MetadataValue] = {}
        for _ in range(count):
            key = self._text(MAX_KEY_BYTES, "a metadata key")
            self._kept_bytes += len(key)
            if self._kept_bytes > MAX_KEPT_BYTES:
                raise self._damaged("the metadata keys are too many and too long")
            if key in metadata:
                raise self._damaged(f"the metadata key {key[:80]!r} stands there twice")
            metadata[key] = self._value(key)
        return metadata

    def _value(self, key: str) -> MetadataValue:
        what = f"the value of {key[:80]!r}"
        kind = self._number("I", what)
        if kind == STRING_TYPE:
            limit = MAX_KEPT_STRING_BYTES
            if key == CHAT_TEMPLATE_KEY:
                limit = MAX_KEPT_TEMPLATE_BYTES
            return self._kept_string(limit, what)
        if kind == ARRAY_TYPE:
            return self._array(what)
        return self._scalar(kind, what)

    def _scalar(self, kind: int, what: str) -> Scalar:
        code = SCALAR_CODES.get(kind)
        if code is None:
            raise self._damaged(f"{what} has the unknown type {kind}")
        return self._number(code, what)

    def _text(self, limit: int, what: str) -> str:
        length = self._number("Q", what)
        if length > limit:
            raise self._damaged(f"{what} claims {length:,} bytes")
        return self._take(length, what).decode("utf-8", "replace")

    def _kept_string(self, limit: int, what: str) -> str | SkippedValue:
        length = self._number("Q", what)
        if length > limit or self._kept_bytes + length > MAX_KEPT_BYTES:
            self._skip(length, what)
            return SkippedValue(length)
        self._kept_bytes += length
        return self._take(length, what).decode("utf-8", "replace")

    def _array(self, what: str) -> tuple[Scalar, ...] | SkippedValue:
        kind, count = self._array_head(what)
        if count > MAX_KEPT_ITEMS or kind == ARRAY_TYPE:
            self._skip_items(kind, count, what, depth=1)
            return SkippedValue(count)
        if kind != STRING_TYPE:
            return tuple(self._scalar(kind, what) for _ in range(count))
        self._spend_steps(count, what)
        items = [self._kept_string(MAX_KEPT_STRING_BYTES, what) for _ in range(count)]
        strings = tuple(item for item in items if isinstance(item, str))
        return strings if len(strings) == count else SkippedValue(count)

    def _array_head(self, what: str) -> tuple[int, int]:
        kind = self._number("I", what)
        count = self._number("Q", what)
        if kind not in VALUE_TYPES:
            raise self._damaged(f"{what} has items of the unknown type {kind}")
        return kind, count

    def _skip_items(self, kind: int, count: int, what: str, depth: int) -> None:
        if code := SCALAR_CODES.get(kind):
            self._skip(count * struct.calcsize(code), what)
            return
        self._spend_steps(count, what)
        if kind == STRING_TYPE:
            self._skip_strings(count, what)
            return
        if depth == MAX_ARRAY_DEPTH:
            raise self._damaged(f"{what} has arrays nested too deep")
        for _ in range(count):
            inner, items = self._array_head(what)
            self._skip_items(inner, items, what, depth + 1)

    def _skip_strings(self, count: int, what: str) -> None:
        for _ in range(count):
            self._skip(self._number("Q", what), what)

    def _spend_steps(self, count: int, what: str) -> None:
        self._array_steps += count
        if self._array_steps > MAX_ARRAY_STEPS:
            raise self._damaged(f"{what} claims {count:,} items")

    def _alignment(self, metadata: Mapping[str, MetadataValue]) -> int:
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if isinstance(alignment, bool) or not isinstance(alignment, int):
            raise self._damaged("general.alignment is not a number")
        if alignment <= 0 or alignment & (alignment - 1) or alignment > 1 << 31:
            raise self._damaged(f"general.alignment is {alignment}, which is no power of two")
        return alignment

    def _read_tensors(self, count: int) -> tuple[int, dict[str, int]]:
        """Return where the data of the last tensor ends, and the elements by type."""
        last_end, elements, total = 0, dict[str, int](), 0
        for _ in range(count):
            name = self._text(MAX_TENSOR_NAME_BYTES, "a tensor's name")
            what = f"the tensor {name[:80]!r}"
            length = self._tensor_length(what)
            kind = self._number("I", what)
            offset = self._number("Q", what)
            total += length
            if total > MAX_PARAMETERS:
                raise self._damaged(f"{what} claims {length:,} elements")
            type_name, size = self._stored_size(kind, length, what)
            elements[type_name] = elements.get(type_name, 0) + length
            last_end = max(last_end, offset + size)
        return last_end, elements

    def _tensor_length(self, what: str) -> int:
        dimensions = self._number("I", what)
        if dimensions > MAX_DIMENSIONS:
            raise self._damaged(f"{what} claims {dimensions:,} dimensions")
        length = 1
        for _ in range(dimensions):
            length *= self._number("Q", what)
        return length

    def _stored_size(self, kind: int, length: int, what: str) -> tuple[str, int]:
        known = TENSOR_TYPES.get(kind)
        if known is None:
            return f"type {kind}", 0  # newer than this table; the engine will judge
        if length % known.block_length:
            raise self._damaged(f"{what} has {length:,} elements, no multiple of its block length")
        return known.name, length // known.block_length * known.block_bytes


_OTHER_CONTENT = (
    (b"version https://git-lfs", "it is a Git LFS pointer; fetch the model with `git lfs pull`"),
    (b"<!DOCTYPE", "it is a web page; the download went wrong"),
    (b"<html", "it is a web page; the download went wrong"),
    (b"PK\x03\x04", "it is a zip archive or a PyTorch checkpoint; convert it to GGUF first"),
    (b"lmgg", "it has the older GGML format; convert it to GGUF first"),
    (b"tjgg", "it has the older GGJT format; convert it to GGUF first"),
)


def _guess_content(start: bytes) -> str:
    for prefix, meaning in _OTHER_CONTENT:
        if start[: len(prefix)].lower() == prefix.lower():
            return meaning
    if start[8:10] == b'{"':
        return "it looks like safetensors; convert it to GGUF first"
    return f"it begins with {start[:4]!r}, not with 'GGUF'"


def is_native(header: GgufHeader) -> bool:
    """Whether llama.cpp on this machine can read a file of that byte order."""
    return header.byte_order == sys.byteorder
