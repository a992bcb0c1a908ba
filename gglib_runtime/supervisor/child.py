"""One child process: started in a session of its own, always drained, and gone when left.

The same on asyncio and uvloop, of which it uses `add_reader` alone: the loops' own subprocess
support reaps before it tells, and a process group must not be signalled once its leader's number
may be another's. Not here: what is started, and what its output means.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import psutil

from gglib_runtime.supervisor.lines import LineSplitter
from gglib_runtime.supervisor.orphan_guard import OrphanGuard
from gglib_runtime.supervisor.shielding import run_to_end

_log = logging.getLogger(__name__)

KILL_SECONDS = 5.0
"""How long a killed process may take to vanish; one in uninterruptible I/O may never."""
_GROUP_POLL_SECONDS = 0.002
_READ_BYTES = 16 * 1024
"""At once, so that whoever prints without end leaves others their turn."""
_PIPE_BYTES = 1024 * 1024
_LAST_READ_BYTES = 4 * _PIPE_BYTES


class Child:
    """A started process and its group; made by `open_child`."""

    def __init__(
        self, process: subprocess.Popen[bytes], on_lines: Callable[[list[str]], None]
    ) -> None:
        assert process.stdout is not None
        self._process = process
        self._output = process.stdout
        self._on_lines = on_lines
        self._splitter = LineSplitter()
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self._loop.create_future()
        self._exit_callbacks: list[Callable[[], None]] = []
        self._pidfd: int | None = None

    def __repr__(self) -> str:
        state = "running" if self.is_running else f"exited with {self.exit_code}"
        return f"<Child {self.pid} {state}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit(self) -> asyncio.Future[int]:
        """Done once the process has been reaped; not to be cancelled."""
        return self._exit

    @property
    def is_running(self) -> bool:
        """Whether the process has not been found to have ended."""
        return not self._exit.done()

    @property
    def exit_code(self) -> int | None:
        """As `subprocess` has it: the negative of a signal's number; None while it runs."""
        return self._exit.result() if self._exit.done() else None

    async def exited(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the process to end; whether it has."""
        if not self._exit.done():
            await asyncio.wait([self._exit], timeout=timeout_seconds)
        return self._exit.done()

    def on_exit(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the process has ended, in the same turn that makes it known."""
        self._exit_callbacks.append(callback)

    async def stop(self, grace_seconds: float) -> None:
        """TERM the group, and KILL it if the process still runs after the grace.

        Returns when the process is gone, or cannot be ended.
        """
        self._signal_group(signal.SIGTERM)
        if await self.exited(grace_seconds):
            return
        if grace_seconds:
            _log.warning("process %d ignores SIGTERM: it is killed", self.pid)
        self.kill()
        await self.exited(KILL_SECONDS)

    def kill(self) -> None:
        """KILL the group; nothing if the process has been reaped."""
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        if self.is_running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    # What the loop tells

    def attach(self) -> None:
        """Begin to watch the process and its output."""
        os.set_blocking(self._output.fileno(), False)
        self._loop.add_reader(self._output.fileno(), self._on_output)
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            threading.Thread(target=self._wait_in_thread, daemon=True).start()
        else:
            self._loop.add_reader(self._pidfd, self._on_exit)

    def _wait_in_thread(self) -> None:
        """Where there are no process descriptors."""
        with contextlib.suppress(ChildProcessError):
            _wait_without_reaping(self.pid)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._on_exit)

    def _on_output(self) -> None:
        if not self._read():
            self._loop.remove_reader(self._output.fileno())

    def _read(self) -> int:
        """Take what is there at once; the number of bytes, 0 at the end of the output."""
        try:
            data = os.read(self._output.fileno(), _READ_BYTES)
        except BlockingIOError:
            return -1
        lines = self._splitter.feed(data) if data else self._splitter.flush()
        if lines:
            self._on_lines(lines)
        return len(data)

    def _on_exit(self) -> None:
        if not self.is_running or self._output.closed:
            return
        # Until it is reaped its number, which is the group's too, is nobody else's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        self._detach()
        self._exit.set_result(code)
        for callback in self._exit_callbacks:
            callback()

    def _detach(self) -> None:
        """Read what is left without waiting for those who may hold the pipe; let go of it all."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._loop.remove_reader(self._output.fileno())
        rest = 0
        while rest < _LAST_READ_BYTES and (count := self._read()) > 0:
            rest += count
        if lines := self._splitter.flush():
            self._on_lines(lines)
        self._output.close()

    # The end

    async def end(self) -> None:
        """Whatever state it is in: kill, reap, and wait until the group is gone; bounded."""
        self.kill()
        if not await self.exited(KILL_SECONDS):
            _log.error("process %d does not end even though it was killed: left alone", self.pid)
            self._detach()
            return
        async with _at_most(KILL_SECONDS):
            while self._group_exists():  # noqa: ASYNC110 - the kernel tells nobody of a group
                await asyncio.sleep(_GROUP_POLL_SECONDS)

    def _group_exists(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        lives = _has_living_member(self.pid)
        # Both are asked: a process may look dead a moment before it can be reaped.
        return _reap_adopted(self.pid) or lives


def _wait_without_reaping(pid: int) -> None:
    if sys.platform == "darwin":  # Python has no waitid there before 3.13
        exit_of = select.kevent(
            pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT
        )
        with contextlib.closing(select.kqueue()) as events, contextlib.suppress(ProcessLookupError):
            events.control([exit_of], 1)
    else:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _reap_adopted(group: int) -> bool:
    """As process 1 of a container we inherit a group's orphans; whether there are any left."""
    try:
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


def _has_living_member(group: int) -> bool:
    """Whether any of the group does more than wait to be reaped, which some inits take long for."""
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return True
        except (OSError, psutil.Error):
            continue
    return False


@asynccontextmanager
async def _at_most(seconds: float) -> AsyncGenerator[None]:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            yield


@asynccontextmanager
async def open_child(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    guard: OrphanGuard,
    on_lines: Callable[[list[str]], None],
) -> AsyncGenerator[Child]:
    """Start a process; when the block is left, by whatever way, its whole group is gone.

    `on_lines` gets its output (stdout and stderr) as it comes, and must not fail or block. Raises
    OSError when the process cannot be started.
    """
    # It returns once the guard runs, two milliseconds later; in a thread it would not do, because
    # the child dies with the thread that started it.
    process = subprocess.Popen(  # noqa: ASYNC220
        guard.wrap(argv),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        bufsize=0,
    )
    guard.started(process.pid)
    child = Child(process, on_lines)
    try:
        _widen(process)
        child.attach()
        yield child
    finally:
        await run_to_end(child.end())
        guard.ended(process.pid)


def _widen(process: subprocess.Popen[bytes]) -> None:
    """A chatty engine then waits less for a busy loop."""
    assert process.stdout is not None
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(process.stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
