"""The catalog's rules: an immutable snapshot that finds models by what clients call them.

Not here: where models are stored, and how a snapshot comes to be replaced.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from gglib_core.errors import InvalidModel
from gglib_core.models import LaunchSpec, Model

MAX_NAME_LENGTH = 200


class CatalogSnapshot:
    """All models at one revision; fills the port `ModelCatalog` as it stands."""

    __slots__ = ("_by_fold", "_by_id", "_by_name", "_models", "_revision")

    def __init__(self, models: Iterable[Model] = (), *, revision: int = 0) -> None:
        self._revision = revision
        self._models = tuple(sorted(models, key=lambda model: model.id))
        self._by_id = {model.id: model for model in self._models}
        by_alias = {alias: model for model in self._models for alias in model.aliases}
        self._by_name = by_alias | {model.name: model for model in self._models}
        self._by_fold = _unambiguous_folds(self._by_name)

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def names(self) -> Mapping[str, Model]:
        """Every exact name and alias."""
        return MappingProxyType(self._by_name)

    def list_models(self) -> Sequence[Model]:
        return self._models

    def resolve_model(self, name: str) -> Model | None:
        found = self._by_name.get(name)
        if found is None and name.isascii() and name.isdigit() and len(name) < 19:
            found = self._by_id.get(int(name))
        return found or self._by_fold.get(name.casefold())

    def resolve_for_launch(self, model_id: int) -> LaunchSpec | None:
        model = self._by_id.get(model_id)
        return None if model is None else launch_spec(model)


def _unambiguous_folds(names: Mapping[str, Model]) -> dict[str, Model]:
    folds: dict[str, Model] = {}
    ambiguous: set[str] = set()
    for name, model in names.items():
        folded = name.casefold()
        if folds.setdefault(folded, model) is not model:
            ambiguous.add(folded)
    return {folded: model for folded, model in folds.items() if folded not in ambiguous}


def launch_spec(model: Model) -> LaunchSpec:
    """What the runtime needs of a catalog entry."""
    return LaunchSpec(
        model_id=model.id,
        name=model.name,
        path=model.path,
        size_bytes=model.size_bytes,
        capabilities=model.capabilities,
        is_causal=model.facts.is_causal,
        pooling=model.facts.pooling,
        parallel=model.parallel,
        threads=model.threads,
        gpu_layers=model.gpu_layers,
        arguments=model.arguments,
        environment=model.environment,
        idle_seconds=model.idle_seconds,
        max_concurrent=model.max_concurrent,
        is_pinned=model.is_pinned,
    )


def required_context(model: Model, asked: int | None, default: int) -> int:
    """Tokens per request that a request for `model` needs: `asked`, or the model's, or `default`.

    A default never exceeds what the model was trained for; an asked value is not bounded here.
    """
    if asked is not None:
        return asked
    context = model.context or default
    trained = model.facts.context_length
    return min(context, trained) if trained else context


def nearest_names(name: str, models: Iterable[Model], limit: int = 3) -> tuple[str, ...]:
    """The names and aliases most like `name`, best first; none where nothing is alike."""
    folded = {known.casefold(): known for model in models for known in (*model.aliases, model.name)}
    close = difflib.get_close_matches(name.casefold(), folded, n=limit, cutoff=0.5)
    return tuple(folded[match] for match in close)


def check_name(name: str) -> str:
    """Return `name` if a model or alias may have it; raise InvalidModel otherwise."""
    if not name or name != name.strip():
        raise InvalidModel(f"The name {name!r} is empty or has blanks around it.")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidModel(f"The name is longer than {MAX_NAME_LENGTH} characters.")
    if not name.isprintable():
        raise InvalidModel(f"The name {name!r} has characters that cannot be printed.")
    if "," in name:
        raise InvalidModel(f"The name {name!r} has a comma, which llama-server splits aliases at.")
    if name.isascii() and name.isdigit():
        raise InvalidModel(f"The name {name!r} has digits only, so it would pass for a model id.")
    return name
