"""What an answer needs of the engine that gives it: a port, which the engine fills."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gglib_runtime.simulator.behaviour import AnswerPlan
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.faults.schema import Fault
from gglib_runtime.simulator.generation import Generation
from gglib_runtime.simulator.latency.pace import Pace
from gglib_runtime.simulator.log import EngineLog
from gglib_runtime.simulator.records import Recorder
from gglib_runtime.simulator.slots import Slots
from gglib_runtime.simulator.tallies import Tallies


class Host(Protocol):
    """The engine, as answers see it."""

    loop: asyncio.AbstractEventLoop
    log: EngineLog
    recorder: Recorder
    tallies: Tallies
    is_alone: bool
    is_stopping: bool

    def slots_for(self, model: str) -> Slots:
        """The slots in one of which the model's answers are made."""
        ...

    def pace_for(self, plan: AnswerPlan, generation: Generation, number: int) -> Pace | None:
        """How fast the answer comes; None for all at once."""
        ...

    def fault_for(
        self, plan: AnswerPlan, exchange: Exchange, model: str, *, is_stream: bool
    ) -> Fault | None:
        """What goes wrong with this request; to be asked once for each."""
        ...

    def is_overloaded(self) -> bool:
        """Whether more requests are under way than may be, the one that asks included."""
        ...

    def refuse_overload(self, exchange: Exchange) -> None:
        """Tell the client that there is no room."""
        ...

    def fail(self, exchange: Exchange, fault: Fault) -> None:
        """Answer with the error that the fault says."""
        ...

    def answered(self, generation: Generation, exchange: Exchange, *, is_whole: bool) -> None:
        """Count an answer; `is_whole` when it was sent to its end."""
        ...

    def crash(self, fault: Fault) -> None:
        """End the process as the fault says."""
        ...
