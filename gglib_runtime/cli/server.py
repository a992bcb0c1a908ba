"""The conversation with a running server, over its private socket.

Not here: what commands make of the answers.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gglib_core.errors import NoSuchModel
from gglib_runtime.cli.failures import CommandFailed, NoServer
from gglib_runtime.server_record import ServerRecord, read_record

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from gglib_runtime.paths import DataPaths

_SHOWN_CHARACTERS = 200


class Server:
    """A server that runs."""

    def __init__(self, record: ServerRecord) -> None:
        self._record = record

    def status(self) -> dict[str, Any]:
        """What runs, as `/api/v1/status` says it. Raises CommandFailed, as all of these."""
        return self._call("GET", "/api/v1/status", wait_seconds=10)

    def models(self) -> list[dict[str, Any]]:
        """What can be asked for, as `/v1/models` says it."""
        return self._call("GET", "/v1/models", wait_seconds=10)["data"]

    def load(self, model: str) -> None:
        """Have `model` loaded; returns when the server says so."""
        self._call("POST", "/models/load", {"model": model})

    def unload(self, model: str | None) -> None:
        """Have `model`, or all models, unloaded; returns when they are."""
        self._call("POST", "/models/unload", {} if model is None else {"model": model})

    def log_lines(self, model: str, count: int, *, is_followed: bool) -> Iterator[str]:
        """The last `count` lines that the model's engine printed, and those to come."""
        path = f"/api/v1/logs/{quote(model, safe='')}?lines={count}&follow={int(is_followed)}"
        with self._answer("GET", path) as answer:
            rest = b""
            while piece := answer.read1():
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)

    def _call(
        self, method: str, path: str, request: object = None, wait_seconds: float | None = None
    ) -> Any:  # noqa: ANN401 -- JSON
        with self._answer(method, path, request, wait_seconds) as answer:
            return json.loads(answer.read())

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        request: object = None,
        wait_seconds: float | None = None,  # a load takes its time: whoever asks sets the limit
    ) -> Generator[HTTPResponse]:
        from http.client import HTTPException

        from gglib_runtime.cli.unix_connection import UnixConnection

        body = None if request is None else json.dumps(request)
        headers = {} if request is None else {"Content-Type": "application/json"}
        connection = UnixConnection(self._record.socket, wait_seconds=wait_seconds)
        try:
            with closing(connection):
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                if answer.status >= 400:
                    text = answer.read().decode(errors="replace")
                    raise _unknown_model(text) or CommandFailed(stated_reason(answer.status, text))
                yield answer
        except (OSError, HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
            pid = self._record.pid
            raise CommandFailed(f"The server (pid {pid}) did not answer: {reason}") from error


def find_server(paths: DataPaths) -> Server:
    """The server of this data directory. Raises NoServer."""
    record = read_record(paths)
    if record is None or not _listens(record.socket):
        raise NoServer(paths.root)
    return Server(record)


def _listens(path: str) -> bool:
    # What speaks HTTP is slow to import: first whether there is anybody to speak to.
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _unknown_model(text: str) -> NoSuchModel | None:
    """What the server says for clients of its API, as commands say it."""
    try:
        error = json.loads(text)["error"]
        if error["code"] == "model_not_found":
            return NoSuchModel(error["gglib"]["name"], error["gglib"].get("nearest", ()))
    except (ValueError, LookupError, TypeError):
        pass
    return None


def stated_reason(status: int, text: str) -> str:
    """Why the server refused, in its own words if it has any."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"the server answered {status}: {text[:_SHOWN_CHARACTERS].strip()}"
