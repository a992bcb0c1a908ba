"""When gglib is killed no engine stays; and what stayed nevertheless ends at the next start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from gglib_runtime.supervisor import list_children, sweep
from gglib_runtime.supervisor.pidfile import LAUNCH_VARIABLE, recorded
from gglib_runtime.supervisor.process_identity import process_identity
from tests.engines import read_records, simulator_model, simulators_left
from tests.supervised_process import RECORD, STATES
from tests.supervision import eventually, supervising

pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def gglib_in(state: str, directory: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.supervised_process", str(directory), state]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        try:
            said = await asyncio.to_thread(process.stdout.readline)
            assert said.decode().strip() == state
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("state", STATES)
async def test_killing_gglib_leaves_no_engine(state: str, tmp_path: Path) -> None:
    record = tmp_path / RECORD
    async with gglib_in(state, tmp_path) as process:
        assert len(simulators_left(record)) == 1
        process.kill()
        await eventually(lambda: not simulators_left(record), seconds=2)


async def test_the_next_start_removes_what_a_killed_gglib_wrote(tmp_path: Path) -> None:
    async with gglib_in("idle", tmp_path) as process:
        process.kill()
        process.wait()
    children = tmp_path / "data" / "run" / "children"
    assert len(list(children.iterdir())) == 1
    async with supervising(tmp_path, simulator_model(1, "alpha")):
        assert list(children.iterdir()) == []


# orphans


@contextmanager
def sleeper(*, stubborn: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A process as engines are: the leader of its session. It has forked a child, too."""
    code = 'trap "" TERM; ' if stubborn else ""
    command = ["/bin/sh", "-c", f"{code}sleep 60 & echo $!; wait; wait; sleep 60"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def pidfile_of(process: subprocess.Popen[bytes], directory: Path, **changes: Any) -> Path:
    """A pidfile of a gglib that has died."""
    directory.mkdir(exist_ok=True)
    path = directory / "orphan.json"
    with recorded(directory, launch_id="copied", model="alpha", port=1, pid=process.pid):
        record = json.loads((directory / "copied.json").read_text())
    path.write_text(json.dumps(record | {"owner_identity": "another boot"} | changes))
    return path


@pytest.mark.parametrize("stubborn", [False, True])
async def test_an_orphan_is_ended_with_its_group(tmp_path: Path, stubborn: bool) -> None:
    with sleeper(stubborn=stubborn) as orphan:
        assert orphan.stdout is not None
        helper = int(orphan.stdout.readline())
        path = pidfile_of(orphan, tmp_path)
        reaping = asyncio.create_task(asyncio.to_thread(orphan.wait))
        ended = await asyncio.to_thread(sweep, tmp_path)
        assert [record.pid for record in ended] == [orphan.pid]
        assert await reaping == -(signal.SIGKILL if stubborn else signal.SIGTERM)
        await eventually(lambda: process_identity(helper) is None)
        assert not path.exists()


@contextmanager
def forked_by_a_dead_script(directory: Path, launch_id: str) -> Iterator[int]:
    """What a script forked that did not become the engine, and died with its gglib."""
    command = ["/bin/sh", "-c", "sleep 60 & echo $!; wait"]
    environment = os.environ | {LAUNCH_VARIABLE: launch_id}
    with subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE
    ) as script:
        assert script.stdout is not None
        engine = int(script.stdout.readline())
        pidfile_of(script, directory)
        os.kill(script.pid, signal.SIGKILL)
    try:
        yield engine
    finally:
        if process_identity(engine) is not None:
            os.kill(engine, signal.SIGKILL)


def test_an_engine_whose_script_died_is_an_orphan(tmp_path: Path) -> None:
    with forked_by_a_dead_script(tmp_path, "copied") as engine:
        (listed,) = list_children(tmp_path)
        assert listed.is_orphan
        assert len(sweep(tmp_path)) == 1
        assert process_identity(engine) is None
        assert list(tmp_path.iterdir()) == []


def test_a_group_of_the_same_number_that_is_no_engines_is_left_alone(tmp_path: Path) -> None:
    with forked_by_a_dead_script(tmp_path, "another") as stranger:
        assert sweep(tmp_path) == []
        assert process_identity(stranger) is not None
        assert list(tmp_path.iterdir()) == []


def test_a_process_that_only_has_an_orphans_number_is_left_alone(tmp_path: Path) -> None:
    with sleeper() as stranger:
        path = pidfile_of(stranger, tmp_path, identity="what had the number before")
        assert sweep(tmp_path) == []
        assert stranger.poll() is None
        assert not path.exists()


def test_a_process_that_gets_an_orphans_number_just_then_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sleeper() as stranger:
        pidfile_of(stranger, tmp_path, identity="what had the number before")
        answers = iter(["what had the number before"])

        def identity(pid: int) -> str | None:
            return next(answers, None) or process_identity(pid)

        monkeypatch.setattr("gglib_runtime.supervisor.pidfile.process_identity", identity)
        assert len(sweep(tmp_path)) == 1
        with pytest.raises(subprocess.TimeoutExpired):  # a signal takes a moment
            stranger.wait(0.5)


def test_the_child_of_a_living_gglib_is_left_alone(tmp_path: Path) -> None:
    with (
        sleeper() as child,
        recorded(tmp_path, launch_id="living", model="alpha", port=1, pid=child.pid),
    ):
        assert sweep(tmp_path) == []
        assert child.poll() is None
        assert [path.name for path in tmp_path.iterdir()] == ["living.json"]


def test_a_pidfile_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "refused.json").mkdir()
    with (
        sleeper() as child,
        recorded(tmp_path, launch_id="refused", model="alpha", port=1, pid=child.pid),
    ):
        assert [path.name for path in tmp_path.iterdir()] == ["refused.json"]
    assert "refused.json cannot be written" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"pid": 1}',
        '{"pid": "x"}',
        "\ud800".encode("utf-8", "replace").decode(),
        "[" * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_a_damaged_pidfile_is_removed_with_a_warning(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "damaged.json").write_text(text)
    (tmp_path / "damaged.draft").write_text("{")
    assert sweep(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert "damaged.json is damaged" in caplog.text


@pytest.mark.parametrize("pid", [1, 0, -1, True, 1.5, "7", None])
def test_no_signal_goes_to_a_number_that_is_no_childs(tmp_path: Path, pid: Any) -> None:
    with sleeper() as process:
        identity = process_identity(1) or ""
        pidfile_of(process, tmp_path, pid=pid, identity=identity)
        assert sweep(tmp_path) == []
        assert list(tmp_path.iterdir()) == []


def test_children_on_record_are_listed_without_a_change(tmp_path: Path) -> None:
    with sleeper() as orphan, sleeper() as child:
        pidfile_of(orphan, tmp_path)
        (tmp_path / "damaged.json").write_text("{")
        with recorded(tmp_path, launch_id="living", model="beta", port=7, pid=child.pid):
            listed = {each.record.model: each for each in list_children(tmp_path)}
            assert listed["alpha"].is_orphan
            assert listed["beta"].is_running
            assert listed["beta"].has_owner
            assert not listed["beta"].is_orphan
            assert listed["beta"].record.port == 7
        assert orphan.poll() is None
        assert (tmp_path / "damaged.json").exists()


async def test_a_running_engine_is_on_record(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha", record=tmp_path / "record")
    async with supervising(tmp_path, alpha) as it:
        await it.supervisor.load(alpha)
        (child,) = list_children(it.paths.children)
        running = it.shown("alpha")
        assert running is not None
        assert (child.record.pid, child.record.port) == (running.pid, running.port)
        assert child.record.launch_id == running.launch_id
        environment = psutil.Process(child.record.pid).environ()
        assert environment[LAUNCH_VARIABLE] == running.launch_id
        assert child.has_owner
        assert child.record.pid == read_records(tmp_path / "record", "started")[0]["pid"]


async def test_a_directory_that_takes_no_pidfile_keeps_no_model_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        monkeypatch.setattr(Path, "replace", refuse)
        await it.supervisor.load(alpha)
        monkeypatch.undo()
        assert "No space left" in caplog.text
        await it.supervisor.stop_current()
        sweep(it.paths.children)


def test_a_process_has_an_identity_that_ends_with_it() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        identity = process_identity(process.pid)
        assert identity is not None
        assert process_identity(process.pid) == identity
        assert process_identity(os.getpid()) != identity
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert process_identity(process.pid) is None
    assert process_identity(process.pid) is None
