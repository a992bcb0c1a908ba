"""What is decided about an inference request before it waits for its model.

Which model is meant, whether it can do what is asked, and with how much context.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from gglib_core.catalog import nearest_names, required_context
from gglib_core.errors import (
    ContextTooLarge,
    MissingCapability,
    ModelNotLoaded,
    NoModelNamed,
    UnknownModel,
)
from gglib_core.keys import Endpoint
from gglib_core.models import Model, ModelState
from gglib_proxy.door.door import Entry
from gglib_proxy.envelope import (
    EMPTY,
    Envelope,
    model_of_query,
    read_envelope,
    split_upstream_path,
)
from gglib_proxy.http1.requests import Request
from gglib_proxy.prompt_size import prompt_bytes
from gglib_proxy.routes import UPSTREAM_PREFIX, NamedBy, Plane, Route, find_route

if TYPE_CHECKING:
    from gglib_proxy.data_plane import DataPlane

ANSWER_TOKENS: Final = 1024
"""Of an answer whose request sets no limit."""
_LOOKED_AT_BYTES: Final = 100
_is_shared_state = re.compile(rb"/+(?:slots|lora-adapters|props)(?:/|$)").match
"""What an engine lets be changed there counts for all who use the model."""
_IN_BODY: Final = NamedBy.BODY  # before Python 3.12 members are slow to look up


@dataclass(slots=True, init=False)
class Passage:
    """A request that may go on to admission.

    Its constructor is written out, for one that a dataclass makes is never compiled.
    """

    model: Model
    context: int
    target: bytes
    """The request target for the engine."""
    is_stream: bool
    may_load: bool
    envelope: Envelope | None
    """What the request says, where the model is to generate."""
    answers: int
    """How many it asks for."""
    prompts: int
    """How many it has."""
    prompt_bytes: int | None
    """What of the body is prompt, as far as one can tell; None where no model is run."""

    def __init__(
        self,
        model: Model,
        context: int,
        target: bytes,
        *,
        is_stream: bool = False,
        may_load: bool = True,
        envelope: Envelope | None = None,
        answers: int = 1,
        prompts: int = 1,
        prompt_bytes: int | None = 0,
    ) -> None:
        self.model = model
        self.context = context
        self.target = target
        self.is_stream = is_stream
        self.may_load = may_load
        self.envelope = envelope
        self.answers = answers
        self.prompts = prompts
        self.prompt_bytes = prompt_bytes

    @property
    def answer_tokens(self) -> int:
        """The most that all answers may have, as far as the request says or one would think."""
        if self.envelope is None:
            return 0
        return (self.envelope.answer_tokens or ANSWER_TOKENS) * self.answers


def pass_gate(plane: DataPlane, request: Request, route: Route, entry: Entry) -> Passage:
    """Find out what the request needs; raises RequestError, and AccessError."""
    if route.named_by is not _IN_BODY:
        is_in_path = route.named_by is NamedBy.PATH
        return (_pass_by_path if is_in_path else _pass_by_query)(plane, request, entry)
    envelope = read_envelope(
        request.body, has_inputs=route.has_inputs, has_prompts=route.has_prompts
    )
    model = _named(plane, envelope.model, entry) if envelope.model else _unnamed(plane, entry)
    if route.capability is not None and route.capability not in model.capabilities:
        raise MissingCapability(model.name, route.capability, sorted(model.capabilities))
    prompts = envelope.prompts
    answers = prompts * envelope.choices
    return Passage(
        model,
        _context(plane, model, envelope.num_ctx),
        request.target,
        is_stream=route.can_stream and bool(envelope.stream),
        envelope=envelope if route.can_stream else None,
        answers=answers,
        prompts=prompts,
        prompt_bytes=prompt_bytes(request.body) if route.runs_model else None,
    )


def _pass_by_query(plane: DataPlane, request: Request, entry: Entry) -> Passage:
    name = model_of_query(request.query)
    if name:
        model = _named(plane, name, entry)
    else:
        found = _resident(plane)
        if found is None or not entry.may_use_model(found.name):
            raise ModelNotLoaded(None)
        model = found
    return Passage(model, 0, request.target, may_load=False)


def _pass_by_path(plane: DataPlane, request: Request, entry: Entry) -> Passage:
    ways = split_upstream_path(request.path[len(UPSTREAM_PREFIX) :])
    name, rest = next(
        ((name, rest) for name, rest in ways if name and plane.catalog.resolve_model(name)),
        ways[-1],
    )
    model = _named(plane, name, entry)
    target = rest + b"?" + request.query if request.query else rest
    if request.method in ("GET", "HEAD"):
        return Passage(model, 0, target, may_load=False)
    is_shared_state = _is_shared_state(unquote_to_bytes(rest)) is not None
    if is_shared_state:
        entry.check_endpoint(Endpoint.ADMIN)
    route = find_route(rest)
    envelope = _envelope_if_any(request, route)
    prompts = envelope.prompts
    answers = prompts * envelope.choices
    return Passage(
        model,
        _context(plane, model, envelope.num_ctx),
        target,
        is_stream=route.can_stream and bool(envelope.stream),
        envelope=envelope if route.can_stream else None,
        answers=answers,
        prompts=prompts,
        prompt_bytes=None if is_shared_state else _prompt_bytes(request, route),
    )


def _prompt_bytes(request: Request, route: Route) -> int | None:
    """Of what passes through; what a path means that is no route of ours, the engine knows."""
    if route.plane is not Plane.INFERENCE:
        return 0
    return prompt_bytes(request.body) if route.runs_model else None


def _envelope_if_any(request: Request, route: Route) -> Envelope:
    """What passes through may be audio, say, or a JSON array; then there is no envelope."""
    content_type = request.header(b"content-type") or b""
    is_json = content_type.lower().startswith(b"application/json")
    is_object = is_json and request.body[:_LOOKED_AT_BYTES].lstrip()[:1] == b"{"
    return read_envelope(request.body, has_prompts=route.has_prompts) if is_object else EMPTY


def _context(plane: DataPlane, model: Model, asked: int | None) -> int:
    trained = model.facts.context_length
    if asked is not None and trained is not None and asked > trained:
        raise ContextTooLarge(model.name, asked, trained)
    return required_context(model, asked, plane.default_ctx)


def _named(plane: DataPlane, name: str, entry: Entry) -> Model:
    """The model of that name, alias or id, which the caller may use."""
    model = plane.catalog.resolve_model(name)
    if model is None:
        raise _unknown(plane, name, entry)
    entry.check_model(model.name, name)
    return model


def _unknown(
    plane: DataPlane, name: str, entry: Entry, *, is_default: bool = False
) -> UnknownModel:
    """Whoever may not use all models is told of none but those."""
    return UnknownModel(name, nearest_names(name, _usable(plane, entry)), is_default=is_default)


def _usable(plane: DataPlane, entry: Entry) -> Sequence[Model]:
    return [each for each in plane.catalog.list_models() if entry.may_use_model(each.name)]


def _resident(plane: DataPlane) -> Model | None:
    """The model that is loaded, if it is one."""
    loaded = [each for each in plane.runtime.current() if each.state is ModelState.LOADED]
    if len(loaded) != 1:
        return None
    return plane.catalog.resolve_model(loaded[0].name)


def _unnamed(plane: DataPlane, entry: Entry) -> Model:
    """The model for a request that names none: the resident, the default, or the only one.

    Whichever of them the caller may use.
    """
    if (model := _resident(plane)) and entry.may_use_model(model.name):
        return model
    if plane.default_model is not None:
        model = plane.catalog.resolve_model(plane.default_model)
        if model is not None and entry.may_use_model(model.name):
            return model
        if not entry.models:
            raise _unknown(plane, plane.default_model, entry, is_default=True)
    models = _usable(plane, entry)
    if len(models) != 1:
        raise NoModelNamed(len(models))
    return models[0]
