"""What the options of `gglib model edit` add up to: which properties of an entry become what.

Of a property with many values, all are cleared first, then some removed, then others added. Not
here: what an entry may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gglib_runtime.cli.failures import CommandFailed
from gglib_runtime.cli.model_options import capability_set
from gglib_runtime.engines.simulated import NAME as IMAGINED

if TYPE_CHECKING:
    from gglib_core.models import Capability, Model
    from gglib_core.stored_models import ModelChanges

CLEARABLE = {
    "ctx": "context",
    "parallel": "parallel",
    "threads": "threads",
    "gpu-layers": "gpu_layers",
    "max-concurrent": "max_concurrent",
    "idle-seconds": "idle_seconds",
    "capability": "capabilities",
    "alias": "aliases",
    "tag": "tags",
    "arg": "arguments",
    "env": "environment",
    "engine": "engine",
}
"""Properties that can be taken away, by the option that sets them."""

_MANY = ("aliases", "tags", "arguments", "environment")


def wished_changes(
    old: Model,
    *,
    path: Path | None = None,
    capabilities: Sequence[str] = (),
    cleared: Sequence[str] = (),
    **wishes: Any,  # noqa: ANN401 -- properties by name, and `removed_` with the name of some
) -> ModelChanges:
    """The properties of `old` to change. Raises CommandFailed, GgufError."""
    without = {CLEARABLE[word] for word in cleared}
    changes: dict[str, Any] = dict.fromkeys(without)
    if "engine" in without and path is None and old.facts.architecture == IMAGINED:
        raise CommandFailed(f"{old.name!r} has no file; give it one with --path.")
    if path is not None:
        changes |= _file_changes(old, path)
    if "capabilities" in without:
        changes["capabilities"] = _capabilities_of_file(old, path)
    if capabilities:
        changes["capabilities"] = capability_set(capabilities)
    for key in _MANY:
        added, removed = wishes.pop(key, ()), wishes.pop(f"removed_{key}", ())
        if added or removed or key in without:
            kept = () if key in without else getattr(old, key)
            changes[key] = _merged(key, kept, added, removed)
    changes |= {key: value for key, value in wishes.items() if value is not None}
    return changes  # pyright: ignore[reportReturnType] -- the options are named after the properties


def _merged(
    key: str, kept: Sequence[Any], added: Sequence[Any], removed: Sequence[str]
) -> tuple[Any, ...]:
    if key == "environment":
        variables = dict[str, str](kept)
        _check_present(key, variables, removed)
        rest = {name: value for name, value in variables.items() if name not in removed}
        return tuple((rest | dict[str, str](added)).items())
    _check_present(key, kept, removed)
    rest = [value for value in kept if value not in removed]
    if key == "arguments":  # where a token may stand twice
        return (*rest, *added)
    return tuple(dict.fromkeys((*rest, *added)))


def _check_present(key: str, kept: Any, removed: Sequence[str]) -> None:  # noqa: ANN401 -- a container
    for value in removed:
        if value not in kept:
            what = "environment variables" if key == "environment" else key
            known = ", ".join(map(repr, kept)) or "none"
            raise CommandFailed(f"The model's {what} do not include {value!r}; they are: {known}.")


def _file_changes(old: Model, path: Path) -> dict[str, Any]:
    from gglib_runtime.gguf.description import describe_model
    from gglib_runtime.gguf.facts import default_capabilities

    described = describe_model(path)
    changes: dict[str, Any] = {
        "paths": described.paths,
        "size_bytes": described.size_bytes,
        "facts": described.facts,
    }
    if old.capabilities == default_capabilities(old.facts):
        changes["capabilities"] = described.capabilities
    return changes


def _capabilities_of_file(old: Model, path: Path | None) -> frozenset[Capability]:
    from gglib_runtime.gguf.description import describe_model
    from gglib_runtime.gguf.facts import default_capabilities

    return default_capabilities(old.facts) if path is None else describe_model(path).capabilities
