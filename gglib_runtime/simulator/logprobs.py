"""How likely each token was, so it is said: numbers that depend on the token and its place alone.

llama-server has one shape for all routes; OpenAI has one for chats and another for completions.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

from gglib_runtime.simulator.text import tokenize

DEFAULT_ALTERNATIVES = 20
"""What llama-server shows where a request asks for no number."""
_OTHERS = (
    " the", " a", " to", " of", " and", " in", " is", " it", " for", " with", " on", " as", " at",
    " by", " an", " or", " be", " this", " from", " that", " not", " but",
)  # fmt: skip


def chat_logprobs(words: Sequence[str], start: int, most: int) -> list[dict[str, Any]]:
    """OpenAI's entries for the tokens, of which the first is the answer's number `start`."""
    entries: list[dict[str, Any]] = []
    for place, word in enumerate(words, start):
        ranked = _ranked(word, place, most)
        others = [_entry(*each) for each in ranked[:most]]
        entries.append(_entry(*ranked[0]) | {"top_logprobs": others})
    return entries


def engine_logprobs(words: Sequence[str], start: int, most: int) -> list[dict[str, Any]]:
    """The same in llama-server's shape, with the tokens' numbers."""
    return [_with_numbers(entry) for entry in chat_logprobs(words, start, most)]


def text_logprobs(words: Sequence[str], start: int, most: int, offset: int) -> dict[str, Any]:
    """OpenAI's lists for completions; `offset` is where the first token begins in the text."""
    ranked = [_ranked(word, place, most) for place, word in enumerate(words, start)]
    offsets: list[int] = []
    for word in words:
        offsets.append(offset)
        offset += len(word)
    return {
        "tokens": [*words],
        "token_logprobs": [each[0][1] for each in ranked],
        "top_logprobs": [dict(each[: max(most, 1)]) for each in ranked] if most else None,
        "text_offset": offsets,
    }


def _ranked(word: str, place: int, most: int) -> list[tuple[str, float]]:
    """The token and what else might have stood there, most likely first."""
    chance = zlib.crc32(f"{place} {word}".encode()) / 2**32
    likely = 0.5 + 0.499 * chance
    left = (1 - likely) / 2
    ranked = [(word, math.log(likely))]
    first = int(chance * len(_OTHERS))
    for rank in range(len(_OTHERS)):
        if len(ranked) >= most:
            break
        other = _OTHERS[(first + rank) % len(_OTHERS)]
        if other != word:
            ranked.append((other, math.log(left)))
            left /= 2
    return ranked


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "bytes": [*token.encode()], "logprob": logprob}


def _with_numbers(entry: dict[str, Any]) -> dict[str, Any]:
    others = [{"id": _number(other["token"])} | other for other in entry["top_logprobs"]]
    return {"id": _number(entry["token"])} | entry | {"top_logprobs": others}


def _number(word: str) -> int:
    """The token's number; that of its first where a stop string has left no whole one."""
    return next(iter(tokenize(word)), 0)
