"""The ports: what the proxy needs of the world, as interfaces that adapters fill.

A port method's docstring is its contract; the contract suites in `tests/contract` hold every
adapter to it. Adapters do not inherit from these protocols: the type checker proves that they fit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from gglib_core.activity import EngineActivity
from gglib_core.models import LaunchSpec, Model, RunningModel, Target
from gglib_core.swaps import Requester


class ModelCatalog(Protocol):
    """The models that exist.

    Reads come from an immutable snapshot in memory: no method blocks, awaits or fails, and all may
    be called on the event loop for every request.
    """

    @property
    def revision(self) -> int:
        """Grows whenever the answer of any other method may have changed."""
        ...

    def list_models(self) -> Sequence[Model]:
        """All models, ordered by id."""
        ...

    def resolve_model(self, name: str) -> Model | None:
        """The model that a client means by `name`, or None.

        Tried in order: the exact name, an exact alias, the id in decimal digits, then name and
        alias without regard to case where that is unambiguous.
        """
        ...

    def resolve_for_launch(self, model_id: int) -> LaunchSpec | None:
        """What to launch for the model of that id, as the catalog has it now, or None."""
        ...


class Lease(Protocol):
    """The right to send one request to a running model, which stays running while it is held."""

    @property
    def target(self) -> Target:
        """Where to send the request. Constant for the lease's life."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether the process that was leased is still the one that runs."""
        ...

    @property
    def activity(self) -> EngineActivity:
        """Where the holder notes what it hears of the target; the same for all of one launch.

        An engine that is silent, or gives server errors alone, for as long as the runtime allows
        while leases are held is taken for wedged: its process is ended, and `end_reason` says why.
        """
        ...

    @property
    def end_reason(self) -> str | None:
        """Why the process ended of itself or was recycled, as part of a sentence, if it is known.

        None while it runs. The connections to it may be seen to end before the reason is known,
        but never before that of a recycling.
        """
        ...

    @property
    def swap_id(self) -> str | None:
        """The swap that the request waited for; None where the model was ready when it came."""
        ...

    @property
    def load_seconds(self) -> float:
        """For how long the request waited while the model was being loaded; 0 without a swap."""
        ...

    def release(self) -> None:
        """Give the model back. Never fails or waits; a repetition has no effect.

        To be called once the request's connection to the target is closed or fit for re-use.
        """
        ...


class ModelRuntime(Protocol):
    """The engines that run models, and the queue in front of them.

    All methods belong to one event loop and may run concurrently there.
    """

    async def admit(
        self,
        model: Model,
        *,
        context: int,
        may_load: bool = True,
        requester: Requester | None = None,
    ) -> Lease:
        """Wait until `model` runs with at least `context` tokens per request; lease it.

        Loads the model, and stops others to make room, unless `may_load` is false. The lease is the
        caller's to release. Cancellation while waiting leaves the queue and holds nothing.
        `requester` is whom the ledger of swaps names if this request causes one.

        Raises ModelNotLoaded when `may_load` is false and the model does not run; otherwise
        QueueFull, QueueTimeout, EveryModelPinned, LaunchFailed, AdmissionWithdrawn or ShuttingDown.
        """
        ...

    def lease_now(self, model: Model, *, context: int) -> Lease | None:
        """The lease that `admit` would give without waiting, or None where it would have to.

        Never fails or waits; loads nothing, and None says nothing of why.
        """
        ...

    async def load(self, model: Model, *, context: int, requester: Requester | None = None) -> None:
        """Have `model` run with at least that context, as `admit` would, and lease it to nobody.

        Tries even where a launch failed lately, which `admit` would remember. Raises what `admit`
        raises.
        """
        ...

    def current(self) -> Sequence[RunningModel]:
        """The models that have an engine process, wait for one, or failed lately; by id."""
        ...

    async def stop_current(self, model_id: int | None = None) -> None:
        """Let running requests end, stop that model or (None) all, and return when it is stopped.

        Requests that arrive meanwhile wait and load the model anew. Returns at once if nothing
        runs. Cancellation stops the waiting, not the unloading. Pinned models are stopped too.
        """
        ...

    def on_stopping(self, listener: Callable[[Target], None]) -> Callable[[], None]:
        """Call `listener` just before a target is told to stop, and when it is found dead.

        By then nothing is leased, or the process is gone; idle connections to it should be closed.
        The listener must not fail or block. Returns a function that removes it.
        """
        ...


class ModelLogs(Protocol):
    """What the engines print."""

    def recent_lines(self, model_id: int, limit: int) -> Sequence[str]:
        """The last lines, oldest first, also of an engine that has ended; empty if none."""
        ...

    def follow(self, model_id: int) -> AsyncIterator[str]:
        """Lines from now on, until closed. A follower that is too slow misses lines and is told."""
        ...
