"""Which scenarios there are: those of the package, and files of the user's.

Not here: what a scenario means.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from gglib_runtime.simulator.problems import explained
from gglib_runtime.simulator.scenarios.schema import Scenario

_SHIPPED = Path(__file__).parent


class UnknownScenario(ValueError):
    """There is no such scenario, or it makes no sense; says why."""


@cache
def shipped_names() -> tuple[str, ...]:
    """The package's scenarios."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def scenario_file(name: str) -> Path:
    """Where a scenario is, by its name or its path; raises UnknownScenario."""
    if name in shipped_names():
        return _SHIPPED / f"{name}.toml"
    path = Path(name)
    if not path.is_file():
        known = ", ".join(shipped_names())
        raise UnknownScenario(
            f"There is no scenario {name!r} and no such file. Known are: {known}."
        )
    return path


def read_scenario(name: str) -> Scenario:
    """A scenario by its name, or from a TOML or JSON file; raises UnknownScenario."""
    path = scenario_file(name)
    try:
        text = path.read_text()
        if path.suffix == ".json":
            return msgspec.json.decode(text, type=Scenario)
        import tomllib

        return msgspec.convert(tomllib.loads(text), Scenario)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UnknownScenario(f"{path}: {explained(error, Scenario)}") from error
