"""Damaged and hostile files: GgufError or a sound answer, at little cost, and nothing else."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gglib_core.errors import GgufError
from gglib_runtime.gguf import source
from gglib_runtime.gguf.header import MAX_ENTRIES, GgufHeader, read_header
from gglib_runtime.gguf.metadata import MAX_ARRAY_DEPTH, MAX_KEPT_BYTES, SkippedValue
from gglib_runtime.gguf.tiny import vector
from gglib_runtime.gguf.writer import encode_gguf

MEMORY_LIMIT_BYTES = 48 << 20

SMALL = encode_gguf(
    {
        "general.architecture": "llama",
        "general.name": "small",
        "llama.context_length": 512,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.tokens": ["<unk>", "a", "b"],
        "tokenizer.ggml.scores": [0.0, -1.0, -2.0],
        "general.alignment": 32,
    },
    {"token_embd.weight": vector(64, 1.0), "output.weight": vector(8, 1.0)},
)
HEADER_BYTES = len(SMALL) - 4 * (64 + 8)

STRING, ARRAY, UINT8, UINT32 = 8, 9, 0, 4


def reads(path: Path) -> GgufHeader | GgufError:
    """What reading gives; any exception but GgufError, or much memory, fails the test."""
    tracemalloc.start()
    try:
        try:
            return read_header(path)
        except GgufError as error:
            return error
        finally:
            _, peak = tracemalloc.get_traced_memory()
            assert peak < MEMORY_LIMIT_BYTES
    finally:
        tracemalloc.stop()


def string(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def head(tensors: int, keys: int, version: int = 3) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, keys)


def value(kind: int, body: bytes, key: bytes = b"key") -> bytes:
    return string(key) + struct.pack("<I", kind) + body


def write(tmp_path: Path, *parts: bytes, size: int | None = None) -> Path:
    """The parts, and a hole up to `size`."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"".join(parts))
    if size is not None:
        os.truncate(path, size)
    return path


def test_the_small_file_is_sound(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, SMALL))

    assert header.parameters == 72
    assert header.data_offset == HEADER_BYTES


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL)
    for length in reversed(range(len(SMALL))):
        os.truncate(path, length)
        with pytest.raises(GgufError, match=r"empty|ends within|damaged|incomplete|begins with"):
            read_header(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(st.integers(0, HEADER_BYTES - 1), st.integers(0, 255)), min_size=1, max_size=8
    )
)
def test_mutated_bytes_give_an_error_or_a_bounded_answer(
    tmp_path: Path, edits: list[tuple[int, int]]
) -> None:
    content = bytearray(SMALL)
    for place, byte in edits:
        content[place] = byte

    result = reads(write(tmp_path, bytes(content)))

    assert isinstance(result, GgufError) or result.tensor_count <= 2


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.integers(0, HEADER_BYTES - 8),
    number=st.sampled_from([0, 1, 0xFF, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 62, (1 << 64) - 1]),
    code=st.sampled_from(["<I", "<Q", ">I", ">Q"]),
)
def test_extreme_lengths_anywhere_give_an_error_or_a_bounded_answer(
    tmp_path: Path, place: int, number: int, code: str
) -> None:
    content = bytearray(SMALL)
    struct.pack_into(code, content, place, number & ((1 << 8 * struct.calcsize(code)) - 1))

    result = reads(write(tmp_path, bytes(content)))

    assert isinstance(result, GgufError) or result.tensor_count <= 2


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rest=st.binary(max_size=400), counts=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_noise_behind_the_magic_gives_an_error_or_a_bounded_answer(
    tmp_path: Path, rest: bytes, counts: tuple[int, int]
) -> None:
    result = reads(write(tmp_path, head(*counts), rest))

    assert isinstance(result, GgufError) or (result.tensor_count, len(result.metadata)) == counts


HUGE = 1 << 62
TERABYTE = 1 << 40


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return value(ARRAY, struct.pack("<IQ", kind, count) + items)


HOSTILE: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "tensor count": (
        "it claims 4,611,686,018,427,387,904 tensors",
        lambda at: write(at, head(HUGE, 0), size=TERABYTE),
    ),
    "key count": (
        "it claims 4,611,686,018,427,387,904 metadata keys",
        lambda at: write(at, head(0, HUGE), size=TERABYTE),
    ),
    "one tensor too many": (
        f"it claims {MAX_ENTRIES + 1:,} tensors",
        lambda at: write(at, head(MAX_ENTRIES + 1, 0), size=TERABYTE),
    ),
    "tensors beyond the file": (
        "it claims 1,000 tensors",
        lambda at: write(at, head(1000, 0), bytes(100)),
    ),
    "keys beyond the file": (
        "it claims 1,000 metadata keys",
        lambda at: write(at, head(0, 1000), bytes(100)),
    ),
    "key length": (
        "a metadata key claims",
        lambda at: write(at, head(0, 1), struct.pack("<Q", HUGE), size=TERABYTE),
    ),
    "long key": (
        "a metadata key claims 1,073,741,824 bytes",
        lambda at: write(at, head(0, 1), struct.pack("<Q", 1 << 30), size=TERABYTE),
    ),
    "many long keys": (
        "keys are too many and too long",
        lambda at: write(at, head(0, 200), *(long_key(number) for number in range(200))),
    ),
    "string length": (
        "ends within the value of 'key'",
        lambda at: write(at, head(0, 1), value(STRING, struct.pack("<Q", HUGE))),
    ),
    "value type": (
        "unknown type 13",
        lambda at: write(at, head(0, 1), value(13, bytes(64))),
    ),
    "item type": (
        "items of the unknown type 13",
        lambda at: write(at, head(0, 1), array(13, 1)),
    ),
    "array length": (
        "ends within the value of 'key'",
        lambda at: write(at, head(0, 1), array(UINT32, HUGE)),
    ),
    "array length that overflows": (
        "ends within the value of 'key'",
        lambda at: write(at, head(0, 1), array(UINT32, (1 << 64) - 1)),
    ),
    "many empty strings": (
        "claims more items than any model has",
        lambda at: write(at, head(0, 1), array(STRING, 1 << 36), size=TERABYTE),
    ),
    "many empty arrays": (
        "claims more items than any model has",
        lambda at: write(at, head(0, 1), array(ARRAY, 1 << 20), size=TERABYTE),
    ),
    "the last of many strings": (
        "ends within the value of 'key'",
        lambda at: write(at, head(0, 1), array(STRING, 5000, bytes(8 * 4999) + bytes([1] * 8))),
    ),
    "deep arrays": (
        "nested too deep",
        lambda at: write(
            at, head(0, 1), array(ARRAY, 1, struct.pack("<IQ", ARRAY, 1) * MAX_ARRAY_DEPTH)
        ),
    ),
    "a key twice": (
        "'key' stands there twice",
        lambda at: write(at, head(0, 2), value(UINT8, b"\1") * 2),
    ),
    "alignment zero": (
        "no power of two",
        lambda at: write(at, head(0, 1), alignment(0)),
    ),
    "alignment three": (
        "no power of two",
        lambda at: write(at, head(0, 1), alignment(3)),
    ),
    "alignment as text": (
        "not a number",
        lambda at: write(at, head(0, 1), value(STRING, string(b"32"), b"general.alignment")),
    ),
    "tensor name": (
        "a tensor's name claims",
        lambda at: write(at, head(1, 0), struct.pack("<Q", 1 << 20), size=TERABYTE),
    ),
    "dimensions": (
        "claims 5 dimensions",
        lambda at: write(at, head(1, 0), string(b"w"), struct.pack("<I", 5), bytes(64)),
    ),
    "elements": (
        "parameters",
        lambda at: write(at, head(1, 0), tensor(dimensions=(HUGE, HUGE, HUGE, HUGE))),
    ),
    "elements of an unknown type": (
        "parameters",
        lambda at: write(at, head(1, 0), tensor(dimensions=(HUGE, HUGE), kind=999), bytes(64)),
    ),
    "elements that fill no block": (
        "Q4_0 cannot store",
        lambda at: write(at, head(1, 0), tensor(dimensions=(33,), kind=2), bytes(4096)),
    ),
    "offset": (
        "bytes are missing",
        lambda at: write(at, head(1, 0), tensor(offset=(1 << 64) - 1)),
    ),
    "offset of an unknown type": (
        "bytes are missing",
        lambda at: write(at, head(1, 0), tensor(kind=999, offset=(1 << 64) - 1)),
    ),
    "data cut off": (
        "1 bytes are missing",
        lambda at: write(at, SMALL[:-1]),
    ),
}


def long_key(number: int) -> bytes:
    return value(UINT8, b"\1", str(number).encode().ljust(60_000, b"."))


def alignment(number: int) -> bytes:
    return value(UINT32, struct.pack("<I", number), b"general.alignment")


def tensor(dimensions: tuple[int, ...] = (1,), kind: int = 0, offset: int = 0) -> bytes:
    shape = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return string(b"w") + shape + struct.pack("<IQ", kind, offset)


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_numbers_are_errors(tmp_path: Path, case: str) -> None:
    reason, write_case = HOSTILE[case]

    result = reads(write_case(tmp_path))

    assert isinstance(result, GgufError)
    assert reason in result.reason
    assert result.path == str(tmp_path / "m.gguf")


def test_what_is_kept_of_many_long_strings_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    with path.open("wb") as file:
        file.write(head(0, 200))
        for number in range(200):
            file.write(value(STRING, struct.pack("<Q", 1 << 20), f"key {number}".encode()))
            file.seek(1 << 20, os.SEEK_CUR)
        file.truncate()

    result = reads(path)

    assert isinstance(result, GgufHeader)
    kept = [item for item in result.metadata.values() if isinstance(item, str)]
    assert 0 < sum(map(len, kept)) <= MAX_KEPT_BYTES
    assert result.metadata["key 199"] == SkippedValue(1 << 20)


def test_what_is_kept_of_many_arrays_is_bounded(tmp_path: Path) -> None:
    items = struct.pack("<IQ", UINT8, 1024) + bytes(range(256)) * 4
    keys = (value(ARRAY, items, str(number).encode()) for number in range(20_000))

    result = reads(write(tmp_path, head(0, 20_000), *keys))

    assert isinstance(result, GgufHeader)
    assert result.metadata["19999"] == SkippedValue(1024)


def test_as_many_keys_as_allowed_are_within_the_memory_limit(tmp_path: Path) -> None:
    keys = (value(UINT8, b"\1", str(number).encode()) for number in range(MAX_ENTRIES))

    result = reads(write(tmp_path, head(0, MAX_ENTRIES), *keys))

    assert isinstance(result, GgufHeader)
    assert len(result.metadata) == MAX_ENTRIES


def test_a_header_spread_over_a_sparse_file_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    count = source.MAX_READ_BYTES // (64 << 10) + 1
    with path.open("wb") as file:
        file.write(head(0, 1) + value(ARRAY, struct.pack("<IQ", STRING, count)))
        for _ in range(count):
            file.write(struct.pack("<Q", 1 << 20))
            file.seek(1 << 20, os.SEEK_CUR)
        file.truncate()

    result = reads(path)

    assert isinstance(result, GgufError)
    assert "does not end" in result.reason


@pytest.mark.parametrize(
    ("content", "meaning"),
    [
        (b"", "is empty"),
        (b"GG", "begins with"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"PK\x03\x04.....", "PyTorch"),
        (b"lmgg" + bytes(60), "older GGML"),
        (struct.pack("<Q", 60) + b'{"__metadata__":{}}', "safetensors"),
        (b"\x7fELF" + bytes(60), r"begins with '\\x7fELF'"),
    ],
)
def test_other_files_are_recognised(tmp_path: Path, content: bytes, meaning: str) -> None:
    with pytest.raises(GgufError, match=meaning):
        read_header(write(tmp_path, content))


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for path, meaning in (
        (tmp_path, "is a directory"),
        (tmp_path / "fifo", "no regular file"),
        (tmp_path / "loop", "cannot be read"),
        (tmp_path / "absent", "No such file"),
        (tmp_path / ("n" * 5000), "cannot be read"),
        (Path("nul\0"), "cannot be the name"),
        (Path("half \ud800"), "cannot be the name"),
    ):
        with pytest.raises(GgufError, match=meaning):
            read_header(path)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL)
    with path.open("rb", buffering=0) as file:
        shrinking = source.BoundedSource(str(path), file, len(SMALL) + 4096)
        shrinking.skip(len(SMALL), "all of it")
        with pytest.raises(GgufError, match="ends within"):
            shrinking.take(8, "the rest")
