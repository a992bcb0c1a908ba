"""The header reader against the `gguf` package: what that writes, this reads the same."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from gglib_core.errors import GgufError
from gglib_runtime.gguf.header import GgufHeader, read_header
from gglib_runtime.gguf.layout import FILE_TYPES, POOLING_TYPES, TENSOR_TYPES, VALUE_TYPES
from gglib_runtime.gguf.metadata import (
    MAX_KEPT_ITEMS,
    MAX_KEPT_STRING_BYTES,
    SkippedValue,
)
from tests.gguf_files import tiny_bytes, write_tiny

SCALARS = {
    "uint8": 200,
    "int8": -7,
    "uint16": 65_000,
    "int16": -300,
    "uint32": 4_000_000_000,
    "int32": -2_000_000_000,
    "uint64": 1 << 63,
    "int64": -(1 << 62),
    "float32": 0.5,
    "float64": 0.1,
    "bool": True,
    "string": "grün ☃ 𝄞",
}


def write(
    path: Path,
    *,
    endianess: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE,
    tensors: dict[str, np.ndarray] | None = None,
    **values: tuple[gguf.GGUFValueType, object],
) -> Path:
    writer = gguf.GGUFWriter(path, "llama", endianess=endianess)
    for key, (kind, value) in values.items():
        writer.add_key_value(key, value, kind)
    for name, tensor in (tensors or {"weight": np.ones((2, 32), np.float32)}).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def values_as_gguf_reads_them(path: Path) -> dict[str, object]:
    fields = gguf.GGUFReader(path).fields.items()
    return {key: field.contents() for key, field in fields if not key.startswith("GGUF.")}


def comparable(header: GgufHeader) -> dict[str, object]:
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in header.metadata.items()
    }


@pytest.mark.parametrize("endianess", list(gguf.GGUFEndian))
def test_reads_every_scalar_type_in_either_byte_order(
    tmp_path: Path, endianess: gguf.GGUFEndian
) -> None:
    values = {name: (gguf.GGUFValueType[name.upper()], value) for name, value in SCALARS.items()}
    path = write(tmp_path / "m.gguf", endianess=endianess, **values)

    header = read_header(path)

    assert header.byte_order == endianess.name.lower()
    assert comparable(header) == values_as_gguf_reads_them(path)
    assert {name: header.metadata[name] for name in SCALARS} == SCALARS


@pytest.mark.parametrize("endianess", list(gguf.GGUFEndian))
@pytest.mark.parametrize("name", SCALARS)
def test_reads_arrays_of_every_type(tmp_path: Path, name: str, endianess: gguf.GGUFEndian) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", endianess=endianess)
    kind = gguf.GGUFValueType[name.upper()]
    writer.add_key_value("array", [SCALARS[name]] * 3, gguf.GGUFValueType.ARRAY, sub_type=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()

    header = read_header(tmp_path / "m.gguf")

    assert header.metadata["array"] == (SCALARS[name],) * 3
    assert comparable(header) == values_as_gguf_reads_them(tmp_path / "m.gguf")


def test_version_2_has_the_same_layout(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, "tiny-embed")
    expected = read_header(path)
    content = bytearray(path.read_bytes())
    content[4:8] = struct.pack("=I", 2)
    path.write_bytes(content)

    header = read_header(path)

    assert header.version == 2
    assert header.metadata == expected.metadata
    assert header.parameters == expected.parameters


@pytest.mark.parametrize("version", [0, 1, 4, 0x0100_0000, 0x0400_0000])
def test_other_versions_are_named(tmp_path: Path, version: int) -> None:
    content = bytearray(tiny_bytes("tiny-embed"))
    content[4:8] = struct.pack("=I", version)
    (tmp_path / "m.gguf").write_bytes(content)

    with pytest.raises(GgufError, match="of version"):
        read_header(tmp_path / "m.gguf")


def test_counts_parameters_by_tensor_type_as_gguf_does(tmp_path: Path) -> None:
    tensors = {
        "a": np.ones((3, 5, 32), np.float32),
        "b": np.ones((7,), np.float16),
        "c": np.ones((2, 2, 2, 2), np.int8),
    }
    path = write(tmp_path / "m.gguf", tensors=tensors)

    header = read_header(path)

    oracle = gguf.GGUFReader(path)
    assert header.tensor_types == {"F32": 480, "F16": 7, "I8": 16}
    assert header.parameters == sum(int(tensor.n_elements) for tensor in oracle.tensors)
    assert header.tensor_count == len(oracle.tensors)
    assert header.data_offset == oracle.data_offset


def test_measures_quantised_tensors_by_their_blocks(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    blocks = np.zeros((2, 144 * 3), np.uint8)
    writer.add_tensor("w", blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    assert read_header(tmp_path / "m.gguf").tensor_types == {"Q4_K": 2 * 3 * 256}


def test_honours_the_alignment(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_custom_alignment(1024)
    writer.add_tensor("w", np.ones((32,), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    header = read_header(tmp_path / "m.gguf")

    assert header.alignment == 1024
    assert header.data_offset == gguf.GGUFReader(tmp_path / "m.gguf").data_offset


def test_steps_over_large_values(tmp_path: Path) -> None:
    long_string = "x" * (MAX_KEPT_STRING_BYTES + 1)
    path = write(
        tmp_path / "m.gguf",
        long=(gguf.GGUFValueType.STRING, long_string),
        **{"tokenizer.chat_template": (gguf.GGUFValueType.STRING, long_string)},
        strings=(gguf.GGUFValueType.ARRAY, ["word"] * (MAX_KEPT_ITEMS + 1)),
        numbers=(gguf.GGUFValueType.ARRAY, [1] * (MAX_KEPT_ITEMS + 1)),
        few=(gguf.GGUFValueType.ARRAY, [1] * MAX_KEPT_ITEMS),
        after=(gguf.GGUFValueType.STRING, "still read"),
    )

    metadata = read_header(path).metadata

    assert metadata["long"] == SkippedValue(len(long_string))
    assert metadata["tokenizer.chat_template"] == long_string
    assert metadata["strings"] == metadata["numbers"] == SkippedValue(MAX_KEPT_ITEMS + 1)
    assert metadata["few"] == (1,) * MAX_KEPT_ITEMS
    assert metadata["after"] == "still read"


def test_steps_over_nested_arrays(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.gguf",
        nested=(gguf.GGUFValueType.ARRAY, [[1, 2], [3]]),
        after=(gguf.GGUFValueType.STRING, "still read"),
    )

    metadata = read_header(path).metadata

    assert metadata["nested"] == SkippedValue(2)
    assert metadata["after"] == "still read"


def test_replaces_what_is_not_utf_8(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", key=(gguf.GGUFValueType.STRING, "caf\u00e9"))
    path.write_bytes(path.read_bytes().replace("caf\u00e9".encode(), b"caf\xff\xfe"))

    assert read_header(path).metadata["key"] == "caf\ufffd\ufffd"


def test_tells_values_from_values_of_another_type(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.gguf",
        flag=(gguf.GGUFValueType.BOOL, True),
        number=(gguf.GGUFValueType.UINT32, 1),
        word=(gguf.GGUFValueType.STRING, "1"),
    )

    header = read_header(path)

    assert [header.integer(key) for key in ("flag", "number", "word", "none")] == [
        None,
        1,
        None,
        None,
    ]
    assert [header.text(key) for key in ("flag", "number", "word", "none")] == [
        None,
        None,
        "1",
        None,
    ]


def test_the_format_tables_have_all_that_the_gguf_package_knows() -> None:
    types = {
        kind.value: (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType
    }
    # llama.cpp has stored Q8_1 in 36 bytes since it halved the scales; the package still says 40.
    types[gguf.GGMLQuantizationType.Q8_1] = ("Q8_1", 32, 36)
    files = {
        kind.value: kind.name.removeprefix("ALL_").removeprefix("MOSTLY_")
        for kind in gguf.LlamaFileType
        if kind is not gguf.LlamaFileType.GUESSED
    }

    assert types.items() <= TENSOR_TYPES.items()
    assert files.items() <= FILE_TYPES.items()
    assert {kind.value: kind.name for kind in gguf.GGUFValueType} == VALUE_TYPES
    assert {pooling.value: pooling.name.lower() for pooling in gguf.PoolingType} == POOLING_TYPES
