"""Ties the life of engine processes to gglib's, however gglib ends.

On Linux the kernel does it: a child asks for SIGKILL at its parent's death (PR_SET_PDEATHSIG),
then checks that the parent still lives, and becomes the engine. That holds for the engine process
itself, not for what it forks, and it fires when the *thread* that started the child ends: children
are started from the event loop's thread. Elsewhere a watcher process does it, which notices gglib's
death by the end of a pipe and kills the engines' process groups.

Not here: ending engines in the ordinary way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Protocol

# $0 is the parent's pid. The parent may have died before the signal was asked for, and then nobody
# sends it. Comparing with 1 instead would fail where gglib itself is process 1.
_CHECK_PARENT = '[ "$PPID" = "$0" ] || exit 1; exec "$@"'

_PRCTL_AND_EXEC = """\
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGKILL = 1, 9
if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0:
    sys.exit("prctl failed: the engine would outlive gglib")
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(127)
"""

_WATCH = """\
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class OrphanGuard(Protocol):
    """Makes engines end with this process."""

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command to start instead of `argv`; its process becomes the engine's."""
        ...

    def started(self, pid: int) -> None:
        """A process group was started."""
        ...

    def ended(self, pid: int) -> None:
        """The group is gone; its number may soon be another's."""
        ...


class KernelGuard:
    """Linux: the kernel sends the signal. `prefix` is what asks for it."""

    def __init__(self, prefix: Sequence[str]) -> None:
        self._prefix = tuple(prefix)

    def wrap(self, argv: Sequence[str]) -> list[str]:
        return [*self._prefix, str(os.getpid()), *argv]

    def started(self, pid: int) -> None:
        pass

    def ended(self, pid: int) -> None:
        pass


class WatcherGuard:
    """Elsewhere: a process of ours watches."""

    def __init__(self, watcher: subprocess.Popen[bytes]) -> None:
        self._watcher = watcher

    def wrap(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def started(self, pid: int) -> None:
        self._tell(f"+{pid}\n")

    def ended(self, pid: int) -> None:
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        assert self._watcher.stdin is not None
        try:
            os.write(self._watcher.stdin.fileno(), line.encode())
        except BrokenPipeError:  # somebody ended the watcher; engines still end in the ordinary way
            return


@contextmanager
def open_orphan_guard() -> Generator[OrphanGuard]:
    """The best guard that this machine has. Blocks for some milliseconds."""
    if sys.platform == "linux":
        yield KernelGuard(_setpriv_prefix() or python_prefix())
    else:
        with open_watcher_guard() as guard:
            yield guard


def python_prefix() -> list[str]:
    """For systems without a capable setpriv; costs ten milliseconds for each start."""
    return [sys.executable, "-I", "-S", "-c", _PRCTL_AND_EXEC]


def _setpriv_prefix() -> list[str] | None:
    setpriv = shutil.which("setpriv")
    if setpriv is None or not os.access("/bin/sh", os.X_OK):
        return None
    ask = [setpriv, "--pdeathsig", "KILL", "/bin/sh", "-c"]
    # Not every setpriv knows the option: busybox's does not.
    tried = subprocess.run(
        [*ask, "exit 0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return [*ask, _CHECK_PARENT] if tried.returncode == 0 else None


@contextmanager
def open_watcher_guard() -> Generator[WatcherGuard]:
    """Run a watcher process for as long as the block lasts."""
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCH],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A Ctrl-C in the terminal must not end it before us.
        start_new_session=True,
        bufsize=0,
    )
    with watcher:
        yield WatcherGuard(watcher)
