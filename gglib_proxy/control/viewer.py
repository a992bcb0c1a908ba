"""What a request may see: whose records, and which models.

The headers tell it that only the data plane can set. Not here: whether the path may be asked for at
all, which the data plane has decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from werkzeug.datastructures import Headers

from gglib_core.catalog import nearest_names
from gglib_core.errors import OutOfScope, UnknownModel
from gglib_core.keys import Endpoint, is_one_of
from gglib_core.models import Model
from gglib_core.ports import ModelCatalog

PEER_HEADER = "x-gglib-peer"
"""Without it the request came over the private socket."""
KEY_ID_HEADER = "x-gglib-key-id"
KEY_HEADER = "x-gglib-key"
ENDPOINTS_HEADER = "x-gglib-endpoints"
MODELS_HEADER = "x-gglib-models"
"""JSON: the globs of the models that the key is for; absent for all."""
_SEES_ALL = frozenset({Endpoint.LOGS, Endpoint.ADMIN})
_decode_globs = msgspec.json.Decoder(tuple[str, ...]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who asks."""

    key_id: int | None
    sees_all: bool
    """Whether the records of all keys are shown; else those of the viewer's own."""
    is_stranger: bool
    """Whether the viewer has no key where one is needed."""
    key_mask: str = ""
    models: tuple[str, ...] = ()
    """Globs of the models that the viewer may use; without any, all."""
    is_admin: bool = False

    @property
    def shown_models(self) -> tuple[str, ...]:
        """Globs of the models that the viewer may be told of; without any, all."""
        return () if self.is_admin else self.models

    def find_model(self, catalog: ModelCatalog, name: str) -> Model:
        """The model of that name, alias or id.

        Raises UnknownModel, which names the nearest, and OutOfScope, which does not tell whose
        alias or id it was.
        """
        model = catalog.resolve_model(name)
        if model is None:
            raise UnknownModel(name, nearest_names(name, self.usable(catalog.list_models())))
        if not is_one_of(self.models, model.name):
            raise OutOfScope(self.key_mask, f"the model {name!r}")
        return model

    def usable(self, models: Sequence[Model]) -> Sequence[Model]:
        """Those that the viewer may use."""
        return [model for model in models if is_one_of(self.models, model.name)]


def viewer_of(headers: Headers) -> Viewer:
    """Who asks. Without a peer it is the owner of the process, on the private socket."""
    key_id = headers.get(KEY_ID_HEADER, "")
    scopes = headers.get(ENDPOINTS_HEADER, "").split(",")
    return Viewer(
        key_id=int(key_id) if key_id.isdecimal() else None,
        is_stranger=PEER_HEADER in headers and not any(scopes),
        sees_all=PEER_HEADER not in headers or not _SEES_ALL.isdisjoint(scopes),
        key_mask=headers.get(KEY_HEADER, ""),
        models=_decode_globs(headers.get(MODELS_HEADER, "[]")),
        is_admin=PEER_HEADER not in headers or Endpoint.ADMIN in scopes,
    )
