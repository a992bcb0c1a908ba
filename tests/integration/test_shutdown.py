"""How `gglib serve` ends when somebody is in a hurry."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.faults import ask, faulty_server
from tests.serving import WAIT_SECONDS, wait_until


async def test_a_second_signal_does_not_wait_for_an_engine_that_ignores_the_first(
    tmp_path: Path,
) -> None:
    stubborn = {"alpha": {"ignore_term": True}}
    with faulty_server(tmp_path, "--set=stop_grace_seconds=3600", models=stubborn) as server:
        assert (await ask(server)).status == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "-> stopping" in server.log.read_text(encoding="utf-8"))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(WAIT_SECONDS) == 0
