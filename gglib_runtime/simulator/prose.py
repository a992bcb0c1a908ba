"""What answers say: words that name the model and what was asked, or plausible prose.

The same request has the same answer, in every process and on every machine.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from itertools import accumulate, chain, cycle, islice

from gglib_runtime.simulator.text import split_tokens

_ECHOED_WORDS = 64
_ECHOED_CHARACTERS = 2000
_QUOTED_WORDS = 12
_SUBJECTS = (
    "The first step", "A careful plan", "The main idea", "In practice, the answer",
    "The simplest approach", "A good example", "The second part", "Most of the work",
    "The result of all this", "An experienced team", "The difference", "A short test",
)  # fmt: skip
_VERBS = (
    "is to look at what is already there", "depends on how much time you have",
    "keeps the number of moving parts small", "shows where the limits are",
    "makes the next decision easier", "turns out to matter more than it seems",
    "helps you to see what changes", "can be done in an afternoon",
    "should be written down before it is forgotten", "leaves room for a better idea later",
)  # fmt: skip
_ENDINGS = (
    ".", ", and that is worth knowing.", ", as long as the input is small.",
    ", although there are exceptions.", ", which is why people begin there.",
    ", even when the data is not perfect.", ".",
)  # fmt: skip
_SENTENCES = [
    split_tokens(f" {_SUBJECTS[n % 12]} {_VERBS[(n // 12 + 3 * n) % 10]}{_ENDINGS[n % 7]}")
    for n in range(240)
]
_BEFORE = split_tokens("You asked: “")
_CORPUS = [*chain.from_iterable(_SENTENCES)]
_STARTS = [0, *accumulate(map(len, _SENTENCES))][: len(_SENTENCES)]


def echoing_words(name: str, asked: str, count: int) -> list[str]:
    """`count` tokens: the model's name, and then the words of what was asked, over and over."""
    words = asked[:_ECHOED_CHARACTERS].split(maxsplit=_ECHOED_WORDS)[:_ECHOED_WORDS]
    again = split_tokens(" " + (" ".join(words) or "silence"))
    return [*islice(chain(split_tokens(name), cycle(again)), count)]


def prose_words(asked: str, count: int, seed: str, *, is_ended: bool) -> list[str]:
    """`count` tokens: what was asked in short, and then sentences that `seed` chooses.

    With `is_ended` the last one ends a sentence.
    """
    found = [*_introduction(asked[:_ECHOED_CHARACTERS])[:count]]
    start = _STARTS[zlib.crc32(seed.encode()) % len(_STARTS)]
    while len(found) < count:
        found += _CORPUS[start : start + count - len(found)]
        start = 0
    if is_ended and count > 1:
        found[-1] = "."
    return found


@lru_cache(maxsize=256)
def _introduction(asked: str) -> list[str]:
    """Not to be changed: the same question gets the same list."""
    words = asked.split(maxsplit=_QUOTED_WORDS)
    if not words:
        return split_tokens("Nothing was asked, so here is a thought.")
    more = " …" if len(words) > _QUOTED_WORDS else ""
    return [*_BEFORE, *split_tokens(f"{' '.join(words[:_QUOTED_WORDS])}{more}"), "”", "."]
