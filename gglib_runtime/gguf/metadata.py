"""Reads the metadata of a GGUF file within limits on time and memory.

Large values are stepped over. The limits are far above what any model has. Not here: single bytes
(`source`), and what the keys mean (`facts`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from gglib_runtime.gguf.layout import ARRAY_TYPE, SCALAR_CODES, STRING_TYPE, VALUE_TYPES
from gglib_runtime.gguf.source import BoundedSource

MAX_KEY_BYTES = 65_535
MAX_ARRAY_DEPTH = 4
MAX_ARRAY_STEPS = 4_000_000
"""Strings in all arrays together; the largest vocabularies with their merges have 0.7 million."""
NESTED_ARRAY_STEPS = 64
"""What one array within an array counts for."""
MAX_KEPT_STRING_BYTES = 1 << 20
MAX_KEPT_TEMPLATE_BYTES = 4 << 20
MAX_KEPT_ITEMS = 1024
"""Longer arrays are stepped over."""
MAX_KEYS_BYTES = 8 << 20
MAX_KEPT_BYTES = 8 << 20
"""Of all values; further strings and arrays are stepped over."""
_ENTRY_BYTES = 100
_ITEM_BYTES = 40
"""What Python needs for a metadata entry, and for an item of an array, in round numbers."""

CHAT_TEMPLATE_KEY = "tokenizer.chat_template"

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class SkippedValue:
    """Stands for a string or an array that was too large to keep."""

    length: int
    """Bytes of a string, items of an array."""


MetadataValue = Scalar | tuple[Scalar, ...] | SkippedValue


def read_metadata(source: BoundedSource, count: int) -> Mapping[str, MetadataValue]:
    """Read `count` entries from where `source` stands. Raises GgufError."""
    return _MetadataReader(source).read(count)


class _MetadataReader:
    """Counts what of the limits is used up."""

    def __init__(self, source: BoundedSource) -> None:
        self._source = source
        self._key_bytes = 0
        self._kept_bytes = 0
        self._array_steps = 0

    def read(self, count: int) -> dict[str, MetadataValue]:
        metadata: dict[str, MetadataValue] = {}
        for _ in range(count):
            key = self._source.text(MAX_KEY_BYTES, "a metadata key")
            self._key_bytes += len(key) + _ENTRY_BYTES
            if self._key_bytes > MAX_KEYS_BYTES:
                raise self._source.damaged("the metadata keys are too many and too long")
            if key in metadata:
                raise self._source.damaged(f"the metadata key {key[:80]!r} stands there twice")
            metadata[key] = self._value(key)
        return metadata

    def _value(self, key: str) -> MetadataValue:
        what = f"the value of {key[:80]!r}"
        kind = self._source.number("I", what)
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
            raise self._source.damaged(f"{what} has the unknown type {kind}")
        return self._source.number(code, what)

    def _kept_string(self, limit: int, what: str) -> str | SkippedValue:
        length = self._source.number("Q", what)
        if length > limit or not self._keep(length):
            self._source.skip(length, what)
            return SkippedValue(length)
        return self._source.take(length, what).decode("utf-8", "replace")

    def _array(self, what: str) -> tuple[Scalar, ...] | SkippedValue:
        kind, count = self._array_head(what)
        if count > MAX_KEPT_ITEMS or kind == ARRAY_TYPE or not self._keep(count * _ITEM_BYTES):
            self._skip_items(kind, count, what, depth=1)
            return SkippedValue(count)
        if code := SCALAR_CODES.get(kind):
            packed = struct.Struct(f"{self._source.order_code}{count}{code}")
            return packed.unpack(self._source.take(packed.size, what))
        self._spend_steps(count, what)
        items = [self._kept_string(MAX_KEPT_STRING_BYTES, what) for _ in range(count)]
        strings = tuple(item for item in items if isinstance(item, str))
        return strings if len(strings) == count else SkippedValue(count)

    def _array_head(self, what: str) -> tuple[int, int]:
        kind = self._source.number("I", what)
        count = self._source.number("Q", what)
        if kind not in VALUE_TYPES:
            raise self._source.damaged(f"{what} has items of the unknown type {kind}")
        return kind, count

    def _skip_items(self, kind: int, count: int, what: str, depth: int) -> None:
        if code := SCALAR_CODES.get(kind):
            self._source.skip(count * struct.calcsize(code), what)
            return
        if kind == STRING_TYPE:
            self._spend_steps(count, what)
            self._source.skip_strings(count, what)
            return
        self._spend_steps(count * NESTED_ARRAY_STEPS, what)
        if depth == MAX_ARRAY_DEPTH:
            raise self._source.damaged(f"{what} has arrays nested too deep")
        for _ in range(count):
            inner, items = self._array_head(what)
            self._skip_items(inner, items, what, depth + 1)

    def _spend_steps(self, steps: int, what: str) -> None:
        self._array_steps += steps
        if self._array_steps > MAX_ARRAY_STEPS:
            raise self._source.damaged(f"{what} claims more items than any model has")

    def _keep(self, size: int) -> bool:
        """Whether that much more may be kept; if so it counts as kept."""
        if self._kept_bytes + size > MAX_KEPT_BYTES:
            return False
        self._kept_bytes += size
        return True
