"""What a header's metadata means in gglib's words."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from gglib_core.errors import GgufError
from gglib_core.models import Capability, GgufFacts
from gglib_runtime.gguf.facts import MAX_TEXT_LENGTH, default_capabilities, facts
from gglib_runtime.gguf.header import GgufHeader
from gglib_runtime.gguf.metadata import MetadataValue, SkippedValue

CHAT, EMBEDDINGS, RERANK = Capability.CHAT, Capability.EMBEDDINGS, Capability.RERANK


def header(
    values: dict[str, MetadataValue] | None = None,
    *,
    architecture: MetadataValue = "llama",
    tensor_types: dict[str, int] | None = None,
) -> GgufHeader:
    types = {"F32": 10} if tensor_types is None else tensor_types
    return GgufHeader(
        path="m.gguf",
        version=3,
        byte_order="little",
        metadata=MappingProxyType({"general.architecture": architecture, **(values or {})}),
        tensor_count=1,
        parameters=sum(types.values()),
        tensor_types=types,
        alignment=32,
        data_offset=0,
        size_bytes=0,
    )


def test_takes_what_the_file_says() -> None:
    assert facts(
        header(
            {
                "general.name": "A Model",
                "general.license": "apache-2.0",
                "general.file_type": 15,
                "llama.context_length": 8192,
                "llama.embedding_length": 4096,
                "llama.block_count": 32,
                "llama.pooling_type": 0,
                "tokenizer.chat_template": "{{ messages }}",
            },
            tensor_types={"Q4_K": 90, "Q6_K": 9, "F32": 1},
        )
    ) == GgufFacts(
        architecture="llama",
        name="A Model",
        parameters=100,
        quantisation="Q4_K_M",
        context_length=8192,
        embedding_length=4096,
        pooling="none",
        is_causal=True,
        chat_template="{{ messages }}",
        layers=32,
        licence="apache-2.0",
    )


def test_says_nothing_where_the_file_is_silent() -> None:
    assert facts(header(tensor_types={})) == GgufFacts(architecture="llama")


@pytest.mark.parametrize("architecture", [7, "", SkippedValue(9), "a\nb", "x" * 999])
def test_an_architecture_is_needed(architecture: MetadataValue) -> None:
    with pytest.raises(GgufError, match=r"m\.gguf: does not name an architecture"):
        facts(header(architecture=architecture))


@pytest.mark.parametrize(
    ("file_type", "expected"),
    [(0, "F32"), (15, "Q4_K_M"), (1024 + 7, "Q8_0"), (4, "Q5_K"), (9999, "Q5_K"), ("7", "Q5_K")],
)
def test_names_the_file_type_or_the_type_of_most_weights(
    file_type: MetadataValue, expected: str
) -> None:
    described = header({"general.file_type": file_type}, tensor_types={"F32": 1, "Q5_K": 99})

    assert facts(described).quantisation == expected


@pytest.mark.parametrize("value", [0, -1, 1 << 32, True, "4096", 4096.0, (4096,)])
def test_a_size_that_cannot_be_is_no_fact(value: MetadataValue) -> None:
    assert facts(header({"llama.context_length": value})).context_length is None


def test_a_pooling_type_of_no_name_is_no_fact() -> None:
    assert facts(header({"llama.pooling_type": -1})).pooling is None
    assert facts(header({"llama.pooling_type": 77})).pooling is None


def test_names_are_one_printable_line() -> None:
    name = facts(header({"general.name": " two\nlines \x1b[31m" + "x" * 999})).name

    assert name is not None
    assert name.startswith("two lines \ufffd[31mxxx")
    assert len(name) == MAX_TEXT_LENGTH


def test_a_chat_template_keeps_its_lines_but_no_nul() -> None:
    template = facts(header({"tokenizer.chat_template": "a\n\0b"})).chat_template

    assert template == "a\n\ufffdb"


@pytest.mark.parametrize(
    ("architecture", "causal", "expected"),
    [
        ("llama", None, True),
        ("llama", True, True),
        ("dream", False, False),
        ("bert", None, False),
        ("nomic-bert", True, False),
        ("jina-bert-v2", None, False),
        ("gemma-embedding", None, False),
        ("gemma3", None, True),
    ],
)
def test_encoders_are_not_causal(architecture: str, causal: bool | None, expected: bool) -> None:
    values: dict[str, MetadataValue] = {}
    if causal is not None:
        values[f"{architecture}.attention.causal"] = causal

    assert facts(header(values, architecture=architecture)).is_causal is expected


@pytest.mark.parametrize(
    ("is_causal", "pooling", "expected"),
    [
        (True, None, {CHAT}),
        (True, "none", {CHAT}),
        (True, "mean", {CHAT, EMBEDDINGS}),
        (True, "cls", {CHAT, EMBEDDINGS}),
        (True, "last", {CHAT, EMBEDDINGS}),
        (True, "rank", {RERANK}),
        (False, None, {EMBEDDINGS}),
        (False, "none", {EMBEDDINGS}),
        (False, "mean", {EMBEDDINGS}),
        (False, "rank", {RERANK}),
    ],
)
def test_capabilities_follow_from_attention_and_pooling(
    is_causal: bool, pooling: str | None, expected: set[Capability]
) -> None:
    described = GgufFacts(architecture="any", is_causal=is_causal, pooling=pooling)

    assert default_capabilities(described) == expected
