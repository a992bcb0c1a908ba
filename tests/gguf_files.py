"""Tiny GGUF models for tests: real enough for llama.cpp to load, chat with and embed.

tiny-a      writes words of WORDS["tiny-a"], none of which tiny-b has
tiny-b      the same with other words, and larger, so that a swap shows in the text
tiny-tools  tiny-a that likes to call the tools it is offered
tiny-embed  BERT with mean pooling: embeddings, no chat; and, with `--rerank`, a ranking
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from pathlib import Path

from gglib_runtime.gguf.tiny import (
    BIAS_GAIN,
    NEVER,
    SPACE,
    Matrix,
    TinyLlama,
    Token,
    TokenKind,
    vector,
    word_vocabulary,
)
from gglib_runtime.gguf.writer import F32Tensor, MetadataInput, encode_gguf

TINY_MODELS = ("tiny-a", "tiny-b", "tiny-tools", "tiny-embed")

WORDS_A = """
    alder almond anvil apricot arch arrow ash aspen badge bagpipe bamboo banner barley basil beach
    beacon bell berry birch blossom bonnet boulder branch bridge bucket cabin cactus camel canal
    canyon castle cello cherry chestnut cliff clover coral cradle cricket daffodil dahlia dolphin
"""
WORDS_B = """
    nectar needle nettle nickel nutmeg oasis obelisk onion opal orchid oyster paddle panther
    parsley pelican pepper pigeon pillow plaza poppy prairie pumpkin quarry quartz quilt rabbit
    radish raft ribbon saddle saffron sapphire shovel spinach stable sundial tablet tambourine
    tangerine thimble tulip turnip vanilla velvet vineyard violin wagon walrus zebra zinc
"""

WORDS = {"tiny-a": frozenset(WORDS_A.split()), "tiny-b": frozenset(WORDS_B.split())}
"""What the model's free text consists of, besides punctuation."""

_DESCRIPTION = "random weights, for tests"


def write_tiny(directory: Path, name: str) -> Path:
    """Write the model `name`, one of TINY_MODELS, as `directory/name.gguf`."""
    path = directory / f"{name}.gguf"
    path.write_bytes(tiny_bytes(name))
    return path


@functools.cache
def tiny_bytes(name: str) -> bytes:
    """The file's content; made once per process."""
    match name:
        case "tiny-a":
            return _llama(name, word_vocabulary(WORDS_A.split()), seed=1).encode()
        case "tiny-b":
            return TinyLlama(
                name=name,
                description=_DESCRIPTION,
                vocabulary=word_vocabulary(WORDS_B.split()),
                seed=2,
                layers=3,
                width=128,
                heads=8,
                kv_heads=4,
                feed_forward=384,
            ).encode()
        case "tiny-tools":
            return _tool_caller(name).encode()
        case "tiny-embed":
            return _bert(name)
        case _:
            raise ValueError(f"{name!r} is none of {TINY_MODELS}")


def _llama(name: str, vocabulary: tuple[Token, ...], seed: int) -> TinyLlama:
    return TinyLlama(name=name, description=_DESCRIPTION, vocabulary=vocabulary, seed=seed)


def _tool_caller(name: str) -> TinyLlama:
    vocabulary = word_vocabulary(WORDS_A.split(), {"<tool_call>": 3.5, "</tool_call>": -5.5})
    return TinyLlama(
        name=name,
        description=_DESCRIPTION,
        vocabulary=vocabulary,
        seed=1,
        reserved=3,
        steer=_steer_to_calls,
    )


def _steer_to_calls(tokens: Sequence[Token], embedding: Matrix, output: Matrix) -> None:
    """Use two reserved dimensions as flags: inside a call's JSON, and just after a call."""
    inside, after = 1, 2
    width = embedding.columns
    unit = width**0.5
    rows = {token.text: row for row, token in enumerate(tokens)}
    for row, token in enumerate(tokens):
        for matrix in (embedding, output):
            matrix[row, inside] = matrix[row, after] = 0.0
        if token.text == "<tool_call>" or (len(token.text) == 1 and token.text not in (SPACE, '"')):
            embedding[row, inside] = unit
    embedding[rows["</tool_call>"], after] = unit

    def bias(text: str, flag: int, amount: float) -> None:
        output[rows[text], flag] = amount * BIAS_GAIN / unit

    bias("<tool_call>", inside, NEVER)
    bias("<tool_call>", after, NEVER)
    bias("</tool_call>", inside, 8.0)
    bias("<|im_end|>", after, 12.0)
    bias('"', 0, 2.5)
    quote = rows['"']
    for column in range(3, width):
        # A quote that has just been written makes the next one unlikely.
        output[quote, column] = -6 / width * embedding[quote, column]


def _bert(
    name: str, layers: int = 2, width: int = 64, inner: int = 128, context: int = 512
) -> bytes:
    tokens = _wordpieces()
    metadata: dict[str, MetadataInput] = {
        "general.architecture": "bert",
        "general.name": name,
        "general.description": _DESCRIPTION,
        "general.file_type": 0,
        "bert.context_length": context,
        "bert.embedding_length": width,
        "bert.block_count": layers,
        "bert.feed_forward_length": inner,
        "bert.attention.head_count": 4,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "bert.pooling_type": 1,
        "bert.vocab_size": len(tokens),
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [text for text, _ in tokens],
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.token_type": [int(kind) for _, kind in tokens],
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.eos_token_id": 3,
        "tokenizer.ggml.seperator_token_id": 3,  # llama.cpp's spelling
        "tokenizer.ggml.mask_token_id": 4,
    }
    return encode_gguf(metadata, _bert_tensors(len(tokens), layers, width, inner, context))


def _wordpieces() -> list[tuple[str, TokenKind]]:
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    characters = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()]
    words = sorted(WORDS["tiny-a"] | WORDS["tiny-b"])
    starts = [SPACE + text for text in (*characters, *words)]
    return [
        *((text, TokenKind.CONTROL) for text in special),
        *((text, TokenKind.NORMAL) for text in (*starts, *characters)),
    ]


def _bert_tensors(
    vocabulary: int, layers: int, width: int, inner: int, context: int
) -> dict[str, F32Tensor]:
    rng = random.Random(4)
    tensors: dict[str, F32Tensor] = {}

    def linear(name: str, rows: int, columns: int) -> None:
        tensors[f"{name}.weight"] = Matrix.random(rng, rows, columns, columns**-0.5).tensor
        tensors[f"{name}.bias"] = vector(rows, 0.0)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = vector(width, 1.0)
        tensors[f"{name}.bias"] = vector(width, 0.0)

    tensors["token_embd.weight"] = Matrix.random(rng, vocabulary, width, 1.0).tensor
    tensors["token_types.weight"] = Matrix.random(rng, 2, width, 0.1).tensor
    tensors["position_embd.weight"] = Matrix.random(rng, context, width, 0.1).tensor
    norm("token_embd_norm")
    linear("cls", width, width)
    linear("cls.output", 1, width)
    for layer in range(layers):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            linear(f"{block}.{name}", width, width)
        norm(f"{block}.attn_output_norm")
        norm(f"{block}.layer_output_norm")
        linear(f"{block}.ffn_up", inner, width)
        linear(f"{block}.ffn_down", width, inner)
    return tensors
