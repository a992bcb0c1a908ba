"""The simulator's language: tokens that can be turned back, and answers that name the model.

A token is up to three bytes of UTF-8. An answer is the model's name and then the words of what was
asked, over and over, so that a test sees who answered whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, cycle, islice
from typing import Any, cast

TOKEN_BYTES = 3
VOCABULARY = 1 << 25
_ECHOED_WORDS = 64


def count_tokens(text: str) -> int:
    """How many tokens `text` has."""
    return -(-len(text.encode()) // TOKEN_BYTES)


def tokenize(text: str) -> list[int]:
    """The tokens of `text`."""
    data = text.encode()
    pieces = (data[at : at + TOKEN_BYTES] for at in range(0, len(data), TOKEN_BYTES))
    # A leading one keeps the zero bytes of a piece.
    return [int.from_bytes(b"\1" + piece) for piece in pieces]


def token_bytes(token: int) -> bytes:
    """The bytes that `token` stands for; raises LookupError where it stands for none."""
    size = (token.bit_length() - 1) // 8 if token > 0 else 0
    if not 1 <= size <= TOKEN_BYTES or token >> (8 * size) != 1:
        raise LookupError(token)
    return token.to_bytes(size + 1)[1:]


def token_bytes_or_mark(token: int) -> bytes:
    """The bytes of `token`; for a foreign one, which has none, as many that name it."""
    try:
        return token_bytes(token)
    except LookupError:
        return b"%03d" % (token % 1000)


def content_text(content: Any) -> str:  # noqa: ANN401
    """The text of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_part_text, cast("list[Any]", content)))
    return ""


def _part_text(part: Any) -> str:  # noqa: ANN401
    return str(part.get("text", "")) if hasattr(part, "get") else ""


def chat_prompt(messages: Sequence[dict[str, Any]]) -> str:
    """The messages in ChatML, ready for the assistant's turn."""
    turns = (
        f"<|im_start|>{message.get('role', 'user')}\n"
        f"{content_text(message.get('content'))}<|im_end|>\n"
        for message in messages
    )
    return "".join(turns) + "<|im_start|>assistant\n"


def answer_words(name: str, asked: str, count: int) -> list[str]:
    """`count` tokens of answer to `asked` by the model `name`."""
    words = asked.split(maxsplit=_ECHOED_WORDS)[:_ECHOED_WORDS] or ["silence"]
    return [*islice(chain([name], (" " + word for word in cycle(words))), count)]
