"""Engines' lines in memory, for followers, and on their way to files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from gglib_runtime.supervisor.log_files import (
    LogWriter,
    RotatingFile,
    log_file_name,
    open_log_writer,
)
from gglib_runtime.supervisor.logs import EngineLogs, LogFollower


class FakeSink:
    def __init__(self) -> None:
        self.written: list[tuple[str, list[str]]] = []

    def write(self, model_name: str, lines: Sequence[str]) -> None:
        self.written.append((model_name, list(lines)))


def logs(lines_kept: int = 3) -> EngineLogs:
    return EngineLogs(FakeSink(), lines_kept=lines_kept)


def test_only_the_last_lines_of_each_model_are_kept() -> None:
    kept = logs()
    kept.add(1, "alpha", ["a", "b"])
    kept.add(2, "beta", ["x"])
    kept.add(1, "alpha", ["c", "d"])
    assert list(kept.recent_lines(1, 10)) == ["b", "c", "d"]
    assert list(kept.recent_lines(1, 2)) == ["c", "d"]
    assert list(kept.recent_lines(2, 10)) == ["x"]
    assert list(kept.recent_lines(3, 10)) == []


def test_all_lines_go_to_the_sink_under_the_models_name() -> None:
    sink = FakeSink()
    EngineLogs(sink, lines_kept=1).add(1, "alpha", ["a", "b"])
    assert sink.written == [("alpha", ["a", "b"])]


async def test_a_follower_gets_what_comes_from_its_beginning_on() -> None:
    kept = logs()
    kept.add(1, "alpha", ["before"])
    follower = kept.follow(1)
    kept.add(1, "alpha", ["a"])
    kept.add(2, "beta", ["other"])
    kept.add(1, "alpha", ["b"])
    kept.close()
    assert [line async for line in follower] == ["a", "b"]


async def test_a_follower_waits_for_the_next_line() -> None:
    kept = logs()
    follower = kept.follow(1)
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    assert not waiting.done()
    kept.add(1, "alpha", ["a"])
    assert await waiting == "a"


async def test_a_slow_follower_misses_the_oldest_lines_and_is_told_how_many() -> None:
    follower = LogFollower(1, limit=3)
    follower.add(["a", "b"])
    follower.add(["c", "d", "e"])
    follower.close()
    note, *lines = [line async for line in follower]
    assert "2 lines were missed" in note
    assert lines == ["c", "d", "e"]


async def test_a_closed_follower_ends_at_once_and_takes_nothing() -> None:
    follower = LogFollower(1, limit=3)
    follower.add(["a"])
    await follower.aclose()
    follower.add(["b"])
    assert [line async for line in follower] == []


async def test_a_follower_that_nobody_holds_is_forgotten() -> None:
    kept = logs()
    follower = kept.follow(1)
    assert len(kept._followers) == 1
    del follower
    assert len(kept._followers) == 0


# files


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpha", "alpha.log"),
        ("Qwen3 8B (Q4_K_M)", "Qwen3 8B (Q4_K_M).log"),
        ("a/b", "a%2Fb.log"),
        ("..", "%2E..log"),
        (".hidden", "%2Ehidden.log"),
        ("a%2Fb", "a%252Fb.log"),
        ("\u00e9", "%C3%A9.log"),
    ],
)
def test_file_names_are_safe(name: str, expected: str) -> None:
    assert log_file_name(name) == expected


def test_long_names_have_short_and_different_files() -> None:
    names = {log_file_name("\u00e9" * 150 + end) for end in ("a", "b")}
    assert len(names) == 2
    assert all(len(name) <= 210 for name in names)


def contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_a_file_is_rotated_before_it_grows_too_large(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "x.log", max_bytes=4, count=3)
    for text in (b"11\n", b"22\n", b"33\n", b"44\n"):
        file.append(text)
    assert contents(tmp_path) == {"x.log": "44\n", "x.log.1": "33\n", "x.log.2": "22\n"}


def test_a_single_file_starts_anew(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "x.log", max_bytes=4, count=1)
    for text in (b"11\n", b"22\n"):
        file.append(text)
    assert contents(tmp_path) == {"x.log": "22\n"}


def test_more_than_fits_is_written_all_the_same(tmp_path: Path) -> None:
    RotatingFile(tmp_path / "x.log", max_bytes=4, count=3).append(b"123456\n")
    assert contents(tmp_path) == {"x.log": "123456\n"}


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "x.log", max_bytes=100, count=3)
    file.append(b"1\n")
    (tmp_path / "x.log").rename(tmp_path / "kept")
    file.append(b"2\n")
    assert contents(tmp_path) == {"kept": "1\n", "x.log": "2\n"}


def test_everything_is_written_when_the_writer_closes(tmp_path: Path) -> None:
    with open_log_writer(tmp_path, max_bytes=10_000, count=1) as writer:
        for number in range(100):
            writer.write("alpha", [f"line {number}"])
    assert (tmp_path / "alpha.log").read_text().splitlines()[99] == "line 99"


def test_lines_that_come_too_fast_are_dropped_and_counted(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, max_bytes=1 << 20, count=1)
    # Nobody writes yet: the disk hangs.
    for number in range(1100):
        writer.write("alpha", [f"a {number}", f"b {number}"])
    writer._waiting.get()
    writer.write("alpha", ["again"])
    blocks = [block for _, block in list(writer._waiting.queue)]  # type: ignore[misc]
    dropped = (1100 - 1024) * 2
    assert blocks[-1].decode() == (
        f"[gglib: {dropped} lines are missing: the disk was too slow]\nagain\n"
    )
