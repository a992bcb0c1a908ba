"""Graphics cards are asked through `nvidia-smi`, and not at all where that does not help."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from gglib_runtime.supervisor.gpu_memory import GpuMemory
from gglib_runtime.supervisor.memory import wait_for_gpu_memory
from tests.fake_nvidia_smi import FakeNvidiaSmi

MIB = 1024**2


@pytest.fixture
def smi(tmp_path: Path) -> FakeNvidiaSmi:
    return FakeNvidiaSmi(tmp_path / "bin")


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


async def test_without_the_program_nothing_is_known_and_nothing_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = GpuMemory({"PATH": str(tmp_path)})
    assert await gpu.free_bytes() is None
    assert await gpu.held_bytes(os.getpid()) is None
    assert warnings_in(caplog) == []


async def test_the_cards_are_taken_together(smi: FakeNvidiaSmi) -> None:
    smi.say_free(1000, 24)
    assert await GpuMemory(smi.environ).free_bytes() == 1024 * MIB


async def test_a_card_that_does_not_tell_is_left_out(smi: FakeNvidiaSmi) -> None:
    smi.say_free("[N/A]", 24)
    assert await GpuMemory(smi.environ).free_bytes() == 24 * MIB
    smi.say_free("[N/A]")
    assert await GpuMemory(smi.environ).free_bytes() is None


async def test_a_process_holds_what_is_told_of_it(smi: FakeNvidiaSmi) -> None:
    gpu = GpuMemory(smi.environ)
    smi.say_held(300)
    assert await gpu.held_bytes(os.getpid()) == 300 * MIB
    smi.say_held("[N/A]")
    assert await gpu.held_bytes(os.getpid()) is None
    assert await gpu.held_bytes(2**30) is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho 'no devices were found'; exit 6\n", "exits with code 6"),
        ("#!/bin/sh\nexec sleep 60\n", "does not answer"),
        ("#!/no/such/shell\n", "No such file"),
    ],
)
async def test_one_that_fails_is_told_of_once_and_not_asked_again(
    smi: FakeNvidiaSmi, caplog: pytest.LogCaptureFixture, script: str, reason: str
) -> None:
    smi.become(script)
    gpu = GpuMemory(smi.environ, answer_seconds=0.5 if "exit" in script else 0.1)
    assert await gpu.free_bytes() is None
    smi.become("#!/bin/sh\necho 5\n")
    assert await gpu.free_bytes() is None
    [said] = warnings_in(caplog)
    assert reason in said


async def test_what_it_prints_may_be_nonsense(smi: FakeNvidiaSmi) -> None:
    smi.become("#!/bin/sh\nprintf 'x\\377,,\\n\\n5, 6, 7\\n-3\\n'\n")
    gpu = GpuMemory(smi.environ)
    assert await gpu.held_bytes(5) is None
    assert await gpu.free_bytes() == 5 * MIB


class FakeReader:
    """Gives one reading after the other."""

    def __init__(self, *readings: int | None) -> None:
        self.readings = list(readings)

    async def __call__(self) -> int | None:
        return self.readings.pop(0)


@pytest.mark.parametrize(
    ("readings", "is_there"),
    [((100,), True), ((10, 50, 100), True), ((10, 10), False), ((10, 5), False), ((None,), True)],
)
async def test_memory_of_cards_is_waited_for_while_it_grows(
    readings: tuple[int | None, ...], is_there: bool
) -> None:
    reader = FakeReader(*readings)
    assert await wait_for_gpu_memory(100, reader, 60) is is_there
    assert reader.readings == []


async def test_the_wait_for_cards_has_a_limit() -> None:
    assert not await wait_for_gpu_memory(100, FakeReader(1, 2), 0)
