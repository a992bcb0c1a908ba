"""What the process is told by signals: to end, to hurry with that, or to read its settings anew.

Not here: what follows from it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager


def _nothing() -> None:
    pass


class ProcessSignals:
    """The first signal that asks for the end is for ending in peace, any further one hurries."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self._on_stop: Callable[[], None] = _nothing
        self._on_hurry: Callable[[], None] = _nothing
        self._on_reload: Callable[[], None] = _nothing

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call back at the first signal, which may have come already."""
        self._on_stop = callback
        if self.stop.is_set():
            callback()

    def on_hurry(self, callback: Callable[[], None]) -> None:
        """Call back at each signal after the first."""
        self._on_hurry = callback

    def on_reload(self, callback: Callable[[], None]) -> None:
        """Call back when the settings are to be read anew."""
        self._on_reload = callback

    def asked_to_end(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
            self._on_hurry()
            return
        self.stop.set()
        self._on_stop()

    def asked_to_reload(self) -> None:
        self._on_reload()


@contextmanager
def open_signals() -> Generator[ProcessSignals]:
    """Receive signals on the running event loop inside the block.

    SIGHUP is how a terminal says that it goes away, and how a supervisor of services asks for new
    settings: it means the one where there is a terminal, else the other.
    """
    loop = asyncio.get_running_loop()
    signals = ProcessSignals()
    hangup = signals.asked_to_end if _has_terminal() else signals.asked_to_reload
    handlers = {
        signal.SIGINT: signals.asked_to_end,
        signal.SIGTERM: signals.asked_to_end,
        signal.SIGHUP: hangup,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield signals
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
            if signals.stop.is_set():  # the process is about to exit; nobody need hurry that
                signal.signal(number, signal.SIG_IGN)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
