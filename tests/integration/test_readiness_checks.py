"""The checks behind `/ready`: the database, and the supervisor."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from gglib_core.models import ModelState
from gglib_runtime.catalog.database import open_database
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.catalog.reachable import open_database_check
from gglib_runtime.machine_memory import machine_memory
from gglib_runtime.supervisor.turning import STUCK_SECONDS, SupervisorTurning
from tests.catalog_entries import model
from tests.control_plane import FakeModelRuntime

pytest_plugins = ["tests.databases"]
ALPHA = model(1, "alpha")


async def test_a_database_that_answers_is_no_problem(database_url: str) -> None:
    with open_database(database_url) as engine:
        upgrade(engine)
        async with open_database_check(engine) as check:
            assert await check.problem() is None


async def test_a_database_that_has_gone_is_one_until_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "gglib.db"
    with open_database(path) as engine:
        upgrade(engine)
        async with open_database_check(engine) as check:
            path.rename(tmp_path / "elsewhere.db")
            assert str(path) in (await check.problem() or "")
            (tmp_path / "elsewhere.db").rename(path)
            assert await check.problem() is None


async def test_a_database_that_does_not_answer_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gglib_runtime.catalog.reachable.ANSWER_SECONDS", 0.05)
    with open_database(tmp_path / "gglib.db") as engine:
        upgrade(engine)
        async with open_database_check(engine) as check:
            with contextlib.ExitStack() as others:
                for _ in range(15):  # all that the pool gives
                    others.enter_context(engine.connect())
                for _ in range(3):
                    assert await check.problem() == "it gave no answer within 0.05 s"
                assert check._question is not None
            monkeypatch.setattr("gglib_runtime.catalog.reachable.ANSWER_SECONDS", 20.0)
            assert await check.problem() is None


async def test_an_engine_that_does_not_end_is_a_problem() -> None:
    now, grace = 100.0, 5.0
    runtime = FakeModelRuntime()
    check = SupervisorTurning(runtime, lambda: grace, clock=lambda: now)
    runtime.show(ALPHA, ModelState.STOPPING, leases=1, launch_id="launch-1", pid=77)
    assert await check.problem() is None
    now += 1000.0  # an answer is still being made: that may take as long as it takes
    assert await check.problem() is None
    runtime.show(ALPHA, ModelState.STOPPING, leases=0, launch_id="launch-1", pid=77)
    assert await check.problem() is None
    now += 5.0 + STUCK_SECONDS
    assert await check.problem() == "an engine (process 77) does not end"
    grace = 6.0
    assert await check.problem() is None
    runtime.show(ALPHA, ModelState.STOPPING, leases=0, launch_id="launch-2", pid=78)
    assert await check.problem() is None


@pytest.mark.parametrize("state", [ModelState.FAILED, ModelState.LOADING, ModelState.LOADED])
async def test_models_that_load_or_failed_are_no_problem(state: ModelState) -> None:
    runtime = FakeModelRuntime()
    runtime.show(ALPHA, state, since_seconds=10_000.0)
    assert await SupervisorTurning(runtime, lambda: 5.0).problem() is None


@pytest.mark.parametrize(
    ("text", "is_smaller"), [("max\n", False), ("1048576\n", True), ("", False)]
)
def test_memory_is_that_of_the_control_group_where_it_has_less(
    tmp_path: Path, text: str, is_smaller: bool
) -> None:
    (tmp_path / "memory.max").write_text(text)
    memory = machine_memory([tmp_path / "no group", tmp_path])
    assert memory is not None
    assert (memory.total_bytes == 1 << 20) == is_smaller
    assert 0 < memory.available_bytes <= memory.total_bytes
