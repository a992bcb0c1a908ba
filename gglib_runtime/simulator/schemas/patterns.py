"""Strings that match a regular expression of the kind that JSON schemas have.

Takes what llama.cpp's grammars take: literals, `.`, classes, groups, alternatives, repetition and
anchors at the ends. What needs a look around or back is `UnsupportedPattern`: such a pattern is
ignored, as it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

_MORE = 3
"""Repetitions beyond the least, where a pattern sets no upper limit."""
_DIGITS = "0123456789"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORD = _LETTERS + _LETTERS.upper() + _DIGITS + "_"
_PRINTABLE = "".join(map(chr, range(32, 127)))
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": " ", "D": _LETTERS, "W": " -.,", "S": _WORD}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
Maker = Callable[[Random], str]
"""Makes a string that matches one part of a pattern."""


class PatternError(ValueError):
    """The pattern is none; says why."""


class UnsupportedPattern(ValueError):
    """The pattern uses what no grammar can express."""


def compile_pattern(pattern: str) -> Maker:
    """What makes strings that match `pattern`; raises PatternError or UnsupportedPattern."""
    parser = _Parser(pattern.removeprefix("^"))
    maker = parser.alternatives()
    if not parser.is_done:
        raise PatternError("unbalanced parentheses")
    return maker


class _Parser:
    """Reads a pattern once, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def is_done(self) -> bool:
        return self._at >= len(self._text)

    def _next(self) -> str:
        if self.is_done:
            raise PatternError("unexpected end")
        self._at += 1
        return self._text[self._at - 1]

    def _takes(self, token: str) -> bool:
        if self._text.startswith(token, self._at):
            self._at += len(token)
            return True
        return False

    def alternatives(self) -> Maker:
        options = [self._sequence()]
        while self._takes("|"):
            options.append(self._sequence())
        return lambda random: random.choice(options)(random)

    def _sequence(self) -> Maker:
        parts: list[Maker] = []
        while not self.is_done and self._text[self._at] not in "|)":
            if self._takes("$"):
                if not self.is_done and self._text[self._at] not in "|)":
                    raise UnsupportedPattern("an end inside")
                continue
            parts.append(self._repeated(self._atom()))
        return lambda random: "".join([part(random) for part in parts])

    def _atom(self) -> Maker:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return _one_of(self._class())
        if character == ".":
            return _one_of(_LETTERS)
        if character == "\\":
            return _one_of(self._escaped())
        if character in "*+?^":
            raise UnsupportedPattern(f"a bare {character}")
        return _one_of(character)

    def _group(self) -> Maker:
        if self._takes("?") and not self._takes(":"):
            raise UnsupportedPattern("a group that looks around or has a name")
        maker = self.alternatives()
        if not self._takes(")"):
            raise PatternError("unbalanced parentheses")
        return maker

    def _escaped(self) -> str:
        character = self._next()
        known = _CLASSES.get(character) or _CONTROLS.get(character)
        if known is None and character.isascii() and character.isalnum():
            raise UnsupportedPattern(f"\\{character}")  # which means much, or nothing
        return known or character

    def _class(self) -> str:
        is_negated = self._takes("^")
        found = ""
        while not self._takes("]"):
            if "]" not in self._text[self._at :]:
                raise PatternError("unterminated character class")
            found += self._class_member()
        if not is_negated:
            return found
        return "".join(c for c in _PRINTABLE if c not in found)

    def _class_member(self) -> str:
        first = self._next()
        if first == "\\":
            first = self._escaped()
        rest = self._text[self._at : self._at + 2]
        if len(first) > 1 or len(rest) < 2 or rest[0] != "-" or rest[1] == "]":
            return first
        self._at += 1
        last = self._next()
        if last == "\\":
            last = self._escaped()
        if len(last) > 1 or last < first:
            raise PatternError("invalid range in character class")
        return "".join(map(chr, range(ord(first), min(ord(last), ord(first) + 255) + 1)))

    def _repeated(self, maker: Maker) -> Maker:
        limits = self._limits()
        if limits is None:
            return maker
        self._takes("?")  # lazy or not makes no difference to what matches
        low, high = limits
        most = low + _MORE if high is None else min(high, low + 64)
        return lambda random: "".join([maker(random) for _ in range(random.randint(low, most))])

    def _limits(self) -> tuple[int, int | None] | None:
        for token, limits in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._takes(token):
                return limits
        if not self._takes("{"):
            return None
        inside, closed, rest = self._text[self._at :].partition("}")
        low, comma, high = inside.partition(",")
        if not closed or not low.isdecimal() or (high and not high.isdecimal()):
            raise UnsupportedPattern("a brace that repeats nothing")
        self._at = len(self._text) - len(rest)
        last = int(high) if high else None if comma else int(low)
        if last is not None and last < int(low):
            raise PatternError("invalid repetition")
        return int(low), last


def _one_of(characters: str) -> Maker:
    if not characters:
        raise UnsupportedPattern("an empty class")
    return lambda random: random.choice(characters)
