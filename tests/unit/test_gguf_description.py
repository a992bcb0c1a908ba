"""Describing model files: shards, sizes, and files that are no models."""

from __future__ import annotations

import os
import shutil
import struct
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from gglib_core.errors import GgufError
from gglib_core.models import Capability
from gglib_runtime.gguf.description import GgufModel, describe_model
from gglib_runtime.gguf.header import read_header
from gglib_runtime.gguf.shards import find_shards
from gglib_runtime.gguf.tiny import vector
from gglib_runtime.gguf.writer import MetadataInput, encode_gguf
from tests.gguf_files import write_tiny


def write_model(path: Path, values: dict[str, MetadataInput], elements: int = 32) -> Path:
    weights = {"weight": vector(elements, 1.0)} if elements else {}
    path.write_bytes(encode_gguf({"general.architecture": "llama", **values}, weights))
    return path


def write_shards(directory: Path, count: int, **changes: MetadataInput) -> list[Path]:
    """A split model of one tensor per shard; only the first shard has the metadata."""
    paths: list[Path] = []
    for number in range(count):
        values: dict[str, MetadataInput] = {"split.no": number, "split.count": count}
        if number == 0:
            values |= {"general.name": "split", "split.tensors.count": count}
        values |= {key.replace("__", "."): value for key, value in changes.items()}
        path = directory / f"big-{number + 1:05}-of-{count:05}.gguf"
        paths.append(write_model(path, values, elements=32 * (number + 1)))
    return paths


def test_describes_a_causal_model(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, "tiny-a")

    model = describe_model(path)

    oracle = gguf.GGUFReader(path)
    assert model.paths == (str(path),)
    assert model.stem == "tiny-a"
    assert model.size_bytes == path.stat().st_size
    assert model.facts.architecture == "llama"
    assert model.facts.name == "tiny-a"
    assert model.facts.parameters == sum(int(tensor.n_elements) for tensor in oracle.tensors)
    assert model.facts.quantisation == "F32"
    assert model.facts.context_length == 4096
    assert model.facts.chat_template == oracle.fields["tokenizer.chat_template"].contents()
    assert model.capabilities == {Capability.CHAT}


def test_describes_an_encoder(tmp_path: Path) -> None:
    model = describe_model(write_tiny(tmp_path, "tiny-embed"))

    assert model.facts.pooling == "mean"
    assert model.facts.is_causal is False
    assert model.capabilities == {Capability.EMBEDDINGS}


def test_paths_are_absolute_and_links_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny(tmp_path, "tiny-a").rename(tmp_path / "0123abcd")
    (tmp_path / "linked.gguf").symlink_to("0123abcd")
    monkeypatch.chdir(tmp_path)

    assert describe_model("./linked.gguf").paths == (str(tmp_path / "linked.gguf"),)


@pytest.mark.parametrize("given", range(3))
def test_any_shard_finds_the_whole_model(tmp_path: Path, given: int) -> None:
    shards = write_shards(tmp_path, 3)

    model = describe_model(shards[given])

    assert model.paths == tuple(map(str, shards))
    assert model.stem == "big"
    assert model.size_bytes == sum(shard.stat().st_size for shard in shards)
    assert model.facts.name == "split"
    assert model.facts.parameters == 32 * (1 + 2 + 3)


def test_shards_of_linked_files_are_found_beside_the_link(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for number, shard in enumerate(write_shards(tmp_path, 2)):
        shard.rename(blobs / f"{number}")
        shard.symlink_to(f"blobs/{number}")

    assert len(describe_model(tmp_path / "big-00002-of-00002.gguf").paths) == 2


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, 3)
    shards[1].unlink()

    with pytest.raises(GgufError, match=r"is shard 3 of 3.* big-00002-of-00003\.gguf is missing"):
        describe_model(shards[2])


def test_many_missing_shards_are_counted(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match=r"and 99,995 more are missing") as raised:
        find_shards(write_model(tmp_path / "big-00001-of-99999.gguf", {}))

    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("name", ["m-00000-of-00002.gguf", "m-00003-of-00002.gguf"])
def test_a_shard_number_out_of_range_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(GgufError, match="which cannot be"):
        find_shards(tmp_path / name)


@pytest.mark.parametrize("name", ["m.gguf", "m-1-of-2.gguf", "m-00001-of-00002.bin", "a-b.gguf"])
def test_other_names_are_single_files(tmp_path: Path, name: str) -> None:
    assert find_shards(tmp_path / name) == (tmp_path / name,)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, 3)
    os.truncate(shards[1], shards[1].stat().st_size - 64)

    with pytest.raises(GgufError, match=r"big-00002-of-00003\.gguf: is incomplete"):
        describe_model(shards[0])


def test_shards_in_the_wrong_order_are_an_error(tmp_path: Path) -> None:
    first, second = write_shards(tmp_path, 2)
    shutil.copy(second, first)

    with pytest.raises(GgufError, match="named as shard 1 of 2, but says that it is 2 of 2"):
        describe_model(second)


def test_a_shard_without_its_name_is_an_error(tmp_path: Path) -> None:
    first, _ = write_shards(tmp_path, 2)
    renamed = first.rename(tmp_path / "model.gguf")

    with pytest.raises(GgufError, match="one of 2 shards, but not named as one"):
        describe_model(renamed)


def test_missing_tensors_are_an_error(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, 2, split__tensors__count=5)

    with pytest.raises(GgufError, match="should have 5 tensors, but its shards have 2"):
        describe_model(shards[0])


def test_a_download_that_stopped_is_an_error(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, "tiny-a")
    os.truncate(path, path.stat().st_size - 1000)

    with pytest.raises(GgufError, match="1,000 bytes are missing; download it again"):
        describe_model(path)


@pytest.mark.parametrize(
    ("values", "meaning"),
    [
        ({"general.architecture": "clip"}, "projector, not a model; add it .*--arg=--mmproj"),
        ({"general.type": "mmproj"}, "projector, not a model"),
        ({"general.type": "adapter"}, "LoRA adapter, not a model; .*--arg=--lora --arg=/"),
        ({"general.architecture": "controlvector"}, "control vector, not a model"),
        ({"general.type": "imatrix"}, "importance matrix"),
        ({"general.architecture": 4}, "does not name an architecture"),
    ],
)
def test_other_kinds_of_gguf_are_recognised(
    tmp_path: Path, values: dict[str, MetadataInput], meaning: str
) -> None:
    with pytest.raises(GgufError, match=meaning):
        describe_model(write_model(tmp_path / "m.gguf", values))


def test_a_vocabulary_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="has no weights"):
        describe_model(write_model(tmp_path / "vocab.gguf", {}, elements=0))


def test_a_file_of_the_other_byte_order_is_refused(tmp_path: Path) -> None:
    other = gguf.GGUFEndian.BIG if sys.byteorder == "little" else gguf.GGUFEndian.LITTLE
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", endianess=other)
    writer.add_tensor("w", np.ones((32,), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with pytest.raises(GgufError, match=f"is {other.name.lower()}-endian.*gguf-convert-endian"):
        describe_model(tmp_path / "m.gguf")


def test_a_path_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.gguf"))
    write_tiny(tmp_path, "tiny-embed").rename(path)

    with pytest.raises(GgufError, match="not UTF-8") as raised:
        describe_model(path)

    assert str(raised.value).encode()


def test_an_unknown_tensor_type_is_left_to_the_engine(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", {"general.name": "new"})
    content = path.read_bytes()
    entry = struct.pack("=I", 1) + struct.pack("=Q", 32)
    assert content.count(entry) == 1
    path.write_bytes(content.replace(entry + bytes(4), entry + struct.pack("=I", 77)))

    assert read_header(path).tensor_types == {"type 77": 32}
    assert isinstance(describe_model(path), GgufModel)
