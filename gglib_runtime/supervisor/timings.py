"""Where the time of a cold request goes. Not here: measuring it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class SwapTimings:
    """The parts of one launch, from the first request that wanted it; filled in as it goes."""

    queue_seconds: float = 0.0
    """From the first request until a place was decided upon, without `drain_seconds`: turns."""
    drain_seconds: float = 0.0
    """While the model that had the place took no more requests: answers that had to end."""
    stop_seconds: float = 0.0
    """From TERM of the model that had the place until its process was gone."""
    memory_seconds: float = 0.0
    """Waiting for the stopped model's memory."""
    spawn_seconds: float = 0.0
    """From the decision to launch until the process ran, without `memory_seconds`."""
    ready_seconds: float = 0.0
    """From there until the engine was proved ready."""
    first_byte_seconds: float | None = None
    """From the launch's first request, as it was sent, until its answer began; None before."""

    def __str__(self) -> str:
        parts = (
            ("queue", self.queue_seconds),
            ("drain", self.drain_seconds),
            ("stop", self.stop_seconds),
            ("memory", self.memory_seconds),
            ("spawn", self.spawn_seconds),
            ("ready", self.ready_seconds),
            ("first byte", self.first_byte_seconds),
        )
        known = ((name, seconds) for name, seconds in parts if seconds is not None)
        return " ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in known)
