from __future__ import annotations

import dataclasses

from gglib_core.swaps import Requester, Swap, SwapCause, SwapOutcome
from gglib_proxy.swap_tally import FREE, SwapTally
from tests.measured import SWAP


class FakeSwapLedger:
    def __init__(self) -> None:
        self.swaps: list[Swap] = []

    def record(self, swap: Swap) -> None:
        self.swaps.append(swap)


def test_a_swap_that_is_recorded_thrice_is_one() -> None:
    tally, ledger = SwapTally(), FakeSwapLedger()
    tally = SwapTally(ledger)
    answered = dataclasses.replace(SWAP, first_byte_seconds=0.5, avoided=2)
    ended = dataclasses.replace(answered, ended=1_700_000_100.0, served=9, avoided=5)
    for each in (SWAP, answered, ended):
        tally.record(each)
    assert tally.launches == {("chat", "ready", ""): 1}
    assert tally.swaps == {("request", "turn_over"): 1}
    assert tally.avoided == 5
    assert tally.phases["load"].total == 6.0
    assert {phase: times.count for phase, times in tally.phases.items()} == dict.fromkeys(
        tally.phases, 1
    )
    assert ledger.swaps == [SWAP, answered, ended]


def test_a_phase_that_was_not_reached_is_not_counted() -> None:
    tally = SwapTally()
    tally.record(
        dataclasses.replace(
            SWAP,
            outcome=SwapOutcome.FAILED,
            failure="out_of_memory",
            victim=None,
            requester=Requester(cause=SwapCause.PRELOAD),
            load_seconds=None,
            ended=1.0,
        )
    )
    assert tally.launches == {("chat", "failed", "out_of_memory"): 1}
    assert tally.swaps == {("preload", FREE): 1}
    assert (tally.phases["spawn"].count, tally.phases["load"].count) == (1, 0)


def test_swaps_that_never_end_are_not_kept_for_ever() -> None:
    tally = SwapTally()
    for number in range(1000):
        tally.record(dataclasses.replace(SWAP, id=f"swap-{number}"))
    assert tally.launches.total() == 1000
    assert len(tally._known) < 1000
