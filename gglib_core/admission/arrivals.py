"""What serving strictly in the order of arrival would cost: the swaps that turns avoid.

Counts, and decides nothing.
"""

from __future__ import annotations

from gglib_core.admission.values import AdmissionPolicy


class ArrivalOrder:
    """Imagines as many places as there are, and each request served when it comes.

    The model that was asked for longest ago gives way to one that has no place.
    """

    __slots__ = ("_placed", "_policy", "latest")

    def __init__(self, policy: AdmissionPolicy) -> None:
        self._policy = policy
        self._placed: list[int] = []
        self.latest: int | None = None
        """The model that was asked for last: asking for it again changes nothing."""

    def note(self, model_id: int) -> bool:
        """A request for the model is let in; whether it would be a swap."""
        is_swap = model_id not in self._placed
        if not is_swap:
            self._placed.remove(model_id)
        while len(self._placed) >= self._policy.max_resident:
            del self._placed[0]
        self._placed.append(model_id)
        self.latest = model_id
        return is_swap
