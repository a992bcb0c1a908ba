"""The admin API of `gglib simulate`, its metrics, and scenarios that play."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.simulating import WAIT_SECONDS, Simulated, simulating

PHASES = """
[[phases]]
name = "failing"

[[phases.faults]]
kind = "status"
status = 503
message = "out for now"
retry_after_seconds = 1.5
at_most = 2
"""


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not await condition():  # noqa: ASYNC110 - what is asked is outside this process
            await asyncio.sleep(0.02)


async def test_the_configuration_is_shown_and_changed() -> None:
    async with simulating("--max-concurrent", "7") as simulated:
        shown = (await simulated.get("/admin/config")).json
        assert (shown["profile"], shown["max_concurrent"]) == ("auto", 7)
        fault = {"kind": "status", "status": 418, "message": "teapot", "match": {"model": "a*"}}
        changed = await simulated.post("/admin/config", {"faults": [fault], "max_concurrent": 3})
        assert changed.status == 200
        assert changed.json["max_concurrent"] == 3
        assert changed.json["faults"][0]["status"] == 418
        assert changed.json["profile"] == "auto"
        assert (await simulated.chat()).status == 418
        assert (await simulated.chat(model="b")).status == 200
        await simulated.post("/admin/config", {"faults": []})
        assert (await simulated.chat()).status == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"faults": [{"kind": "stahl"}]},
            "faults[0].kind: there is no 'stahl'; did you mean 'stall'?",
        ),
        ({"token": 1}, "no field `token`; did you mean `token"),
        ({"load_seconds": 1}, "load_seconds: counts when the simulator starts"),
        ({"profile": "gtp-4"}, "no profile 'gtp-4'"),
        ({"scenario": "flakey"}, "no scenario 'flakey'"),
        ([1], "not a JSON object"),
    ],
)
async def test_a_bad_change_is_refused_with_its_field_and_changes_nothing(
    body: Any, message: str
) -> None:
    async with simulating() as simulated:
        before = (await simulated.get("/admin/config")).json
        answer = await simulated.post("/admin/config", body)
        assert answer.status == 400
        assert message in answer.json["error"]["message"]
        assert (await simulated.get("/admin/config")).json == before


async def test_the_admin_key_opens_it_and_nothing_else_does() -> None:
    async with simulating("--admin-key", "secret") as simulated:
        for headers, status in (
            ({"X-Admin-Key": "secret"}, 200),
            ({"X-Admin-Key": "other"}, 401),
            ({"Authorization": "Bearer secret"}, 401),
            ({}, 401),
        ):
            assert (await simulated.get("/admin/stats", headers=headers)).status == status


async def test_without_a_key_pages_in_a_browser_may_not_use_it() -> None:
    page = {"Origin": "http://elsewhere.example"}
    async with simulating() as simulated:
        assert (await simulated.get("/admin/stats", headers=page)).status == 403
        assert (await simulated.get("/admin/stats")).status == 200
    async with simulating("--admin-key", "secret") as simulated:
        headers = page | {"X-Admin-Key": "secret"}
        assert (await simulated.get("/admin/stats", headers=headers)).status == 200


async def test_unknown_paths_and_methods_are_told() -> None:
    async with simulating() as simulated:
        assert (await simulated.get("/admin/nothing")).status == 404
        assert (await simulated.post("/admin/stats")).status == 405
        assert (await simulated.post("/admin/scenarios/flakey/activate")).status == 404
        assert (await simulated.post("/admin/scenarios/flaky/deactivate")).status == 409


async def test_scenarios_are_listed_activated_and_deactivated() -> None:
    async with simulating() as simulated:
        listed = (await simulated.get("/admin/scenarios")).json
        names = [entry["name"] for entry in listed["scenarios"]]
        assert {"flaky", "outage", "circuit-breaker"} <= set(names)
        assert listed["scenario"] is None
        activated = await simulated.post("/admin/scenarios/circuit-breaker/activate")
        assert activated.json["phase"] == "closed"
        listed = (await simulated.get("/admin/scenarios")).json
        assert [e["name"] for e in listed["scenarios"] if e["active"]] == ["circuit-breaker"]
        deactivated = await simulated.post("/admin/scenarios/circuit-breaker/deactivate")
        assert deactivated.json == {"scenario": None, "phase": None}


async def test_a_scenario_plays_counts_and_is_hot_reloaded(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(PHASES)
    async with simulating("--scenario", str(file)) as simulated:
        answers = [await simulated.chat() for _ in range(3)]
        assert [answer.status for answer in answers] == [503, 503, 200]
        assert answers[0].json["error"]["message"] == "out for now"
        assert answers[0].headers["retry-after"] == "2"
        assert answers[0].headers["retry-after-ms"] == "1500"
        stats = (await simulated.get("/admin/stats")).json
        assert stats["errors_injected"] == {"status_503": 2}
        assert stats["answers_by_status"]["503"] == 2
        assert (stats["requests"], stats["phase"]) == (3, "failing")
        file.write_text(PHASES.replace("failing", "other").replace("503", "502"))

        async def is_other() -> bool:
            return (await simulated.get("/admin/stats")).json["phase"] == "other"

        await until(is_other)
        assert (await simulated.chat()).status == 502


async def test_an_outage_refuses_connections_and_then_takes_them_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    out = '[[phases]]\nname = "out"\nseconds = 1\nrefuse_connections = true\n'
    file.write_text(out + '[[phases]]\nname = "back"\n')
    async with simulating() as simulated:
        activated = await simulated.post(f"/admin/scenarios/{_quoted(file)}/activate")
        assert activated.status == 200
        with pytest.raises(ConnectionRefusedError):
            await simulated.chat()

        async def is_back() -> bool:
            try:
                return (await simulated.chat()).status == 200
            except ConnectionRefusedError:
                return False

        await until(is_back)


def _quoted(path: Path) -> str:
    return str(path).replace("/", "%2F")


async def test_an_unready_phase_says_so_everywhere_but_to_the_liveness_probe(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[phases]]\nname = "cold"\nunready = true\n')
    async with simulating("--scenario", str(file)) as simulated:
        for path, status in (("/health", 503), ("/ready", 503), ("/live", 200), ("/metrics", 200)):
            assert (await simulated.get(path)).status == status
        assert (await simulated.chat()).status == 503
        assert (await simulated.get("/admin/stats")).status == 200


async def test_metrics_count_what_happened() -> None:
    async with simulating() as simulated:
        await simulated.chat(model="gpt-x", max_tokens=4, gglib_sim={"profile": "none"})
        await simulated.chat(
            model="gpt-x", gglib_sim={"faults": [{"kind": "status", "status": 500}]}
        )
        text = (await simulated.get("/metrics")).body.decode()
    labels = 'endpoint="/v1/chat/completions",model="gpt-x"'
    for line in (
        f"llm_simulation_requests_total{{{labels}}} 2",
        f'llm_simulation_duration_seconds_bucket{{{labels},le="+Inf"}} 2',
        f"llm_simulation_duration_seconds_count{{{labels}}} 2",
        'llm_errors_injected_total{error_type="status_500"} 1',
        "llm_tokens_generated_total 4",
        "llm_active_requests 0",
        "llm_rate_limit_exceeded_total 0",
        'http_requests_total{method="POST",path="/v1/chat/completions",status="200"} 1',
    ):
        assert f"\n{line}\n" in f"\n{text}", line
    families = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert len(families) == len({name for name, _ in families}) == 8


async def test_a_seed_repeats_a_run() -> None:
    async def run(seed: str) -> list[int]:
        async with simulating("--scenario", "flaky", "--seed", seed) as simulated:
            statuses: list[int] = []
            for _ in range(12):
                statuses.append(await _status(simulated))
            return statuses

    first = await run("5")
    assert first == await run("5")
    assert any(status != 200 for status in first)


async def _status(simulated: Simulated) -> int:
    fast = {"gglib_sim": {"profile": "none"}}
    try:
        return (await simulated.chat(**fast)).status
    except (ConnectionResetError, asyncio.IncompleteReadError):
        return 0
