"""The conversation with a running server, over its private socket.

Not here: what commands make of the answers.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gglib_runtime.cli.failures import CommandFailed, NoServer
from gglib_runtime.server_record import read_record

if TYPE_CHECKING:
    import httpx

    from gglib_runtime.paths import DataPaths


class Server:
    """A server that runs."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def status(self) -> dict[str, Any]:
        """What runs, as `/api/v1/status` says it."""
        return self._call("GET", "/api/v1/status", wait_seconds=10).json()

    def models(self) -> list[dict[str, Any]]:
        """What can be asked for, as `/v1/models` says it."""
        return self._call("GET", "/v1/models", wait_seconds=10).json()["data"]

    def load(self, model: str) -> None:
        """Have `model` loaded; returns when the server says so. Raises CommandFailed."""
        self._call("POST", "/models/load", json={"model": model})

    def unload(self, model: str | None) -> None:
        """Have `model`, or all models, unloaded; returns when they are. Raises CommandFailed."""
        self._call("POST", "/models/unload", json={} if model is None else {"model": model})

    def log_lines(self, model: str, count: int, *, is_followed: bool) -> Iterator[str]:
        """The last `count` lines that the model's engine printed, and those to come."""
        path = f"/api/v1/logs/{quote(model, safe='')}"
        parameters = {"lines": count, "follow": int(is_followed)}
        with self._client.stream("GET", path, params=parameters) as answer:
            if answer.is_error:
                answer.read()
                raise CommandFailed(stated_reason(answer))
            yield from answer.iter_lines()

    def _call(
        self, method: str, path: str, *, json: object = None, wait_seconds: float | None = None
    ) -> httpx.Response:
        answer = self._client.request(method, path, json=json, timeout=wait_seconds)
        if answer.is_error:
            raise CommandFailed(stated_reason(answer))
        return answer


@contextmanager
def open_server(paths: DataPaths) -> Generator[Server]:
    """The server of this data directory. Raises NoServer, CommandFailed if it goes away."""
    record = read_record(paths)
    if record is None or not _listens(record.socket):
        raise NoServer(paths.root)
    import httpx

    transport = httpx.HTTPTransport(uds=record.socket)
    try:
        # A load takes its time: whoever asks sets the limit.
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=None) as client:  # noqa: S113
            yield Server(client)
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise CommandFailed(f"The server (pid {record.pid}) did not answer: {reason}") from error


def _listens(path: str) -> bool:
    # httpx is slow to import, and leaves its socket open where it cannot connect.
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def stated_reason(answer: httpx.Response) -> str:
    """Why the server refused, in its own words if it has any."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"the server answered {answer.status_code}: {answer.text[:200].strip()}"
