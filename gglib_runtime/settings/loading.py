"""Where settings come from: defaults, a TOML file, what admins set, the environment, flags.

All of them are validated together, so that one error names everything that is wrong. Not here:
which settings exist.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gglib_core.errors import ConfigError
from gglib_runtime.paths import DataPaths, default_config_file, default_data_dir
from gglib_runtime.settings.foreign_variables import foreign_values
from gglib_runtime.settings.kinds import DatabaseUrl, WrongValue, without_password
from gglib_runtime.settings.overrides import read_overrides
from gglib_runtime.settings.schema import Settings, contradictions, declarations

ENVIRONMENT_PREFIX = "GGLIB_"
NOT_SETTINGS = frozenset(
    {
        "GGLIB_API_KEY",
        "GGLIB_COMPILE",
        "GGLIB_CONFIG",
        "GGLIB_DEBUG",
        "GGLIB_EMBEDDED_FALLBACK",
        "GGLIB_LAUNCH",
        "GGLIB_SIM",
        "GGLIB_SIM_RECORD",
    }
)
"""Variables that mean something to gglib or to its engines without being settings."""


class Layer(StrEnum):
    """A place where settings come from; later ones win."""

    DEFAULT = "default"
    FILE = "file"
    ADMIN = "admin"
    """What was set while the server ran."""
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value came from."""

    layer: Layer
    name: str = ""
    """The file's path, the variable or the flag; empty for a default."""

    def __str__(self) -> str:
        return self.name or self.layer


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    """Settings that are valid as a whole, and how they came to be."""

    settings: Settings
    origins: Mapping[str, Origin]
    """For every key."""
    config_file: Path | None
    """The file that was read, if any."""
    sources: SettingsSources
    """What they can be read from again."""
    warnings: tuple[str, ...] = ()
    """What is odd but no error, each in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsSources:
    """Everything that settings are read from, so that they can be read again."""

    config_path: Path | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    flags: Mapping[str, object] = field(default_factory=dict[str, object])
    assignments: tuple[str, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict[str, object])
    """Values that take the place of the declared defaults."""

    @property
    def config_file(self) -> Path:
        """The settings file, whether it is there or not."""
        return _named_file(self.config_path, self.environ) or default_config_file()

    def load(self, overrides: Mapping[str, object] | None = None) -> LoadedSettings:
        """As `load_settings`; `overrides` take the place of what admins have set."""
        config_file = _config_file(self.config_path, self.environ)
        below = tuple(_file_entries(config_file) if config_file else ())
        above = (
            *_environment_entries(self.environ),
            *_flag_entries(self.flags),
            *_assigned_entries(self.assignments),
        )
        data_dir = _judge((*below, *above)).values.get("data_dir", default_data_dir())
        if overrides is None:
            overrides = read_overrides(DataPaths(data_dir).admin_settings)
        return self._load(config_file, (*below, *_override_entries(overrides), *above))

    def _load(self, config_file: Path | None, entries: Sequence[_Entry]) -> LoadedSettings:
        verdict = _judge(entries)
        values: dict[str, Any] = {**self.defaults, **verdict.values}
        if not verdict.problems:
            settings = Settings(**values)
            verdict.problems += _contradiction_problems(settings, verdict.origins)
        if verdict.problems:
            raise ConfigError(_summary([text for _, text in verdict.problems]), verdict.problems)
        return LoadedSettings(
            settings=Settings(**values),
            origins=MappingProxyType(_all_origins(verdict.origins)),
            config_file=config_file,
            sources=self,
            warnings=tuple(_environment_warnings(self.environ)),
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A value as it was found."""

    key: str
    raw: object
    origin: Origin
    base: Path
    """Where a relative path starts."""


@dataclass(slots=True)
class _Verdict:
    """What reading the entries one by one gave."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    origins: dict[str, Origin] = field(default_factory=dict[str, Origin])
    problems: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Each with the key that is wrong."""


def load_settings(
    config_path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] = MappingProxyType({}),
    assignments: Sequence[str] = (),
) -> LoadedSettings:
    """Read all layers and validate them whole.

    `config_path` must exist if it is given, here or by `GGLIB_CONFIG`. `flags` has values by key,
    where None stands for a flag that was not given; `assignments` are `key=value` texts from
    `--set`. Raises ConfigError, which names every problem.
    """
    return SettingsSources(
        config_path=config_path, environ=environ, flags=flags, assignments=tuple(assignments)
    ).load()


def _config_file(config_path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = _named_file(config_path, environ)
    path = named or default_config_file()
    try:
        if path.exists():
            return path
    except OSError as error:  # a directory on its way may be closed to us
        raise ConfigError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    if named is not None:
        raise ConfigError(f"There is no settings file {path}.")
    return None


def _named_file(config_path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = config_path or (Path(environ["GGLIB_CONFIG"]) if environ.get("GGLIB_CONFIG") else None)
    return None if named is None else named.expanduser().absolute()


def _file_entries(path: Path) -> Iterator[_Entry]:
    try:
        document = tomllib.loads(_text_of(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings file {path} cannot be read: {error}.") from error
    except ValueError as error:  # also of numbers with thousands of digits
        raise ConfigError(f"The settings file {path} is not valid TOML: {error}.") from error
    except RecursionError as error:
        raise ConfigError(f"The settings file {path} is nested too deeply.") from error
    origin = Origin(Layer.FILE, str(path))
    for key, raw in document.items():
        yield _Entry(key, raw, origin, path.parent)


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else _text_read_once(path)


@cache
def _text_read_once(path: Path) -> str:
    """A pipe, such as a shell's `<(…)`, has nothing the second time."""
    return path.read_text(encoding="utf-8")


def _override_entries(overrides: Mapping[str, object]) -> Iterator[_Entry]:
    for key, raw in overrides.items():
        yield _Entry(key, raw, Origin(Layer.ADMIN), Path.cwd())


def _environment_entries(environ: Mapping[str, str]) -> Iterator[_Entry]:
    for key, raw, variable in foreign_values(environ):
        yield _Entry(key, raw, Origin(Layer.ENVIRONMENT, variable), Path.cwd())
    for key in declarations():
        variable = ENVIRONMENT_PREFIX + key.upper()
        if raw := environ.get(variable):
            yield _Entry(key, raw, Origin(Layer.ENVIRONMENT, variable), Path.cwd())


def _flag_entries(flags: Mapping[str, object]) -> Iterator[_Entry]:
    for key, raw in flags.items():
        if raw is not None:
            origin = Origin(Layer.FLAG, f"--{key.replace('_', '-')}")
            yield _Entry(key, raw, origin, Path.cwd())


def _assigned_entries(assignments: Iterable[str]) -> Iterator[_Entry]:
    for assignment in assignments:
        key, _, raw = assignment.partition("=")
        yield _Entry(key.strip().replace("-", "_"), raw, Origin(Layer.FLAG, "--set"), Path.cwd())


def _judge(entries: Iterable[_Entry]) -> _Verdict:
    verdict = _Verdict()
    for entry in entries:
        try:
            verdict.values[entry.key] = _parse(entry)
            verdict.origins[entry.key] = entry.origin
        except ValueError as error:
            verdict.problems.append((entry.key, _problem(entry, str(error))))
        except RecursionError:
            verdict.problems.append((entry.key, _problem(entry, "it is nested too deeply")))
    return verdict


def _parse(entry: _Entry) -> object:
    declaration = declarations().get(entry.key)
    if declaration is None:
        raise ValueError(_unknown_key(entry.key))
    if declaration.is_optional and entry.raw == "":
        return None
    try:
        return declaration.kind.parse(entry.raw, entry.base)
    except WrongValue:
        raise
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected {declaration.kind.expected}") from error


def _problem(entry: _Entry, reason: str) -> str:
    return f"{entry.key} = {_shown(entry)} ({entry.origin}): {reason}"


def _shown(entry: _Entry) -> str:
    declaration = declarations().get(entry.key)
    # What has no name of a setting may be a database's URL with a misspelt one.
    may_have_password = declaration is None or isinstance(declaration.kind, DatabaseUrl)
    try:
        shown = repr(entry.raw)
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        return "…"
    if may_have_password:
        shown = without_password(shown)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _unknown_key(key: str) -> str:
    close = difflib.get_close_matches(key, declarations(), n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else "; `gglib config show` lists them"
    return f"there is no such setting{hint}"


def _contradiction_problems(
    settings: Settings, origins: Mapping[str, Origin]
) -> Iterator[tuple[str, str]]:
    for key, expected in contradictions(settings):
        value = getattr(settings, key)
        shown = declarations()[key].show(value)
        origin = origins.get(key, Origin(Layer.DEFAULT))
        yield key, f"{key} = {shown!r} ({origin}): expected {expected}"


def _summary(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return f"A setting is wrong: {problems[0]}"
    return f"{len(problems)} settings are wrong:" + "".join(f"\n  {each}" for each in problems)


def _all_origins(found: Mapping[str, Origin]) -> dict[str, Origin]:
    return {key: found.get(key, Origin(Layer.DEFAULT)) for key in declarations()}


def _environment_warnings(environ: Mapping[str, str]) -> Iterator[str]:
    known = {ENVIRONMENT_PREFIX + key.upper() for key in declarations()} | NOT_SETTINGS
    for variable in sorted(environ):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in known:
            close = difflib.get_close_matches(variable, known, n=1, cutoff=0.7)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield f"The environment variable {variable} is not a setting{hint}"
