"""Which profiles there are, the package's and the user's, and which model has which.

Not here: what a profile means.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import msgspec

from gglib_runtime.simulator.latency.profile import INSTANT, LatencyProfile
from gglib_runtime.simulator.problems import explained

_SHIPPED = Path(__file__).with_name("profiles.toml")
AUTO = "auto"
"""The profile that a model's name tells; none for a name that tells nothing."""
NONE = "none"
_MOST_REMEMBERED = 1024


class UnknownProfile(ValueError):
    """There is no such profile."""


@cache
def shipped_profiles() -> Mapping[str, LatencyProfile]:
    """The package's profiles by name, in the order in which their globs are tried."""
    import tomllib

    data = tomllib.loads(_SHIPPED.read_text())
    return msgspec.convert(data, dict[str, LatencyProfile])


def find_profile(name: str) -> LatencyProfile:
    """A profile by its name, or from a file: TOML, or samples in CSV or JSON.

    Raises UnknownProfile, which says what is wrong.
    """
    if name == NONE:
        return INSTANT
    shipped = shipped_profiles()
    if name in shipped:
        return shipped[name]
    path = Path(name)
    if not path.is_file():
        known = ", ".join((AUTO, NONE, *shipped))
        raise UnknownProfile(f"There is no profile {name!r} and no such file. Known are: {known}.")
    if path.suffix == ".toml":
        return _read_profile(path)
    from gglib_runtime.simulator.latency.samples import BadSamples, read_samples

    try:
        return read_samples(path)
    except BadSamples as error:
        raise UnknownProfile(str(error)) from error


def _read_profile(path: Path) -> LatencyProfile:
    import tomllib

    try:
        return msgspec.convert(tomllib.loads(path.read_text()), LatencyProfile)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UnknownProfile(f"{path}: {explained(error, LatencyProfile)}") from error


class ProfileChoice:
    """Which profile a request's model has."""

    __slots__ = ("_by_glob", "_by_model", "_default")

    def __init__(self, default: str = NONE, models: Mapping[str, str] | None = None) -> None:
        """`models` has profiles' names by globs of models', tried in order before `default`.

        Raises UnknownProfile.
        """
        self._default = None if default == AUTO else find_profile(default)
        self._by_glob = {
            glob: None if name == AUTO else find_profile(name)
            for glob, name in (models or {}).items()
        }
        self._by_model: dict[str, LatencyProfile] = {}

    def of(self, model: str) -> LatencyProfile:
        """The profile of a model by its name."""
        found = self._by_model.get(model)
        if found is None:
            found = self._find(model)
            if len(self._by_model) < _MOST_REMEMBERED:  # names come from clients
                self._by_model[model] = found
        return found

    def _find(self, model: str) -> LatencyProfile:
        for glob, profile in self._by_glob.items():
            if fnmatchcase(model, glob):
                return profile or _named_by(model)
        return self._default or _named_by(model)


def _named_by(model: str) -> LatencyProfile:
    name = model.lower()
    for profile in shipped_profiles().values():
        if any(fnmatchcase(name, glob) for glob in profile.models):
            return profile
    return INSTANT
