"""Child processes: drained always, reaped on exit, ended with their whole group."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from gglib_runtime.supervisor.child import Child, open_child
from gglib_runtime.supervisor.lines import MAX_LINE_BYTES
from gglib_runtime.supervisor.orphan_guard import KernelGuard, open_orphan_guard, python_prefix
from tests.engines import children, no_children_left
from tests.supervision import eventually

pytestmark = pytest.mark.timeout(60)

SLEEP = ("/bin/sleep", "60")
FORKS = "import os, time\nif os.fork() == 0:\n    print(os.getpid(), flush=True)\ntime.sleep(60)\n"
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('deaf', flush=True)\ntime.sleep(60)\n"
)


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    before = children()
    yield
    await no_children_left(before)


@pytest.fixture(params=["pidfd", "thread"])
def waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to learn of an exit."""
    if request.param == "thread":
        monkeypatch.delattr(os, "pidfd_open")


class Started:
    def __init__(self, child: Child, lines: list[str]) -> None:
        self.child = child
        self.lines = lines


@asynccontextmanager
async def started(*argv: str) -> AsyncIterator[Started]:
    lines: list[str] = []
    with open_orphan_guard() as guard:
        async with open_child(argv, os.environ, guard=guard, on_lines=lines.extend) as child:
            yield Started(child, lines)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize(("code", "expected"), [("exit 7", 7), ("kill -SEGV $$", -11)])
async def test_the_exit_code_is_known(code: str, expected: int) -> None:
    async with started("/bin/sh", "-c", code) as it:
        assert await it.child.exited(20)
        assert it.child.exit_code == expected
        assert not it.child.is_running


@pytest.mark.usefixtures("waiting")
async def test_leaving_the_block_ends_a_running_child() -> None:
    async with started(*SLEEP) as it:
        assert it.child.is_running
        assert os.getsid(it.child.pid) == it.child.pid
    assert it.child.exit_code == -signal.SIGKILL


async def test_no_descriptor_is_left_open() -> None:
    async with started("/bin/true") as it:
        await it.child.exited(20)
    before = psutil.Process().num_fds()
    for _ in range(5):
        async with started("/bin/sh", "-c", "sleep 60 & echo hello") as it:
            await it.child.exited(20)
        async with started(*SLEEP):
            pass
    assert psutil.Process().num_fds() == before


async def test_a_cancelled_block_ends_its_child() -> None:
    entered: list[Started] = []

    async def hold() -> None:
        async with started(*SLEEP) as it:
            entered.append(it)
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await eventually(lambda: entered)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert entered[0].child.exit_code == -signal.SIGKILL


async def test_a_block_that_is_cancelled_while_it_ends_its_child_ends_it_first() -> None:
    entered: list[Child] = []

    async def hold() -> None:
        async with started(*python(FORKS)) as it:
            entered.append(it.child)
            await eventually(lambda: it.lines)
            begun.set()

    for number in range(1, 6):
        begun = asyncio.Event()
        task = asyncio.ensure_future(hold())
        await begun.wait()
        for _ in range(number):
            # The block has been left, and its clean-up waits.
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        assert entered[-1].exit_code == -signal.SIGKILL


async def test_output_comes_in_whole_lines_from_both_streams() -> None:
    code = "printf 'one\\ntw'; printf 'o\\n' ; printf 'three\\r\\n' >&2; printf last"
    async with started("/bin/sh", "-c", code) as it:
        assert await it.child.exited(20)
        assert it.lines == ["one", "two", "three", "last"]


async def test_long_lines_are_cut_and_bad_text_is_replaced() -> None:
    code = (
        "import sys\nout = sys.stdout.buffer\n"
        "out.write(b'x' * 300_000 + b'\\n' + b'\\xff\\xfe ok\\n')\n"
    )
    async with started(*python(code)) as it:
        assert await it.child.exited(20)
        long, bad = it.lines
        assert len(long) < MAX_LINE_BYTES + 20
        assert long.endswith("(cut)")
        assert bad.endswith(" ok")


async def test_a_child_that_prints_much_never_waits_for_long() -> None:
    code = "for i in range(60_000):\n    print('line', i)\n"
    async with started(*python(code)) as it:
        assert await it.child.exited(30)
        assert it.child.exit_code == 0
        assert it.lines[-1] == "line 59999"
        assert len(it.lines) == 60_000


@pytest.mark.usefixtures("waiting")
async def test_a_grandchild_that_holds_the_pipe_does_not_delay_the_end() -> None:
    async with started("/bin/sh", "-c", "sleep 60 & echo $!; exit 3") as it:
        assert await it.child.exited(20)
        assert it.child.exit_code == 3
    assert not is_running(int(it.lines[0]))


async def test_stopping_ends_what_the_child_has_forked() -> None:
    async with started(*python(FORKS)) as it:
        await eventually(lambda: it.lines)
        await it.child.stop(5)
        assert it.child.exit_code == -signal.SIGTERM
    assert not is_running(int(it.lines[0]))


async def test_a_child_that_ignores_term_is_killed_after_the_grace() -> None:
    async with started(*python(STUBBORN)) as it:
        await eventually(lambda: it.lines)
        await it.child.stop(0.05)
        await it.child.exited(20)
        assert it.child.exit_code == -signal.SIGKILL


async def test_who_is_given_no_time_is_not_said_to_ignore_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with started(*SLEEP) as it:
        await it.child.stop(0)
        assert not it.child.is_running
    assert not caplog.records


async def test_stopping_a_child_that_has_ended_is_harmless() -> None:
    async with started("/bin/true") as it:
        await it.child.exited(20)
        await it.child.stop(5)
        it.child.kill()
        assert it.child.exit_code == 0


async def test_a_program_that_is_not_there_ends_with_its_shells_code() -> None:
    async with started("/no/such/engine") as it:
        await it.child.exited(20)
        assert it.child.exit_code == 127
        assert "no/such/engine" in it.lines[0]


async def test_an_environment_that_cannot_be_passed_is_an_os_error() -> None:
    with pytest.raises(OSError, match=r"Argument list too long|too long"):
        async with started("/bin/true", "x" * 10_000_000):
            pytest.fail("it was started")


# what ties a child to its parent

PARENTS = """
import asyncio, os, sys
from gglib_runtime.supervisor.child import open_child
from gglib_runtime.supervisor.orphan_guard import *

async def main(guard):
    out = lambda lines: None
    async with open_child(["/bin/sleep", "60"], os.environ, guard=guard, on_lines=out) as child:
        print(child.pid, flush=True)
        await asyncio.Event().wait()
"""
GUARDS = {
    "the best": "with open_orphan_guard() as guard: asyncio.run(main(guard))",
    "python": "asyncio.run(main(KernelGuard(python_prefix())))",
    "watcher": "with open_watcher_guard() as guard: asyncio.run(main(guard))",
}


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS.keys())
async def test_a_child_dies_with_a_parent_that_is_killed(guard: str) -> None:
    parent = await asyncio.create_subprocess_exec(
        *python(f"{PARENTS}\n{guard}"), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    await parent.communicate()
    await eventually(lambda: not is_running(child), seconds=2)


@pytest.mark.parametrize("prefix", ["best", "python"])
async def test_a_child_whose_parent_is_gone_before_it_runs_does_not_run(
    prefix: str, tmp_path: Path
) -> None:
    """The race between the start and the request for the signal: another parent's pid is given."""
    with open_orphan_guard() as guard:
        chosen = guard if prefix == "best" else KernelGuard(python_prefix())
        wrapped = chosen.wrap(["/bin/touch", str(tmp_path / "ran")])
    wrapped[wrapped.index(str(os.getpid()))] = "1"
    process = await asyncio.create_subprocess_exec(*wrapped)
    assert await process.wait() == 1
    assert not (tmp_path / "ran").exists()


async def test_the_python_guard_becomes_the_program(tmp_path: Path) -> None:
    lines: list[str] = []
    guard = KernelGuard(python_prefix())
    argv = ["/bin/sh", "-c", 'echo $$ "$1"', "sh", "a b"]
    async with open_child(argv, os.environ, guard=guard, on_lines=lines.extend) as child:
        await child.exited(20)
        assert lines == [f"{child.pid} a b"]


PID_ONE = """
async def check():
    lines = []
    with open_orphan_guard() as guard:
        argv = ["/bin/sh", "-c", "echo up; (sleep 60 & sleep 60 & exit) ; sleep 60 & exit 5"]
        async with open_child(argv, os.environ, guard=guard, on_lines=lines.extend) as child:
            await child.exited(20)
    try:
        left = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        left = "nothing"
    print(os.getpid(), child.exit_code, lines, left)

asyncio.run(check())
"""
IN_A_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def can_make_namespaces() -> bool:
    try:
        return subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_make_namespaces(), reason="unshare may not make a pid namespace here")
async def test_children_live_and_end_where_gglib_is_process_one() -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [*IN_A_NAMESPACE, *python(PARENTS + PID_ONE)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.strip() == "1 5 ['up'] nothing", done.stderr
