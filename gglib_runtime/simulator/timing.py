"""How long each request's answer is and how fast it comes, from its plan, its model and the load.

Not here: distributions and profiles (`latency/`), and what is told (`direction.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import msgspec

from gglib_runtime.simulator.behaviour import AnswerPlan
from gglib_runtime.simulator.direction import Direction
from gglib_runtime.simulator.latency.library import (
    AUTO,
    NONE,
    ProfileChoice,
    UnknownProfile,
    shipped_profiles,
)
from gglib_runtime.simulator.latency.pace import FixedPace, Pace, ProfilePace, request_random
from gglib_runtime.simulator.latency.profile import INSTANT, LatencyProfile
from gglib_runtime.simulator.slots import Slots

DEFAULT_TOKENS = 8
"""Of an engine's answers: enough to see who answers, and few for tests to compare."""
ALONE_TOKENS = 96
"""Of a hosted model's: a paragraph."""
_MOST_MODELS = 200
"""With slots of their own; names come from clients."""


class Timing:
    """What plans mean in seconds and tokens."""

    def __init__(self, direction: Direction, slots: Slots, *, has_many_models: bool) -> None:
        """`slots` are everybody's, but for models whose profile has slots of its own."""
        self._direction = direction
        self._slots = slots
        self._has_many_models = has_many_models
        self._by_model: dict[str, Slots] = {}
        self._asked: dict[str, ProfileChoice] = {}
        self._plain: tuple[AnswerPlan | None, AnswerPlan] = (None, direction.plan)
        """The plan that was settled last where nothing is drawn, and what came of it."""

    def settled(
        self, plan: AnswerPlan, body: Mapping[str, Any], model: str, number: int
    ) -> AnswerPlan:
        """`plan` with the number of tokens that the answer is to have.

        Raises UnknownProfile where the request asks for a profile that does not exist.
        """
        if plan.tokens:
            return plan
        asked = body.get("seed")
        if plan is self._plain[0] and asked is None and self._profile(plan, model) is INSTANT:
            return self._plain[1]
        changes: dict[str, Any] = {
            "tokens": ALONE_TOKENS if self._has_many_models else DEFAULT_TOKENS
        }
        if isinstance(asked, int) and not isinstance(asked, bool):
            changes["seed"] = asked
            plan = msgspec.structs.replace(plan, seed=asked)
        profile = self._profile(plan, model)
        length = profile.output_tokens
        if length is not None:
            changes["tokens"] = max(round(length.draw(self._random(plan, number, "length"))), 1)
        settled = msgspec.structs.replace(plan, **changes)
        if plan is self._direction.plan and profile is INSTANT and asked is None:
            self._plain = (plan, settled)
        return settled

    def pace(self, plan: AnswerPlan, model: str, prompt_tokens: int, number: int) -> Pace | None:
        """How fast the answer comes; None for all at once."""
        if plan.first_token_seconds or plan.token_seconds:
            return FixedPace(plan.first_token_seconds, plan.token_seconds)
        profile = self._profile(plan, model)
        if profile is INSTANT:
            return None
        random = self._random(plan, number, "pace")
        return ProfilePace(profile, random, prompt_tokens, slowdown=plan.slowdown)

    def slots(self, model: str) -> Slots:
        """The slots in one of which the model's answers are made."""
        if not self._has_many_models:
            return self._slots
        found = self._by_model.get(model)
        if found is None:
            count = self._direction.profiles.of(model).slots
            if count is None or len(self._by_model) >= _MOST_MODELS:
                return self._slots
            found = self._by_model[model] = Slots(count)
        return found

    def _profile(self, plan: AnswerPlan, model: str) -> LatencyProfile:
        direction = self._direction
        if plan.profile is None or plan.profile == direction.plan.profile:
            return direction.profiles.of(model)
        choice = self._asked.get(plan.profile)
        if choice is None:
            # A request may name no files.
            if plan.profile not in (AUTO, NONE, *shipped_profiles()):
                raise UnknownProfile(f"profile: there is no profile {plan.profile!r}.")
            choice = self._asked[plan.profile] = ProfileChoice(plan.profile)
        return choice.of(model)

    def _random(self, plan: AnswerPlan, number: int, purpose: str) -> Random:
        own = self._direction.behaviour.seed
        asked = None if plan.seed is own else plan.seed
        return request_random(own or 0, purpose, number, asked)
