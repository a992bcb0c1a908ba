"""A parser for as much of PromQL as dashboards and alerts use, and what an expression names.

It is strict: what it does not know is an error. Source of the grammar: Prometheus' documentation of
its query language (operators and their precedence, aggregations, functions).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<range>\[(?:\d+[smhdw]|\$__rate_interval|\$__interval)\])
    |(?P<operator>==|!=|=~|!~|>=|<=|[-+*/%^<>=(){},])
    |(?P<name>[a-zA-Z_:][\w:]*))""",
    re.VERBOSE,
)
AGGREGATIONS = frozenset({"sum", "min", "max", "avg", "count", "topk", "bottomk"})
COUNTER_FUNCTIONS = frozenset({"rate", "increase", "irate"})
"""They take the range of a counter."""
FUNCTIONS = frozenset({"histogram_quantile", "clamp_min", "clamp_max", "abs"})
_PRECEDENCE = (("or",), ("and", "unless"), ("==", "!=", "<=", "<", ">=", ">"), ("+", "-"))
_PRECEDENCE += (("*", "/", "%"), ("^",))


class PromqlError(ValueError):
    """The expression is none."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric that an expression reads."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]
    """Label, operator and value."""
    is_range: bool
    functions: tuple[str, ...]
    """That it stands in, the innermost last."""


@dataclass(slots=True)
class Parsed:
    """What an expression names."""

    selectors: list[Selector] = field(default_factory=list[Selector])
    grouped_by: list[tuple[str, frozenset[str]]] = field(
        default_factory=list[tuple[str, frozenset[str]]]
    )
    """Labels of aggregations, each with the metrics inside."""


def parse(expression: str) -> Parsed:
    """Raises PromqlError."""
    parser = _Parser(list(_tokens(expression)))
    parser.binary(0)
    if parser.peek() is not None:
        raise PromqlError(f"{parser.peek()!r} is too much")
    return parser.parsed


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise PromqlError(f"cannot read {text[position:][:20]!r}")
        position = match.end()
        yield match.lastgroup, match[match.lastgroup]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._functions: list[str] = []
        self.parsed = Parsed()

    def peek(self) -> str | None:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else None

    def _take(self, kind: str | None = None) -> str:
        if self._at >= len(self._tokens):
            raise PromqlError("it ends too soon")
        found, text = self._tokens[self._at]
        if kind is not None and found != kind:
            raise PromqlError(f"{text!r} is no {kind}")
        self._at += 1
        return text

    def _expect(self, text: str) -> None:
        if self._take() != text:
            raise PromqlError(f"{text!r} is missing before {self.peek()!r}")

    def binary(self, level: int) -> None:
        if level == len(_PRECEDENCE):
            self._unary()
            return
        self.binary(level + 1)
        while self.peek() in _PRECEDENCE[level]:
            self._take()
            while self.peek() in ("on", "ignoring", "group_left", "group_right"):
                self._take()
                self._labels()
            self.binary(level + 1)

    def _unary(self) -> None:
        if self.peek() == "-":
            self._take()
        if self.peek() == "(":
            self._take()
            self.binary(0)
            self._expect(")")
        elif self._tokens[self._at : self._at + 1] and self._tokens[self._at][0] == "number":
            self._take()
        else:
            self._named(self._take("name"))

    def _named(self, name: str) -> None:
        if name in AGGREGATIONS:
            self._aggregation(name)
        elif name in COUNTER_FUNCTIONS | FUNCTIONS:
            self._call(name)
        else:
            self._selector(name)

    def _aggregation(self, name: str) -> None:
        labels = self._grouping()
        before = len(self.parsed.selectors)
        self._call(name)
        labels = labels or self._grouping()
        inside = frozenset(each.metric for each in self.parsed.selectors[before:])
        self.parsed.grouped_by += [(label, inside) for label in labels]

    def _grouping(self) -> list[str]:
        if self.peek() not in ("by", "without"):
            return []
        self._take()
        return self._labels()

    def _labels(self) -> list[str]:
        self._expect("(")
        found = [self._take("name")]
        while self.peek() == ",":
            self._take()
            found.append(self._take("name"))
        self._expect(")")
        return found

    def _call(self, name: str) -> None:
        self._functions.append(name)
        self._expect("(")
        self.binary(0)
        while self.peek() == ",":
            self._take()
            self.binary(0)
        self._expect(")")
        self._functions.pop()

    def _selector(self, metric: str) -> None:
        matchers: list[tuple[str, str, str]] = []
        if self.peek() == "{":
            self._take()
            while self.peek() != "}":
                label, operator = self._take("name"), self._take("operator")
                if operator not in ("=", "!=", "=~", "!~"):
                    raise PromqlError(f"{operator!r} matches nothing")
                matchers.append((label, operator, self._take("string")[1:-1]))
                if self.peek() == ",":
                    self._take()
            self._take()
        is_range = self._at < len(self._tokens) and self._tokens[self._at][0] == "range"
        if is_range:
            self._take()
        functions = tuple(self._functions)
        self.parsed.selectors.append(Selector(metric, tuple(matchers), is_range, functions))
