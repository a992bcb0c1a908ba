"""What the supervisor waits for: memory, and signs of progress."""

from __future__ import annotations

from pathlib import Path

import pytest

from gglib_runtime.supervisor.memory import (
    available_bytes,
    cgroup_room,
    control_groups,
    wait_for_memory,
)
from gglib_runtime.supervisor.ports import LoopbackPorts
from gglib_runtime.supervisor.progress import Effort
from gglib_runtime.supervisor.timings import SwapTimings

MIB = 1024**2


class FakeMemory:
    """Gives one reading after the other, the last one for ever."""

    def __init__(self, *readings: int | None) -> None:
        self.readings = list(readings)
        self.count = 0

    def __call__(self) -> int | None:
        self.count += 1
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]


async def test_memory_that_is_there_is_not_waited_for() -> None:
    memory = FakeMemory(100)
    assert await wait_for_memory(100, memory, 60)
    assert memory.count == 1


async def test_memory_that_comes_back_is_waited_for() -> None:
    memory = FakeMemory(10, 20, 20, 99, 100)
    assert await wait_for_memory(100, memory, 60)
    assert memory.count == 5


async def test_memory_that_does_not_grow_is_given_up() -> None:
    assert not await wait_for_memory(100, FakeMemory(10), 60)


async def test_the_wait_for_memory_has_a_limit() -> None:
    assert not await wait_for_memory(1 << 60, FakeMemory(*range(10_000)), 0.05)


async def test_unknown_memory_is_not_waited_for() -> None:
    assert await wait_for_memory(100, FakeMemory(None), 60)


def test_this_machine_has_some_memory() -> None:
    available = available_bytes()
    assert available is not None
    assert available > 0


def group(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"memory.{name}").write_text(text)
    return directory


def test_a_control_groups_limit_counts_without_what_can_be_reclaimed(tmp_path: Path) -> None:
    made = group(tmp_path, max="1000\n", current="700\n", stat="anon 300\ninactive_file 250\n")
    assert cgroup_room(made) == 550


@pytest.mark.parametrize("files", [{}, {"max": "max\n"}, {"max": "?", "current": "1"}])
def test_without_a_limit_a_control_group_does_not_count(
    tmp_path: Path, files: dict[str, str]
) -> None:
    assert cgroup_room(group(tmp_path, **files)) is None


def test_a_control_group_beyond_its_limit_has_no_room(tmp_path: Path) -> None:
    assert cgroup_room(group(tmp_path, max="10", current="20", stat="")) == 0


# progress


def effort(memory: int = 0, read: int = 0, cpu: float = 0.0) -> Effort:
    return Effort(memory_bytes=memory, read_bytes=read, cpu_seconds=cpu)


@pytest.mark.parametrize(
    "later", [effort(memory=MIB), effort(read=MIB), effort(cpu=1.0)], ids=["memory", "read", "cpu"]
)
def test_growth_of_any_kind_is_progress(later: Effort) -> None:
    assert later.shows_progress_since(effort(), 10)


def test_what_answering_probes_costs_is_no_progress() -> None:
    later = effort(memory=MIB - 1, read=MIB - 1, cpu=0.99)
    assert not later.shows_progress_since(effort(), 10)


def test_shrinking_is_no_progress() -> None:
    assert not effort().shows_progress_since(effort(memory=5 * MIB), 10)


# ports


def test_ports_are_free_and_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    offers = [1001, 1001, 1002, 1002, 1003, 1001]
    monkeypatch.setattr("gglib_runtime.supervisor.ports.free_port", lambda: offers.pop(0))
    ports = LoopbackPorts()
    with ports.reserve() as first:
        with ports.reserve() as second:
            assert (first, second) == (1001, 1002)
        ports.avoid(1002)
        with ports.reserve() as third:
            assert third == 1003
    with ports.reserve() as again:
        assert again == 1001


def test_a_system_without_ports_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gglib_runtime.supervisor.ports.free_port", lambda: 1001)
    ports = LoopbackPorts()
    ports.avoid(1001)
    with pytest.raises(OSError, match="no free port"), ports.reserve():
        pytest.fail("a port was given")


def test_timings_read_as_one_line() -> None:
    text = str(SwapTimings(queue_seconds=0.5, stop_seconds=0.003, load_seconds=0.0204))
    assert "\n" not in text
    for part in ("queue 500.0 ms", "stop 3.0 ms", "ready 20.4 ms"):
        assert part in text
    assert "spawn" not in text


@pytest.mark.parametrize(
    ("membership", "groups"),
    [
        ("0::/\n", ["."]),
        ("0::/system.slice/gglib.service\n", ["system.slice/gglib.service", "system.slice", "."]),
        ("4:memory:/docker/x\n0::/a\n", ["a", "."]),
        ("4:memory:/docker/x\n", ["."]),
        ("0::/../elsewhere\n", ["."]),
        ("", ["."]),
    ],
)
def test_the_limits_of_all_groups_around_us_hold(
    tmp_path: Path, membership: str, groups: list[str]
) -> None:
    told = tmp_path / "cgroup"
    told.write_text(membership)
    assert control_groups(tmp_path, told) == [tmp_path / name for name in groups]


def test_where_nobody_tells_of_groups_there_is_the_root(tmp_path: Path) -> None:
    assert control_groups(tmp_path, tmp_path / "missing") == [tmp_path]
