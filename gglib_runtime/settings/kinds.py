"""The kinds of value that a setting can have: how each is read, bounded and shown.

A kind reads what a TOML file holds and what an environment variable or a flag says, which is
always text. Not here: which settings exist, and where values come from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from gglib_runtime.listen_address import UNIX_PREFIX, UnixAddress, listen_address
from gglib_runtime.settings.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

_DATABASES = ("sqlite", "postgres", "postgresql")
_FILE_MODE = re.compile(r"(0o?)?[0-7]{3}")
_WHOLE_NUMBER = re.compile(r"-?[0-9]+")
_DECIMAL_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_SWITCHED = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_URL_PASSWORD = re.compile(r"(//[^:/@]*:).*(?=@)|(password=)[^&]*", re.DOTALL)


class WrongValue(ValueError):
    """Says itself what is wrong with a value; other ValueErrors leave that to `expected`."""


_Item = TypeVar("_Item")
_Value = TypeVar("_Value")


def each_right(read: Callable[[_Item], _Value], items: Iterable[_Item]) -> tuple[_Value, ...]:
    """What `read` makes of each item. Raises WrongValue, which tells of all that are wrong."""
    values: list[_Value] = []
    issues: list[str] = []
    for item in items:
        try:
            values.append(read(item))
        except WrongValue as error:
            issues.append(str(error))
    if issues:
        raise WrongValue("; ".join(issues))
    return tuple(values)


class Kind(Protocol):
    """What a setting's values are."""

    @property
    def expected(self) -> str:
        """The acceptable values in words, to follow "expected"."""
        ...

    @property
    def bounds(self) -> str:
        """The same in short, for a table."""
        ...

    def parse(self, raw: object, base: Path) -> object:
        """The value that `raw` means; relative paths start at `base`.

        Raises ValueError, or WrongValue where there is more to say than what is expected.
        """
        ...

    def show(self, value: object) -> str:
        """`value` as a person would write it, without secrets."""
        ...


def _text(raw: object) -> str:
    if not isinstance(raw, str) or not raw.strip() or not raw.isprintable():
        raise ValueError(raw)
    return raw.strip()


def _absolute(raw: object, base: Path) -> Path:
    text = str(raw) if isinstance(raw, Path) else _text(raw)
    return base.joinpath(Path(text).expanduser()).absolute()


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Any text that is not blank."""

    expected: str = "a text that is not empty"
    bounds: str = "any text"

    def parse(self, raw: object, base: Path) -> str:
        return _text(raw)

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a few words."""

    options: tuple[str, ...]

    @property
    def bounds(self) -> str:
        return f"{', '.join(self.options[:-1])} or {self.options[-1]}"

    @property
    def expected(self) -> str:
        return self.bounds

    def parse(self, raw: object, base: Path) -> str:
        word = _text(raw).lower()
        if word not in self.options:
            raise ValueError(raw)
        return word

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number within bounds."""

    minimum: int
    maximum: int

    @property
    def bounds(self) -> str:
        return f"{self.minimum} to {self.maximum}"

    @property
    def expected(self) -> str:
        return f"a whole number from {self.bounds}"

    def parse(self, raw: object, base: Path) -> int:
        if isinstance(raw, str) and _WHOLE_NUMBER.fullmatch(raw.strip()):
            raw = int(raw)
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise ValueError(raw)
        if not self.minimum <= raw <= self.maximum:
            raise ValueError(raw)
        return raw

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """An amount of money within bounds, in whatever currency prices are."""

    minimum: float
    maximum: float

    @property
    def bounds(self) -> str:
        return f"{self.minimum:.12g} to {self.maximum:.12g}"

    @property
    def expected(self) -> str:
        return f"an amount of money such as 5 or 0.25, from {self.bounds}"

    def parse(self, raw: object, base: Path) -> float:
        if isinstance(raw, str) and _DECIMAL_NUMBER.fullmatch(raw.strip()):
            raw = float(raw)
        if not isinstance(raw, int | float) or isinstance(raw, bool):
            raise ValueError(raw)
        if not self.minimum <= raw <= self.maximum:
            raise ValueError(raw)
        return float(raw)

    def show(self, value: object) -> str:
        assert isinstance(value, float | int)
        return f"{value:.12g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """On or off."""

    expected: str = "true or false"
    bounds: str = "true or false"

    def parse(self, raw: object, base: Path) -> bool:
        if isinstance(raw, bool):
            return raw
        word = _text(raw).lower()
        if word not in _SWITCHED:
            raise ValueError(raw)
        return _SWITCHED[word]

    def show(self, value: object) -> str:
        return "true" if value else "false"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """Seconds within bounds."""

    minimum: float
    maximum: float

    @property
    def bounds(self) -> str:
        return f"{format_duration(self.minimum)} to {format_duration(self.maximum)}"

    @property
    def expected(self) -> str:
        return f"a duration such as 30, 1.5s or 5m, from {self.bounds}"

    def parse(self, raw: object, base: Path) -> float:
        seconds = parse_duration(raw) if isinstance(raw, str) else raw
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise ValueError(raw)
        if not math.isfinite(seconds) or not self.minimum <= seconds <= self.maximum:
            raise ValueError(raw)
        return float(seconds)

    def show(self, value: object) -> str:
        assert isinstance(value, float | int)
        return format_duration(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes within bounds."""

    minimum: int
    maximum: int

    @property
    def bounds(self) -> str:
        return f"{format_size(self.minimum)} to {format_size(self.maximum)}"

    @property
    def expected(self) -> str:
        return f"a size such as 4096, 64MiB or 1.5GB, from {self.bounds}"

    def parse(self, raw: object, base: Path) -> int:
        size = parse_size(raw) if isinstance(raw, str) else raw
        if not isinstance(size, int) or isinstance(size, bool):
            raise ValueError(raw)
        if not self.minimum <= size <= self.maximum:
            raise ValueError(raw)
        return size

    def show(self, value: object) -> str:
        assert isinstance(value, int)
        return format_size(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory, made absolute; it need not exist."""

    expected: str = "a path"
    bounds: str = "a path"

    def parse(self, raw: object, base: Path) -> Path:
        return _absolute(raw, base)

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file's path, made absolute; it need not exist yet."""

    expected: str = "the path of a file"
    bounds: str = "a path"

    def parse(self, raw: object, base: Path) -> Path:
        return _absolute(raw, base)

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMode:
    """Who may use a file: an octal number, as text because a bare number would be decimal."""

    expected: str = 'an octal mode as text, such as "0600" or "0660"'
    bounds: str = "an octal mode"

    def parse(self, raw: object, base: Path) -> int:
        if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw <= 0o777:
            return raw
        text = _text(raw)
        if not _FILE_MODE.fullmatch(text):
            raise ValueError(raw)
        return int(text, 8)

    def show(self, value: object) -> str:
        assert isinstance(value, int)
        return f"{value:04o}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenHost:
    """Where to listen: an address, or one of the other forms; a unix path is made absolute."""

    expected: str = "an address or a name, unix:PATH, fd://NUMBER or systemd"
    bounds: str = "see [listening](listening.md)"

    def parse(self, raw: object, base: Path) -> str:
        text = _text(raw)
        address = listen_address(text, 0)
        if isinstance(address, UnixAddress):
            return f"{UNIX_PREFIX}{_absolute(str(address.path), base)}"
        return text

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command to be looked up on PATH, or a path (anything with a slash), made absolute."""

    expected: str = "a command's name or a path"
    bounds: str = "a command or a path"

    def parse(self, raw: object, base: Path) -> str:
        text = _text(raw)
        if "/" not in text:
            return text
        return str(base.joinpath(Path(text).expanduser()).absolute())

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrl:
    """A URL as SQLAlchemy takes it; passwords in it are never shown."""

    expected: str = "a URL such as sqlite:////path/file.db or postgresql://user:password@host/name"
    bounds: str = "an SQLAlchemy URL"

    def parse(self, raw: object, base: Path) -> str:
        text = _text(raw)
        scheme, separator, _ = text.partition("://")
        if not separator or scheme.partition("+")[0] not in _DATABASES:
            raise ValueError(raw)
        return text

    def show(self, value: object) -> str:
        return without_password(str(value))


def without_password(text: str) -> str:
    """The text, which may hold a URL, with `***` for the URL's password."""
    return _URL_PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", text)
