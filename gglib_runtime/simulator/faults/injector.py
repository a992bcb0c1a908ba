"""Decides whom a fault strikes: by order, chance, time and what the request is, within a budget.

The same seed and the same order of requests give the same faults. Not here: what a fault does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random

from gglib_runtime.simulator.faults.schema import Fault, Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a fault may look at."""

    model: str
    key: str
    endpoint: str
    body: bytes
    is_stream: bool


class _Rule:
    """One fault, and how often it could have struck, and did."""

    __slots__ = ("_content", "_is_for_all", "_random", "_seen", "fault", "struck")

    def __init__(self, fault: Fault, random: Random) -> None:
        self.fault = fault
        self.struck = 0
        self._random = random
        self._seen = 0  # matching requests
        self._is_for_all = fault.match == Match()
        content = fault.match.content
        self._content = None if content is None else re.compile(content.encode())

    def strikes(self, asked: Asked, passed_seconds: float) -> bool:
        """Whether it would strike; to be asked once for each request, in their order."""
        fault = self.fault
        if not self._is_for_all and not self._matches(asked):
            return False
        self._seen += 1
        place = self._seen - fault.from_request
        return (
            place >= 0
            and (fault.requests is None or place < fault.requests)
            and self._is_in_time(passed_seconds)
            and (fault.sequence is None or fault.sequence[place % len(fault.sequence)] == "x")
            and (fault.at_most is None or self.struck < fault.at_most)
            and (fault.probability >= 1 or self._random.random() < fault.probability)
        )

    def _is_in_time(self, passed_seconds: float) -> bool:
        fault = self.fault
        since = passed_seconds - fault.from_seconds
        return since >= 0 and (fault.for_seconds is None or since < fault.for_seconds)

    def _matches(self, asked: Asked) -> bool:
        match = self.fault.match
        return (
            (match.stream is None or match.stream == asked.is_stream)
            and _fits(asked.model, match.model)
            and _fits(asked.key, match.key)
            and _fits(asked.endpoint, match.endpoint)
            and (self._content is None or self._content.search(asked.body) is not None)
        )


def _fits(value: str, glob: str | None) -> bool:
    return glob is None or fnmatchcase(value, glob)


class FaultInjector:
    """Chooses the fault of each request: the first that strikes."""

    def __init__(self, faults: Sequence[Fault], seed: int = 0) -> None:
        self._rules = [
            _Rule(fault, Random(f"{seed}/fault {index}"))  # noqa: S311 -- it imitates chance
            for index, fault in enumerate(faults)
        ]
        self.is_empty = not self._rules

    def choose(self, asked: Asked, passed_seconds: float) -> Fault | None:
        """The fault that strikes this request; `passed_seconds` since the faults were set."""
        chosen: _Rule | None = None
        for rule in self._rules:
            if rule.strikes(asked, passed_seconds) and chosen is None:
                chosen = rule
        if chosen is None:
            return None
        chosen.struck += 1
        return chosen.fault

    @property
    def struck(self) -> Counter[str]:
        """How many requests were struck, by what metrics call the faults."""
        found: Counter[str] = Counter()
        for rule in self._rules:
            found[rule.fault.label] += rule.struck
        return found
