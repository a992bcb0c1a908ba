"""The swaps of a server that runs are seen by `gglib swaps`, and outlive it."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gglib_runtime.catalog.database import open_database, writing
from gglib_runtime.swaps.tables import swaps as table
from tests.command_line import Shell
from tests.gguf_files import write_tiny
from tests.serving import WAIT_SECONDS, Served, serving, wait_until


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    shell.environ["GGLIB_LLAMA_SERVER"] = "simulator"
    return shell


def swaps(server: Served, *arguments: str) -> list[dict[str, Any]]:
    return server.shell.json("swaps", *arguments)


def test_each_launch_is_kept_with_who_asked_and_who_gave_way(shell: Shell, tmp_path: Path) -> None:
    models = [write_tiny(tmp_path, name) for name in ("tiny-a", "tiny-b")]
    with serving(shell, *models) as server:
        assert server.chat("tiny-a").status_code == 200
        asked = server.post(
            "/v1/completions",
            {"model": "tiny-b", "prompt": "x", "max_tokens": 1},
            headers={"x-request-id": "the-second"},
        )
        assert asked.status_code == 200
        wait_until(lambda: swaps(server)[0]["first_byte_ms"] is not None)
        second, first = swaps(server)
        assert (first["model"], first["victim"], first["served"]) == ("tiny-a", None, 1)
        assert (second["model"], second["victim"]["model"]) == ("tiny-b", "tiny-a")
        assert second["request_id"] == "the-second"
        assert second["victim"]["reason"] == "idle"
        assert second["ended"] is None
        assert first["ended"] is not None
        assert server.stop() == 0
        assert swaps(server)[0]["ended"] is not None
    assert "request the-second named it" in shell.output("swaps", "--why", "--model", "tiny-b")


def test_what_a_run_has_learned_is_told_by_the_next(shell: Shell, tmp_path: Path) -> None:
    model, may_load = write_tiny(tmp_path, "tiny-a"), tmp_path / "may_load"
    with serving(shell, model) as server:
        assert server.chat("tiny-a").status_code == 200
        assert server.stop() == 0
    with open_database(shell.data_dir / "gglib.db") as engine, writing(engine) as connection:
        connection.execute(table.update().values(load_seconds=500.0))
    shell.environ["GGLIB_SIM"] = json.dumps({"load_until": str(may_load)})
    with serving(shell, model) as server, ThreadPoolExecutor() as pool:
        asking = pool.submit(server.chat, "tiny-a")
        try:
            wait_until(lambda: shell.json("status")["models"])
            [shown] = shell.json("status")["models"]
            assert shown["state"] == "loading"
            assert 400 < shown["expected_seconds"] <= 501
            assert re.search(r"loading, [78]m\d\ds to go", shell.output("status"))
        finally:
            may_load.touch()
        assert asking.result(WAIT_SECONDS).status_code == 200
        assert shell.json("status")["models"][0]["expected_seconds"] is None
