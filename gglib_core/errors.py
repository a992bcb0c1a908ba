"""Every error that gglib raises on purpose, in one tree.

    GglibError
    ├── RequestError            the caller can mend it
    │   ├── InvalidRequest
    │   ├── UnknownModel
    │   ├── NoModelNamed
    │   ├── MissingCapability
    │   ├── ContextTooLarge
    │   └── ModelNotLoaded
    ├── AccessError             the caller may not do this
    │   ├── InvalidApiKey
    │   ├── KeyDisabled
    │   ├── KeyExpired
    │   └── OutOfScope
    ├── LimitError              the caller has used up what it may use
    │   ├── RateLimited
    │   └── QuotaExceeded
    ├── AdmissionError          the model cannot be had now
    │   ├── QueueFull
    │   ├── QueueTimeout
    │   ├── EveryModelPinned
    │   ├── LaunchFailed
    │   ├── AdmissionWithdrawn
    │   ├── RequestCancelled
    │   └── ShuttingDown
    ├── UpstreamError           the engine was reached, or should have been
    │   ├── UpstreamUnreachable
    │   ├── OutOfFiles
    │   ├── UpstreamLost
    │   ├── UpstreamProtocolError
    │   └── UpstreamTimeout
    ├── CatalogError            the catalog refuses a change, or cannot be read
    │   ├── InvalidModel
    │   ├── NameTaken
    │   ├── NoSuchModel
    │   ├── InvalidKey
    │   ├── NoSuchKey
    │   ├── KeyNameTaken
    │   └── DatabaseError
    ├── GgufError               a file is no GGUF, or a damaged one
    ├── ConfigError             a setting is wrong
    │   └── OwnFileUnusable
    └── EngineUnavailable       no llama-server to run

Constructors take facts and build the message. Nothing here knows HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gglib_core.rate_limiting import Standing


class GglibError(Exception):
    """Parent of every error that gglib raises on purpose."""

    problems: tuple[tuple[str, str], ...] = ()
    """Every field or setting that is wrong, each with what is, where that is known."""


class RequestError(GglibError):
    """The request cannot be served as it is; the caller can mend it."""

    param: str | None = None
    """The field of the request that is at fault."""


class InvalidRequest(RequestError):
    """A field of the request is missing, malformed or out of bounds."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        problems: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.param = param or (problems[0][0] if problems else None)
        self.problems = tuple(problems)


class UnknownModel(RequestError):
    """The catalog has no model of that name."""

    param = "model"

    def __init__(self, name: str, nearest: Sequence[str] = (), *, is_default: bool = False) -> None:
        self.name = name
        self.nearest = tuple(nearest)
        likely = ", ".join(map(repr, nearest))
        hint = f"Did you mean {likely}?" if likely else "GET /v1/models lists those that do."
        if is_default:
            what = f"The request names no model, and {name!r}, the default_model, does not exist"
        else:
            what = f"The model {name!r} does not exist"
        super().__init__(f"{what}. {hint}")


class NoModelNamed(RequestError):
    """The request names no model and there is no obvious one to use."""

    param = "model"

    def __init__(self, known: int) -> None:
        if known:
            hint = f"Name one of the {known} models in `model`; GET /v1/models lists them."
        else:
            hint = "The catalog is empty: add a model with `gglib model add PATH`."
        super().__init__(f"The request names no model. {hint}")


class MissingCapability(RequestError):
    """The model cannot do what the endpoint needs."""

    param = "model"

    def __init__(self, model: str, needed: str, has: Sequence[str]) -> None:
        self.model = model
        self.needed = needed
        can = ", ".join(sorted(has)) or "nothing"
        all_of_it = " ".join(f"--capability {word}" for word in sorted({*has, needed}))
        super().__init__(
            f"The model {model!r} cannot do {needed}; it can do {can}. If that is wrong, say so: "
            f"gglib model edit {model} {all_of_it}"
        )


class ContextTooLarge(RequestError):
    """The request asks for more context than the model was trained for."""

    param = "num_ctx"

    def __init__(self, model: str, asked: int, trained: int) -> None:
        super().__init__(
            f"num_ctx {asked} is more than the {trained} tokens that {model!r} was trained for."
        )


class ModelNotLoaded(RequestError):
    """The request may not load a model, and this one is not running."""

    param = "model"

    def __init__(self, model: str | None) -> None:
        self.model = model
        if model is None:
            super().__init__("No model is loaded. A GET never loads one: POST /models/load does.")
        else:
            super().__init__(
                f"The model {model!r} is not loaded. A GET never loads one: POST /models/load does."
            )


class AccessError(GglibError):
    """The caller may not do this."""


class InvalidApiKey(AccessError):
    """The request has no API key, or one that does not exist."""

    def __init__(self, *, is_missing: bool) -> None:
        what = "has no API key" if is_missing else "has an API key that does not exist"
        super().__init__(
            f"The request {what}. Send one as `Authorization: Bearer gg-…`; whoever runs gglib "
            "makes them with `gglib key create NAME`."
        )


class KeyDisabled(AccessError):
    """The API key is switched off."""

    def __init__(self, mask: str) -> None:
        super().__init__(f"The API key {mask} is disabled.")


class KeyExpired(AccessError):
    """The API key's time is over."""

    def __init__(self, mask: str) -> None:
        super().__init__(f"The API key {mask} has expired.")


class OutOfScope(AccessError):
    """The API key is not for this model or endpoint."""

    def __init__(self, mask: str, what: str) -> None:
        super().__init__(f"The API key {mask} is not for {what}.")


class LimitError(GglibError):
    """The caller has used up what it may use."""

    standing: Standing | None = None
    """What is left of the caller's limits, where somebody has looked."""


class RateLimited(LimitError):
    """More requests or tokens than the limit allows at this time."""

    def __init__(self, limit: str, allowed: float, retry_after_seconds: float) -> None:
        """`limit` is `requests_per_minute`, `tokens_per_minute` or `concurrent_requests`."""
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds
        name, seconds = limit.replace("_", " "), max(1, math.ceil(retry_after_seconds))
        super().__init__(
            f"The limit of {allowed:.12g} {name} is reached. Try again in {seconds} s."
        )


class QuotaExceeded(LimitError):
    """The budget of the API key is spent, or the request may cost more than is left."""

    def __init__(self, limit: str, budget: float, left: float = 0.0) -> None:
        """`limit` is `budget_per_day` or `budget_per_month`; money is what models' prices are."""
        self.limit = limit
        name = f"{limit.replace('_', ' ')} of {budget:.12g}"
        super().__init__(
            f"Of the {name}, {left:.9g} is left, and the request may cost more. One with a "
            "smaller max_tokens may do."
            if left > 0
            else f"The {name} is spent."
        )


class AdmissionError(GglibError):
    """The model cannot be had now."""

    retry_after_seconds: float | None = None
    """When it makes sense to ask again; None when it does not."""


class QueueFull(AdmissionError):
    """As many requests as allowed wait already."""

    def __init__(self, limit: int, retry_after_seconds: float) -> None:
        super().__init__(f"The queue is full: {limit} requests wait already.")
        self.retry_after_seconds = retry_after_seconds


class QueueTimeout(AdmissionError):
    """The request waited for its model as long as it may."""

    def __init__(self, model: str, state: str, waited: float, retry_after_seconds: float) -> None:
        super().__init__(f"The request waited {waited:.0f} s, and the model {model!r} is {state}.")
        self.model = model
        self.state = state
        self.retry_after_seconds = retry_after_seconds


class EveryModelPinned(AdmissionError):
    """There is no room for the model: all that are loaded are pinned."""

    def __init__(self, model: str, pinned: Sequence[str]) -> None:
        self.pinned = tuple(pinned)
        """Not for everybody: the caller need not know of those models."""
        super().__init__(
            f"There is no room for {model!r}: every loaded model is pinned. "
            "Unload one, unpin one, or raise max_resident."
        )


class LaunchFailure(StrEnum):
    """Why an engine process did not become ready."""

    OUT_OF_MEMORY = "out_of_memory"
    BAD_FILE = "bad_file"
    UNKNOWN_ARCHITECTURE = "unknown_architecture"
    BAD_FLAG = "bad_flag"
    PORT_TAKEN = "port_taken"
    KILLED = "killed"
    STALLED = "stalled"
    IDENTITY = "identity"
    NO_ENGINE = "no_engine"
    CRASHED = "crashed"
    WEDGED = "wedged"
    OUT_OF_FILES = "out_of_files"

    @property
    def is_permanent(self) -> bool:
        """Whether trying again, with nothing changed, will fail again."""
        return self in _PERMANENT


_PERMANENT = frozenset(
    {
        LaunchFailure.BAD_FILE,
        LaunchFailure.UNKNOWN_ARCHITECTURE,
        LaunchFailure.BAD_FLAG,
        LaunchFailure.NO_ENGINE,
    }
)


class LaunchFailed(AdmissionError):
    """The model's engine did not start, or it died; remembered for a while."""

    def __init__(
        self,
        model: str,
        failure: LaunchFailure,
        detail: str,
        log: Sequence[str] = (),
        retry_after_seconds: float | None = None,
        *,
        is_remembered: bool = False,
    ) -> None:
        """`is_remembered` says that nothing was launched for this request."""
        again = ""
        if is_remembered and retry_after_seconds is not None:
            seconds = max(1, math.ceil(retry_after_seconds))
            again = f" just now; it is tried again in {seconds} s, or at once by `gglib load`"
        super().__init__(f"The model {model!r} could not be loaded ({failure}){again}: {detail}")
        self.model = model
        self.failure = failure
        self.detail = detail
        self.log = tuple(log)
        self.retry_after_seconds = retry_after_seconds


class AdmissionWithdrawn(AdmissionError):
    """The model was unloaded, or taken out of the catalog, while the request waited."""

    def __init__(self, model: str) -> None:
        super().__init__(f"The model {model!r} was withdrawn while the request waited for it.")
        self.retry_after_seconds = 1.0


class RequestCancelled(AdmissionError):
    """Whoever runs gglib has ended the request."""

    def __init__(self) -> None:
        super().__init__("The request was cancelled by whoever runs gglib.")


class ShuttingDown(AdmissionError):
    """gglib is going away and takes no new request."""

    def __init__(self) -> None:
        super().__init__("gglib is shutting down.")
        self.retry_after_seconds = 5.0


class UpstreamError(GglibError):
    """The engine failed the request; where no model is named, it was gglib's control plane."""


def _upstream(model: str | None) -> str:
    return "gglib's control plane" if model is None else f"the engine of {model!r}"


class UpstreamUnreachable(UpstreamError):
    """No connection to the engine could be made."""

    def __init__(self, model: str | None, reason: str) -> None:
        super().__init__(f"Cannot connect to {_upstream(model)}: {reason}.")


class OutOfFiles(UpstreamError):
    """gglib has no file left for a connection to the engine, which is no fault of the engine's."""

    def __init__(self, model: str | None, reason: str) -> None:
        super().__init__(
            f"gglib cannot open a connection to {_upstream(model)}: {reason}. Others have to "
            "end first; `gglib doctor` shows how many open files gglib may have."
        )


class UpstreamLost(UpstreamError):
    """The engine's connection ended before its answer did."""

    def __init__(self, model: str | None, reason: str = "the connection was closed") -> None:
        super().__init__(f"The answer of {_upstream(model)} was not finished: {reason}.")


class UpstreamProtocolError(UpstreamError):
    """The engine answered with something that is not the protocol."""

    def __init__(self, model: str | None, reason: str) -> None:
        super().__init__(f"The answer of {_upstream(model)} cannot be used: {reason}.")


class UpstreamTimeout(UpstreamError):
    """The engine sent nothing for as long as it may be silent."""

    def __init__(self, model: str, what: str, seconds: float) -> None:
        super().__init__(f"The engine of {model!r} sent {what} within {seconds:g} s.")


class CatalogError(GglibError):
    """The catalog refuses a change, or cannot be used."""


class InvalidModel(CatalogError):
    """A property of a model is not acceptable."""

    def __init__(self, message: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def for_known_file(cls, path: str, owner: str) -> InvalidModel:
        """The file is a model's already, and nobody said that a second entry is meant."""
        issue = (
            f"{path} is in the catalog already, as {owner!r}. To have it once more with other "
            "settings, give another name with --name."
        )
        return cls(issue, [("path", issue)])


class NameTaken(CatalogError):
    """Another model has this name or alias already."""

    def __init__(self, name: str, owner: str) -> None:
        super().__init__(f"The name {name!r} is taken by the model {owner!r}.")
        self.name = name
        self.problems = (("name", str(self)),)


class NoSuchModel(CatalogError):
    """The model to change is not in the catalog."""

    def __init__(self, name: str, nearest: Sequence[str] = ()) -> None:
        likely = ", ".join(map(repr, nearest))
        hint = f"Did you mean {likely}?" if likely else "`gglib model list` shows those there are."
        super().__init__(f"There is no model {name!r}. {hint}")


class InvalidKey(CatalogError):
    """A property of an API key is not acceptable."""

    def __init__(self, message: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class NoSuchKey(CatalogError):
    """There is no API key of that name."""

    def __init__(self, name: str, nearest: Sequence[str] = ()) -> None:
        likely = ", ".join(map(repr, nearest))
        hint = f"Did you mean {likely}?" if likely else "`gglib key list` shows those there are."
        super().__init__(f"There is no API key {name!r}. {hint}")


class KeyNameTaken(CatalogError):
    """Another API key has this name already."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is an API key {name!r} already; rotate it, or give another name.")
        self.name = name
        self.problems = (("name", str(self)),)


class DatabaseError(CatalogError):
    """The database cannot be opened, migrated or used."""


class GgufError(GglibError):
    """A file is not a GGUF model, or is a damaged one."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.problems = (("path", str(self)),)


class ConfigError(GglibError):
    """A setting is unknown or has an unusable value."""

    def __init__(self, message: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        """`problems` are the keys that are wrong, each with what is."""
        super().__init__(message)
        self.problems = tuple(problems)


class OwnFileUnusable(ConfigError):
    """A file that gglib keeps for itself is missing or damaged, or cannot be written."""


class EngineUnavailable(GglibError):
    """There is no llama-server to run."""
