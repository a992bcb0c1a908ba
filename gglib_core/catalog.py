"""The catalog's rules: names, and an immutable snapshot that finds models by them.

Not here: where models are stored, and what makes a running server replace its snapshot.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from gglib_core.errors import InvalidModel, NameTaken
from gglib_core.models import LaunchSpec, Model, NewModel

MAX_NAME_LENGTH = 200
_ALIKE = 0.45
_CHANGED_IN_URLS = frozenset({"", ".", ".."})


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


class InMemoryModelCatalog:
    """A complete catalog without a database: holds a snapshot, and swaps it whole.

    All methods belong to one event loop. Models are taken as they are, except that names and ids
    must be unique among them.
    """

    def __init__(self, models: Iterable[Model] = ()) -> None:
        self._listeners: list[Callable[[], None]] = []
        self._snapshot = _consistent_snapshot(models, revision=1)

    @property
    def revision(self) -> int:
        return self._snapshot.revision

    @property
    def snapshot(self) -> CatalogSnapshot:
        """The catalog as it stands; it does not follow later changes."""
        return self._snapshot

    def list_models(self) -> Sequence[Model]:
        return self._snapshot.list_models()

    def resolve_model(self, name: str) -> Model | None:
        return self._snapshot.resolve_model(name)

    def resolve_for_launch(self, model_id: int) -> LaunchSpec | None:
        return self._snapshot.resolve_for_launch(model_id)

    def replace(self, models: Iterable[Model]) -> None:
        """Swap all models at once, then call the listeners.

        Raises NameTaken where two models share a name or an alias; nothing is changed then.
        """
        self._snapshot = _consistent_snapshot(models, revision=self.revision + 1)
        for listener in tuple(self._listeners):
            listener()

    def add_listener(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after each swap; it must not fail or block.

        Returns a function that removes it.
        """
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove


def _consistent_snapshot(models: Iterable[Model], *, revision: int) -> CatalogSnapshot:
    owners: dict[str, Model] = {}
    snapshot = CatalogSnapshot(models, revision=revision)
    for model in snapshot.list_models():
        for name in known_as(model):
            owner = owners.setdefault(name, model)
            if owner is not model:
                raise NameTaken(name, owner.name)
    return snapshot


def known_as(model: NewModel) -> tuple[str, ...]:
    """The exact names that find `model`: its name, then its aliases."""
    return (model.name, *model.aliases)


def catalog_entry(new: NewModel, *, model_id: int, created: int) -> Model:
    """`new` with what the catalog adds to it."""
    described = {field.name: getattr(new, field.name) for field in dataclasses.fields(NewModel)}
    return Model(id=model_id, created=created, **described)


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
        engine=model.engine,
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
    """The names and aliases most like `name`, best first; none where nothing is alike.

    Alike is what shares pairs of letters, wherever they stand; cheap enough for each wrong request.
    """
    asked = _pairs(name[:MAX_NAME_LENGTH])
    alike: list[tuple[float, str]] = []
    for model in models:
        for known in known_as(model):
            pairs = _known_pairs(known)
            likeness = 2 * len(asked & pairs) / (len(asked) + len(pairs))
            if likeness >= _ALIKE:
                alike.append((-likeness, known))
    return tuple(known for _, known in heapq.nsmallest(limit, alike))


def _pairs(name: str) -> frozenset[str]:
    """Each two letters that stand side by side; the first one counts as a pair of its own."""
    framed = f"\n{name.casefold()}"
    return frozenset(map(str.__add__, framed, framed[1:])) or frozenset({framed})


_known_pairs = functools.lru_cache(maxsize=4096)(_pairs)  # the catalog's names, not the callers'


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
    if not _CHANGED_IN_URLS.isdisjoint(name.split("/")):
        raise InvalidModel(
            f"The name {name!r} would not survive in a URL: it has an empty, `.` or `..` part."
        )
    return name
