"""Designs tiny llama models with random weights that write whole words.

The residual stream's first dimension holds the same number at every position, and no layer writes
to it. Column 0 of the output matrix is therefore a bias for each token: control tokens, byte tokens
and parts of words are held down, so that what is sampled is readable; the end of a turn is sampled
after some dozens of words, and never by greedy decoding.

Not here: the file format (`writer`), and which model is written where (`demo`).
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from gglib_runtime.gguf.writer import F32Tensor, MetadataInput, encode_gguf

NEVER = -14.0
"""A bias that keeps a token from being sampled."""
BIAS_GAIN = 1.6
"""The last normalisation divides the constant dimension by about this much."""
SPACE = "\u2581"
"""How SentencePiece vocabularies write the blank before a word."""

CHAT_TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- 'Functions that you can call:\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\nTo call one, write\\n' }}
{{- '<tool_call>{"name": <name>, "arguments": <arguments>}</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant' }}
{%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{%- if call.function %}{%- set call = call.function %}{%- endif %}
{{- '\\n<tool_call>{"name": "' }}{{- call.name }}
{{- '", "arguments": ' }}{{- call.arguments | tojson }}{{- '}</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content }}
{{- '\\n</tool_response><|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}\
"""


class TokenKind(IntEnum):
    """llama.cpp's token types."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the vocabulary."""

    text: str
    kind: TokenKind
    score: float
    """Merge priority; higher merges first."""
    bias: float
    """Added to the token's logit."""


class Matrix:
    """Rows of 32-bit floats, as the tensors of a model have them."""

    __slots__ = ("columns", "rows", "values")

    def __init__(self, rows: int, columns: int, values: array[float]) -> None:
        self.rows = rows
        self.columns = columns
        self.values = values

    @classmethod
    def filled(cls, rows: int, columns: int, value: float) -> Matrix:
        return cls(rows, columns, array("f", [value]) * (rows * columns))

    @classmethod
    def random(cls, rng: random.Random, rows: int, columns: int, deviation: float) -> Matrix:
        gauss = rng.gauss
        return cls(rows, columns, array("f", (gauss(0, deviation) for _ in range(rows * columns))))

    def __setitem__(self, place: tuple[int, int], value: float) -> None:
        row, column = place
        self.values[row * self.columns + column] = value

    def __getitem__(self, place: tuple[int, int]) -> float:
        row, column = place
        return self.values[row * self.columns + column]

    def clear_rows(self, first: int, end: int) -> None:
        size = (end - first) * self.columns
        self.values[first * self.columns : end * self.columns] = array("f", bytes(4 * size))

    @property
    def tensor(self) -> F32Tensor:
        return F32Tensor(shape=(self.columns, self.rows), values=self.values)


def vector(length: int, value: float) -> F32Tensor:
    """A tensor of one dimension, filled with `value`."""
    return F32Tensor(shape=(length,), values=array("f", [value]) * length)


Steer = Callable[[Sequence[Token], Matrix, Matrix], None]
"""Changes the embedding and the output matrix (one row per token) before they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyLlama:
    """The design of one model; equal designs give equal bytes."""

    name: str
    description: str
    vocabulary: tuple[Token, ...]
    seed: int
    layers: int = 2
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 128
    context_length: int = 4096
    reserved: int = 1
    """Leading dimensions of the residual stream that no layer writes to."""
    steer: Steer | None = None

    def encode(self) -> bytes:
        return encode_gguf(self._metadata(), self._tensors())

    def _metadata(self) -> dict[str, MetadataInput]:
        token_id = {token.text: number for number, token in enumerate(self.vocabulary)}
        return {
            "general.architecture": "llama",
            "general.name": self.name,
            "general.description": self.description,
            "general.file_type": 0,
            "llama.context_length": self.context_length,
            "llama.embedding_length": self.width,
            "llama.block_count": self.layers,
            "llama.feed_forward_length": self.feed_forward,
            "llama.attention.head_count": self.heads,
            "llama.attention.head_count_kv": self.kv_heads,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
            "llama.rope.dimension_count": self.width // self.heads,
            "llama.rope.freq_base": 10000.0,
            "llama.vocab_size": len(self.vocabulary),
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.tokens": [token.text for token in self.vocabulary],
            "tokenizer.ggml.scores": [token.score for token in self.vocabulary],
            "tokenizer.ggml.token_type": [int(token.kind) for token in self.vocabulary],
            "tokenizer.ggml.unknown_token_id": token_id["<unk>"],
            "tokenizer.ggml.bos_token_id": token_id["<s>"],
            "tokenizer.ggml.eos_token_id": token_id["<|im_end|>"],
            "tokenizer.ggml.fim_pre_token_id": token_id["<|fim_prefix|>"],
            "tokenizer.ggml.fim_suf_token_id": token_id["<|fim_suffix|>"],
            "tokenizer.ggml.fim_mid_token_id": token_id["<|fim_middle|>"],
            "tokenizer.ggml.add_bos_token": True,
            "tokenizer.ggml.add_eos_token": False,
            # With a blank put before the text, llama.cpp cannot apply a tool call's grammar.
            "tokenizer.ggml.add_space_prefix": False,
            "tokenizer.chat_template": CHAT_TEMPLATE,
        }

    def _tensors(self) -> dict[str, F32Tensor]:
        rng = random.Random(self.seed)  # noqa: S311 - weights, not secrets
        embedding, output = self._token_matrices(rng)
        tensors = {
            "token_embd.weight": embedding.tensor,
            "output_norm.weight": vector(self.width, 1.0),
            "output.weight": output.tensor,
        }
        for layer in range(self.layers):
            for name, tensor in self._layer(rng).items():
                tensors[f"blk.{layer}.{name}.weight"] = tensor
        return tensors

    def _token_matrices(self, rng: random.Random) -> tuple[Matrix, Matrix]:
        count, constant = len(self.vocabulary), self.width**0.5
        embedding = Matrix.random(rng, count, self.width, 1.0)
        output = Matrix.random(rng, count, self.width, 2.4 / constant)
        for row, token in enumerate(self.vocabulary):
            if token.bias < -5 or token.text == "<|im_end|>":
                output.clear_rows(row, row + 1)
            embedding[row, 0] = constant
            output[row, 0] = token.bias * BIAS_GAIN / constant
        if self.steer is not None:
            self.steer(self.vocabulary, embedding, output)
        return embedding, output

    def _layer(self, rng: random.Random) -> dict[str, F32Tensor]:
        width, inner = self.width, self.feed_forward
        head = width // self.heads
        into, back = width**-0.5, 0.5 * (inner * self.layers) ** -0.5

        def reading(rows: int) -> F32Tensor:
            return Matrix.random(rng, rows, width, into).tensor

        def writing(columns: int, deviation: float) -> F32Tensor:
            matrix = Matrix.random(rng, width, columns, deviation)
            matrix.clear_rows(0, self.reserved)
            return matrix.tensor

        return {
            "attn_norm": vector(width, 1.0),
            "attn_q": reading(self.heads * head),
            "attn_k": reading(self.kv_heads * head),
            "attn_v": reading(self.kv_heads * head),
            "attn_output": writing(self.heads * head, into / 2),
            "ffn_norm": vector(width, 1.0),
            "ffn_gate": reading(inner),
            "ffn_up": reading(inner),
            "ffn_down": writing(inner, back),
        }


def word_vocabulary(
    words: Iterable[str], biases: dict[str, float] | None = None
) -> tuple[Token, ...]:
    """A SentencePiece vocabulary that writes `words` and reads any text.

    `biases` overrides the bias of tokens by their text.
    """
    words = list(words)
    tokens = [Token("<unk>", TokenKind.UNKNOWN, 0.0, NEVER)]
    tokens += [Token(text, TokenKind.CONTROL, 0.0, NEVER) for text in ("<s>", "</s>")]
    tokens += [Token(f"<0x{byte:02X}>", TokenKind.BYTE, 0.0, NEVER) for byte in range(256)]
    tokens += _marks()
    tokens += _word_pieces(words)
    known = {token.text for token in tokens}
    characters = (SPACE, "\n", *map(chr, range(0x21, 0x7F)))
    tokens += [
        Token(character, TokenKind.NORMAL, -1e4, _CHARACTER_BIASES.get(character, -6.0))
        for character in characters
        if character not in known
    ]
    changes = biases or {}
    return tuple(
        Token(token.text, token.kind, token.score, changes.get(token.text, token.bias))
        for token in tokens
    )


_CHARACTER_BIASES = {'"': 0.5, ",": 0.0, ".": 0.0, "}": -1.0, "]": -1.0}
"""What JSON needs is likely enough for a grammar to get through."""


def _marks() -> list[Token]:
    control = ("<|im_start|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    return [
        *(Token(text, TokenKind.CONTROL, 0.0, NEVER) for text in control),
        Token("<|im_end|>", TokenKind.CONTROL, 0.0, 1.9),
        *(
            Token(text, TokenKind.USER_DEFINED, 0.0, NEVER)
            for text in ("<tool_call>", "</tool_call>")
        ),
    ]


def _word_pieces(words: Sequence[str]) -> list[Token]:
    """Each word with every prefix of it, since merging goes two pieces at a time.

    The forms without a blank are for prompts only.
    """
    whole = {SPACE + word for word in words}
    bare = [*words, "user", "assistant", "system"]
    pieces = {text[:end] for text in (*whole, *bare) for end in range(2, len(text) + 1)}
    return [
        Token(piece, TokenKind.NORMAL, -float(rank), 0.0 if piece in whole else NEVER)
        for rank, piece in enumerate(sorted(pieces, key=lambda piece: (len(piece), piece)), start=1)
    ]
