"""The operations of the admin API.

Not here: how they are written down as OpenAPI.
"""

from __future__ import annotations

from typing import Any

from gglib_core.keys import Endpoint
from gglib_core.swaps import MAX_PAGE
from gglib_proxy.control.admin import documents as admin
from gglib_proxy.control.admin import key_documents as keys
from gglib_proxy.control.admin import model_documents as models
from gglib_proxy.control.admin.logs import MAX_LINES
from gglib_proxy.control.openapi import shapes
from gglib_proxy.control.openapi.operation import (
    ANYTHING,
    EVENTS,
    SWITCH,
    Operation,
    Parameter,
    whole,
)

_TAG, _KEYS, _CATALOG = "Administration", "API keys", "Catalog"
_ID = Parameter(name="id", meaning="Of the request or of its generation.", is_in_path=True)
_SERVER_OPERATIONS = (
    Operation(
        method="GET",
        path="/admin/config",
        summary="Show the settings, and where they came from",
        tag=_TAG,
        endpoint=Endpoint.ADMIN,
        answer=admin.ConfigDocument,
    ),
    Operation(
        method="POST",
        path="/admin/config",
        summary="Set these settings and no others over what files say",
        tag=_TAG,
        endpoint=Endpoint.ADMIN,
        body=ANYTHING,
        answer=admin.ConfigDocument,
        errors=(400, 415),
    ),
    Operation(
        method="PATCH",
        path="/admin/config",
        summary="Set these settings too; null takes one back",
        tag=_TAG,
        endpoint=Endpoint.ADMIN,
        body=ANYTHING,
        answer=admin.ConfigDocument,
        errors=(400, 415),
    ),
    Operation(
        method="POST",
        path="/admin/config/reload",
        summary="Read the settings' files anew",
        tag=_TAG,
        endpoint=Endpoint.ADMIN,
        answer=admin.ConfigDocument,
        errors=(400,),
    ),
    Operation(
        method="GET",
        path="/admin/stats",
        summary="Sum up what gglib has done and does",
        tag=_TAG,
        endpoint=Endpoint.ADMIN,
        answer=admin.Stats,
    ),
    Operation(
        method="GET",
        path="/admin/requests",
        summary="List the requests that are under way",
        tag=_TAG,
        endpoint=Endpoint.ADMIN,
        answer=admin.RequestList,
    ),
    Operation(
        method="DELETE",
        path="/admin/requests/{id}",
        summary="End a request; its client is told",
        tag=_TAG,
        endpoint=Endpoint.ADMIN,
        parameters=(_ID,),
        answer=admin.Cancelled,
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/admin/drain",
        summary="Take no new requests for models, or take them again",
        tag=_TAG,
        endpoint=Endpoint.ADMIN,
        body=admin.Pause,
        is_body_needed=False,
        answer=admin.PauseDone,
        errors=(400, 415),
    ),
    Operation(
        method="POST",
        path="/admin/rate-limits/reset",
        summary="Forget what callers have used of their limits",
        tag=_TAG,
        endpoint=Endpoint.ADMIN,
        body=admin.Reset,
        is_body_needed=False,
        answer=admin.ResetDone,
        errors=(400, 415),
    ),
    Operation(
        method="GET",
        path="/admin/swaps",
        summary="List swaps: who caused them, who gave way, and what they took",
        tag=_TAG,
        endpoint=Endpoint.ADMIN,
        parameters=(
            Parameter(name="limit", meaning="So many at most.", schema=whole(1, MAX_PAGE)),
            Parameter(name="cursor", meaning="The `next_cursor` of the page before."),
            Parameter(name="model", meaning="Of the model of this name."),
        ),
        answer=shapes.SwapEntries,
        errors=(400,),
    ),
    Operation(
        method="GET",
        path="/admin/logs",
        summary="Show the last lines of gglib's log, or of an engine's; or follow it",
        tag=_TAG,
        endpoint=Endpoint.LOGS,
        parameters=(
            Parameter(name="model", meaning="The model whose engine is meant."),
            Parameter(name="lines", meaning="So many at most.", schema=whole(0, MAX_LINES)),
            Parameter(name="follow", meaning="Then those to come, as events.", schema=SWITCH),
        ),
        answer=admin.LogList,
        media=("application/json", EVENTS),
        errors=(400, 404),
    ),
)

_KEY = Parameter(name="name", meaning="Of the key.", is_in_path=True)
_MODEL = Parameter(
    name="model", meaning="A model's name, alias or id; with slashes as they are.", is_in_path=True
)


def _about_keys(
    method: str,
    path: str,
    summary: str,
    answer: type,
    errors: tuple[int, ...] = (),
    **more: Any,  # noqa: ANN401 -- fields
) -> Operation:
    return Operation(
        method=method,
        path=f"/admin/keys{path}",
        summary=summary,
        tag=_KEYS,
        endpoint=Endpoint.ADMIN,
        parameters=(_KEY,) if path else (),
        answer=answer,
        errors=(*errors, 404) if path else errors,
        **more,
    )


def _about_models(
    method: str,
    path: str,
    summary: str,
    answer: type,
    errors: tuple[int, ...] = (),
    **more: Any,  # noqa: ANN401 -- fields
) -> Operation:
    return Operation(
        method=method,
        path=f"/admin/models{path}",
        summary=summary,
        tag=_CATALOG,
        endpoint=Endpoint.ADMIN,
        parameters=(_MODEL,) if path else (),
        answer=answer,
        errors=(*errors, 404) if path else errors,
        **more,
    )


_WRITTEN = (400, 409, 415)
_KEY_OPERATIONS = (
    _about_keys("GET", "", "List the API keys, without their secrets", keys.KeyList),
    _about_keys(
        "POST",
        "",
        "Make an API key; its secret is shown this once",
        keys.MadeKeyDocument,
        _WRITTEN,
        body=keys.NewKeyBody,
        status=201,
    ),
    _about_keys("GET", "/{name}", "Show an API key", keys.KeyDocument),
    _about_keys(
        "PATCH",
        "/{name}",
        "Change what an API key allows; what is left out stays",
        keys.KeyDocument,
        _WRITTEN,
        body=keys.KeyChangesBody,
        is_body_needed=False,
    ),
    _about_keys("DELETE", "/{name}", "Remove an API key for good", admin.Deleted),
    _about_keys(
        "POST",
        "/{name}/rotate",
        "Give an API key a new secret; the old one ends at once",
        keys.MadeKeyDocument,
    ),
    _about_keys("POST", "/{name}/enable", "Switch an API key on", keys.KeyDocument),
    _about_keys("POST", "/{name}/disable", "Switch an API key off", keys.KeyDocument),
)
_MODEL_OPERATIONS = (
    _about_models("GET", "", "List the models with all that is known", models.ModelDocuments),
    _about_models(
        "POST",
        "",
        "Add a model file of the server's machine",
        models.ModelDocument,
        _WRITTEN,
        body=models.NewModelBody,
        status=201,
    ),
    _about_models("GET", "/{model}", "Show all that is known of a model", models.ModelDocument),
    _about_models(
        "PATCH",
        "/{model}",
        "Change a model, from its next launch on; what is left out stays",
        models.ModelDocument,
        _WRITTEN,
        body=models.ModelChangesBody,
        is_body_needed=False,
    ),
    _about_models("DELETE", "/{model}", "Take a model out; its file stays", admin.Deleted, (400,)),
)
ADMIN_OPERATIONS = (*_SERVER_OPERATIONS, *_KEY_OPERATIONS, *_MODEL_OPERATIONS)
