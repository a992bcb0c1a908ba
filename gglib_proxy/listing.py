"""The catalog's models and what runs of them, as one view that stays the same until it changes.

Whatever lists models is built from a `Listing`, and built again only for another one.
Not here: how a list is written, which each of its readers has its own way for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gglib_core.keys import is_one_of
from gglib_core.models import Model, ModelState
from gglib_core.ports import ModelCatalog, ModelRuntime

# A model that is being stopped serves nobody: the next request for it waits for a load.
_SHOWN = {ModelState.STOPPING: ModelState.UNLOADED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All models at one moment."""

    models: Sequence[Model]
    states: Mapping[int, ModelState]
    """By model id, of those that are not simply unloaded."""
    failures: Mapping[int, str]
    """By model id, why the last launch failed."""

    def status(self, model: Model) -> ModelState:
        """Unloaded, loading, loaded or failed: what clients are shown."""
        state = self.states.get(model.id, ModelState.UNLOADED)
        return _SHOWN.get(state, state)

    def seen_through(self, globs: tuple[str, ...]) -> Listing:
        """What of it is shown to who may use the models that these globs name."""
        if not globs:
            return self
        return replace(self, models=[each for each in self.models if is_one_of(globs, each.name)])


class Listings:
    """The listing as of now."""

    def __init__(self, catalog: ModelCatalog, runtime: ModelRuntime) -> None:
        self._catalog = catalog
        self._runtime = runtime
        self._key: object = None
        self._listing = Listing(models=(), states={}, failures={})

    def current(self) -> Listing:
        """The same object for as long as nothing that it shows has changed."""
        shown = [(each.model_id, each.state, each.failure) for each in self._runtime.current()]
        key = (self._catalog.revision, shown)
        if key != self._key:
            self._key = key
            self._listing = Listing(
                models=self._catalog.list_models(),
                states={model_id: state for model_id, state, _ in shown},
                failures={model_id: failure for model_id, _, failure in shown if failure},
            )
        return self._listing


class Rendered:
    """Bytes made of a listing, made again only when there is another listing.

    They differ by the models that their reader may use, of which there are as many as API keys.
    """

    def __init__(self, listings: Listings, render: Callable[[Listing], bytes]) -> None:
        self._listings = listings
        self._render = render
        self._of: Listing | None = None
        self._bytes: dict[tuple[str, ...], bytes] = {}

    def current(self, globs: tuple[str, ...] = ()) -> bytes:
        """For who may use the models that the globs name, by default all."""
        listing = self._listings.current()
        if listing is not self._of:
            self._bytes.clear()
            self._of = listing
        made = self._bytes.get(globs)
        if made is None:
            made = self._bytes[globs] = self._render(listing.seen_through(globs))
        return made
