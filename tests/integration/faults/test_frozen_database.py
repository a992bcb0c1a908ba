"""A database server that takes questions and answers none, as one that is stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from anyio import to_thread

from tests.faults import Sims, ask, header_id, simulating_shell
from tests.freezable_database import freezable
from tests.serving import serving

pytest_plugins = ["tests.databases"]


@pytest.mark.slow
async def test_it_keeps_no_server_from_ending(tmp_path: Path, postgres_url: str) -> None:
    with freezable(postgres_url) as database:
        models: Sims = {"alpha": {}, "beta": {}}
        shell = simulating_shell(tmp_path, models, GGLIB_DATABASE_URL=database.url)
        with serving(shell) as server:
            assert (await ask(server)).status == 200
            database.freeze()
            answer = await ask(server, "beta")
            assert answer.status == 200
            assert (await to_thread.run_sync(server.get, "/ready")).status_code == 503
            assert await to_thread.run_sync(server.stop) == 0
            assert not database.is_patience_over
            waiting = shell.data_dir / "unwritten-generations.jsonl"
            assert header_id(answer) in waiting.read_text(encoding="utf-8")
            assert "swaps are lost" in server.log.read_text(encoding="utf-8")
