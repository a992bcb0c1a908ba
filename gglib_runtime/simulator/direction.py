"""What the simulator does at this moment: what it was told, and the phase of the scenario it plays.

One change at a time: a new configuration, the next phase, or another scenario. What is derived of
that for the hot path stands here ready. Not here: how answers are given.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from gglib_runtime.simulator.behaviour import AnswerPlan, BadBehaviour, Behaviour
from gglib_runtime.simulator.faults.injector import FaultInjector
from gglib_runtime.simulator.latency.library import NONE, ProfileChoice, UnknownProfile
from gglib_runtime.simulator.limits import RateLimiter
from gglib_runtime.simulator.scenarios.library import (
    UnknownScenario,
    read_scenario,
    scenario_file,
)
from gglib_runtime.simulator.scenarios.schema import Phase, Scenario

logger = logging.getLogger(__name__)

_NO_PHASE = Phase(name="")
_POLL_SECONDS = 0.5
"""How often the file of a scenario is looked at."""


class Direction:
    """The current state, and the only one who changes it."""

    def __init__(self, behaviour: Behaviour, loop: asyncio.AbstractEventLoop) -> None:
        """Raises BadBehaviour for a profile or a scenario that does not exist."""
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._stamp: tuple[int, int] | None = None
        self._past: Counter[str] = Counter()
        self.on_refusing: Callable[[bool], None] = lambda refuses: None
        """Called when connections are refused from now on, or are not."""
        self.scenario_name: str | None = None
        self.scenario: Scenario | None = None
        self.phase: Phase = _NO_PHASE
        self._scenario_began = 0.0
        self.phase_began = loop.time()
        self.behaviour = behaviour
        # What the hot path reads.
        self.plan: AnswerPlan = behaviour
        """How answers are given where a request does not say otherwise."""
        self.profiles = ProfileChoice()
        self.injector = FaultInjector(())
        self.limiter = RateLimiter((), loop.time)
        self.max_concurrent: int | None = None
        self._settle(behaviour, _NO_PHASE)
        if behaviour.scenario is not None:
            self.play(behaviour.scenario)

    @property
    def passed_seconds(self) -> float:
        """Since the phase began, or the start."""
        return self._loop.time() - self.phase_began

    @property
    def injected(self) -> Counter[str]:
        """How many requests were struck by faults that are there without a request's own."""
        return self._past + self.injector.struck

    # changes

    def change(self, behaviour: Behaviour) -> None:
        """Do what `behaviour` says; raises BadBehaviour, and then nothing has changed."""
        was, name = self.behaviour, behaviour.scenario
        if name is not None:
            _read(name)
        self._settle(behaviour, self.phase)
        if name != was.scenario:
            if name is None:
                self.stop()
            else:
                self.play(name)

    def play(self, name: str) -> None:
        """Play a scenario from its beginning; raises BadBehaviour, and then nothing has changed."""
        scenario = _read(name)
        self.scenario_name, self.scenario = name, scenario
        self._scenario_began = self._loop.time()
        self._follow(scenario_file(name))
        self._turn()

    def stop(self) -> None:
        """Play no scenario any more."""
        self._cancel()
        self.scenario_name = self.scenario = None
        self._enter(_NO_PHASE)

    def close(self) -> None:
        """Change no more by itself."""
        self._cancel()

    def _cancel(self) -> None:
        for timer in (self._timer, self._watch):
            if timer is not None:
                timer.cancel()
        self._timer = self._watch = None

    # phases

    def _turn(self) -> None:
        """Enter the phase that is due, and come again when the next one is."""
        assert self.scenario is not None
        passed = self._loop.time() - self._scenario_began
        index, until = self.scenario.at(passed)
        self._enter(self.scenario.phases[index])
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if until is not None:
            self._timer = self._loop.call_at(self._scenario_began + until, self._turn)

    def _enter(self, phase: Phase) -> None:
        if phase.name:
            logger.info("scenario %s: phase %r begins", self.scenario_name, phase.name)
        self.phase_began = self._loop.time()
        self._settle(self.behaviour, phase)

    def _settle(self, behaviour: Behaviour, phase: Phase) -> None:
        """Derive what the hot path reads."""
        try:
            profiles = ProfileChoice(phase.profile or behaviour.profile or NONE, behaviour.models)
        except UnknownProfile as error:
            raise BadBehaviour(f"profile: {error}") from error
        was_refusing = self.phase.refuse_connections
        self.behaviour, self.phase, self.profiles = behaviour, phase, profiles
        self._past += self.injector.struck
        faults = (*phase.faults, *behaviour.faults)
        self.injector = FaultInjector(faults, behaviour.seed or 0)
        self.max_concurrent = phase.max_concurrent or behaviour.max_concurrent
        limits = behaviour.limits if phase.limits is None else phase.limits
        if not self.limiter.has(limits):
            self.limiter = RateLimiter(limits, self._loop.time)
        self.plan = self._plan(behaviour, phase)
        if phase.refuse_connections != was_refusing:
            self.on_refusing(phase.refuse_connections)

    @staticmethod
    def _plan(behaviour: Behaviour, phase: Phase) -> AnswerPlan:
        plan: AnswerPlan = behaviour
        if phase.profile is not None:
            plan = msgspec.structs.replace(plan, profile=phase.profile)
        if phase.slowdown is not None:
            plan = msgspec.structs.replace(plan, slowdown=plan.slowdown * phase.slowdown)
        if phase.tokens is not None:
            plan = msgspec.structs.replace(plan, tokens=phase.tokens)
        return plan

    # files

    def _follow(self, path: Path) -> None:
        """Read the scenario anew whenever its file changes."""
        self._stamp = _stamp(path)
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_later(_POLL_SECONDS, self._look, path)

    def _look(self, path: Path) -> None:
        stamp = _stamp(path)
        assert self.scenario_name is not None
        if stamp is not None and stamp != self._stamp:
            try:
                scenario = _read(self.scenario_name)
            except BadBehaviour as error:
                logger.error("the changed scenario is not used, the old one stays: %s", error)
            else:
                logger.info("the scenario %s has changed", self.scenario_name)
                self.scenario = scenario
                self._turn()
        self._follow(path)


def _read(name: str) -> Scenario:
    """The scenario, whose profiles exist; raises BadBehaviour."""
    try:
        scenario = read_scenario(name)
        for phase in scenario.phases:
            if phase.profile is not None:
                ProfileChoice(phase.profile)
    except (UnknownScenario, UnknownProfile) as error:
        raise BadBehaviour(f"scenario: {error}") from error
    return scenario


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
