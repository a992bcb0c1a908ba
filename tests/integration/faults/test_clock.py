"""The wall clock decides about dates alone, and time in which gglib is stopped does not count."""

from __future__ import annotations

import ast
import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import REPOSITORY
from tests.faults import CHAT, DONE, ask, body, faulty_server, nothing_left, port_of, streaming
from tests.raw_http import open_raw

WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
TOLD_ONLY = {
    "gglib_core/api_keys.py",  # when a key was made
    "gglib_core/rate_limits/limiter.py",  # which day of a budget it is
    "gglib_core/stored_models.py",  # when a model was added
    "gglib_core/swap_account.py",  # when a swap began and ended
    "gglib_proxy/books.py",  # when a request came
    "gglib_proxy/control/admin/key_documents.py",  # whether a key has expired
    "gglib_proxy/door/door.py",  # whether a key has expired
    "gglib_proxy/health.py",  # what time it is
    "gglib_runtime/catalog/sql_catalog.py",  # when a model of this run was named
    "gglib_runtime/catalog/store.py",  # when a model was added
    "gglib_runtime/cli/checks/listener.py",  # whether a certificate is valid
    "gglib_runtime/cli/generations.py",  # so long ago
    "gglib_runtime/cli/key_options.py",  # until when a key counts
    "gglib_runtime/cli/key_view.py",  # whether a key has expired
    "gglib_runtime/compose.py",  # since when the server runs
    "gglib_runtime/generations/writer.py",  # how old a generation is
    "gglib_runtime/keys/spending.py",  # which day of a budget it is
    "gglib_runtime/keys/store.py",  # when a key was made
    "gglib_runtime/swaps/sql_ledger.py",  # how old a swap is
    "gglib_runtime/tls.py",  # whether a certificate is valid
    "gglib_runtime/tracing.py",  # when a span began
}
"""Where a time of day is shown or written down, or compared with one that people gave."""


def uses_of_the_wall_clock() -> Iterator[str]:
    for package in ("gglib_core", "gglib_proxy", "gglib_runtime"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and _is_wall_clock(node):
                    yield str(path.relative_to(REPOSITORY))


def _is_wall_clock(node: ast.Attribute) -> bool:
    return ".".join(ast.unparse(node).split(".")[-2:]) in WALL_CLOCKS


def test_nothing_but_what_is_shown_reads_the_wall_clock() -> None:
    simulator = "gglib_runtime/simulator/"
    assert {use for use in uses_of_the_wall_clock() if not use.startswith(simulator)} <= TOLD_ONLY


@pytest.mark.slow
async def test_a_stopped_gglib_goes_on_where_it_was(tmp_path: Path) -> None:
    limits = (
        "--set=chunk_timeout_seconds=2",
        "--set=keepalive_timeout_seconds=2.5",
        "--set=first_byte_timeout_seconds=3",
        "--set=wedge_seconds=3",
    )
    with faulty_server(tmp_path, *limits) as server:
        async with (
            streaming(server, tokens=60, token_seconds=0.1) as stream,
            open_raw(port_of(server)) as waiting,
            open_raw(port_of(server)) as idle,
        ):
            assert (await idle.ask("GET", "/health")).status == 200
            waiting.request("POST", CHAT, body(first_token_seconds=2))
            server.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(5)
            server.process.send_signal(signal.SIGCONT)
            assert (await idle.ask("GET", "/health")).status == 200
            assert (await waiting.answer()).status == 200
            data = b""
            while piece := await stream.chunk():
                data += piece
            assert data.endswith(DONE)
        assert "all deadlines are moved" in server.log.read_text()
        assert (await ask(server)).status == 200
        await nothing_left(server)
