"""What engines print: kept, followed, written, and never in their way."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from gglib_core.errors import LaunchFailed
from gglib_core.models import ModelState
from gglib_runtime.supervisor import SupervisorSettings
from tests.engines import WAIT_SECONDS, simulator_model
from tests.supervision import eventually, supervising

pytestmark = pytest.mark.timeout(60)


async def test_the_last_lines_are_kept_also_of_an_engine_that_has_ended(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        assert it.supervisor.logs.recent_lines(1, 10) == []
        await it.supervisor.load(alpha)
        await it.supervisor.stop_current()
        lines = it.supervisor.logs.recent_lines(1, 1000)
        assert any("model loaded" in line for line in lines)
        assert lines[0].startswith("[gglib: process ")
        assert "cleaning up before exit" in lines[-2]
        assert lines[-1] == "[gglib: it exited with code 0]"
        assert it.supervisor.logs.recent_lines(1, 2) == lines[-2:]
        assert it.supervisor.logs.recent_lines(1, 0) == []


async def test_lines_are_written_to_a_file_for_each_model(tmp_path: Path) -> None:
    models = [simulator_model(1, "alpha"), simulator_model(2, "some/where:beta")]
    async with supervising(tmp_path, *models) as it:
        for model in models:
            await it.supervisor.load(model)
        lines = it.supervisor.logs.recent_lines(1, 1000)
    written = (it.paths.logs / "alpha.log").read_text().splitlines()
    assert written == list(lines)
    assert "model loaded" in (it.paths.logs / "some%2Fwhere%3Abeta.log").read_text()


async def test_a_failed_load_leaves_its_lines_too(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha", sim={"fail_load": "bad_file"})
    async with supervising(tmp_path, alpha) as it:
        with pytest.raises(LaunchFailed) as caught:
            await it.supervisor.load(alpha)
        kept = it.supervisor.logs.recent_lines(1, 1000)
        assert caught.value.log
        assert list(caught.value.log) == list(kept)[-len(caught.value.log) - 1 : -1]


async def test_a_chatty_engine_is_never_held_up(tmp_path: Path) -> None:
    """A pipe that nobody reads freezes an engine; 64 KiB are enough."""
    sim = {"chatter_lines": 100, "chatter_line_bytes": 100_000}
    alpha = simulator_model(1, "alpha", sim=sim)
    async with supervising(tmp_path, alpha) as it:
        await it.supervisor.load(alpha)
        assert it.shown("alpha").state is ModelState.LOADED
        chatter = [line for line in it.supervisor.logs.recent_lines(1, 1000) if line[:2] == "xx"]
        assert len(chatter) == 100
        assert max(map(len, chatter)) < 10_000


async def test_a_follower_gets_lines_as_they_come(tmp_path: Path) -> None:
    alpha = simulator_model(1, "alpha")
    async with supervising(tmp_path, alpha) as it:
        follower = it.supervisor.logs.follow(1)
        other = it.supervisor.logs.follow(2)
        await it.supervisor.load(alpha)
        async with asyncio.timeout(WAIT_SECONDS):
            async for line in follower:
                if "model loaded" in line:
                    break
        nothing = asyncio.ensure_future(anext(other))
        await asyncio.sleep(0.01)
        assert not nothing.done()
    with pytest.raises(StopAsyncIteration):
        await nothing


async def test_log_files_are_rotated(tmp_path: Path) -> None:
    sim = {"chatter_lines": 100, "chatter_line_bytes": 2000}
    alpha = simulator_model(1, "alpha", sim=sim)
    settings = SupervisorSettings(log_file_bytes=100_000, log_file_count=2)
    async with supervising(tmp_path, alpha, settings=settings) as it:
        await it.supervisor.load(alpha)
    files = {path.name: path.stat().st_size for path in it.paths.logs.iterdir()}
    assert files.keys() == {"alpha.log", "alpha.log.1"}
    assert all(0 < size <= 100_000 for size in files.values())


@pytest.fixture
def files_of_at_most() -> Iterator[None]:
    """No file may grow beyond 4 KiB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("files_of_at_most")
async def test_a_full_disk_is_reported_once_and_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sim = {"chatter_lines": 10, "chatter_line_bytes": 2000}
    alpha = simulator_model(1, "alpha", sim=sim)
    async with supervising(tmp_path, alpha) as it:
        for _ in range(2):
            await it.supervisor.load(alpha)
            await it.supervisor.stop_current()
        await eventually(lambda: "cannot be written" in caplog.text)
    assert caplog.text.count("cannot be written") == 1
