"""A way to a PostgreSQL server on which everything stops at a word, without an error."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_PATIENCE_SECONDS = 45.0
_NAME = ".s.PGSQL.5432"


class FreezableDatabase:
    """Passes on what clients and the server say, until it is frozen."""

    def __init__(self, url: str, server: str, listener: socket.socket) -> None:
        self.url = url
        self._server = server
        self._listener = listener
        self.is_patience_over = False
        """Whether somebody waited for so long that all connections were closed."""
        self._is_frozen = threading.Event()
        self._patience = threading.Timer(_PATIENCE_SECONDS, self._give_up)
        self._is_asked = threading.Event()
        self._sockets: list[socket.socket] = [listener]
        self._threads: list[threading.Thread] = []

    def freeze(self) -> None:
        self._is_frozen.set()
        self._patience.start()

    def wait_until_asked(self, seconds: float) -> bool:
        """Until somebody has asked something since it is frozen."""
        return self._is_asked.wait(seconds)

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._sockets += [client, server]
                server.connect(self._server)
                self._start(client, server)
                self._start(server, client)

    def close(self) -> None:
        self._patience.cancel()
        self._shut_down()
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _give_up(self) -> None:
        self.is_patience_over = True
        self._shut_down()

    def _shut_down(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _start(self, source: socket.socket, target: socket.socket) -> None:
        thread = threading.Thread(target=self._pass_on, args=(source, target))
        self._threads.append(thread)
        thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._is_frozen.is_set():
                    self._is_asked.set()
                else:
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


@contextmanager
def freezable(url: str) -> Generator[FreezableDatabase]:
    """The database of that URL, whose server listens on a unix socket, by another URL."""
    address, _, host = url.partition("?host=")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gglib-pg-")))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(directory / _NAME))
        listener.listen()
        database = FreezableDatabase(f"{address}?host={directory}", f"{host}/{_NAME}", listener)
        thread = threading.Thread(target=database.run)
        thread.start()
        try:
            yield database
        finally:
            database.close()
            thread.join()
