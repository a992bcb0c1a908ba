"""`/ready`, and the checks behind it."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from gglib_proxy.control.app import create_app
from gglib_proxy.readiness import FRESH_SECONDS, Accepting, Readiness
from tests.control_plane import control_context


class FakeCheck:
    """Says what it is told to say."""

    def __init__(self, name: str = "database") -> None:
        self.name = name
        self.answer: str | None = None
        self.error: Exception | None = None
        self.asked = 0
        self.gate: asyncio.Event | None = None

    async def problem(self) -> str | None:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.answer


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_ready_says_that_all_checks_passed() -> None:
    checks = FakeCheck("database"), FakeCheck("supervisor")
    context = dataclasses.replace(control_context(), readiness=checks)
    answer = await create_app(context).test_client().get("/ready")
    assert answer.status_code == 200
    assert await answer.get_json() == {
        "status": "ready",
        "checks": {"database": {"ok": True}, "supervisor": {"ok": True}},
    }


async def test_ready_is_503_and_says_which_check_failed() -> None:
    bad, good = FakeCheck("database"), FakeCheck("supervisor")
    bad.answer = "the disk is gone"
    context = dataclasses.replace(control_context(), readiness=(bad, good))
    answer = await create_app(context).test_client().get("/ready")
    assert answer.status_code == 503
    assert await answer.get_json() == {
        "status": "not_ready",
        "checks": {
            "database": {"ok": False, "problem": "the disk is gone"},
            "supervisor": {"ok": True},
        },
    }


async def test_whoever_drains_is_not_ready() -> None:
    is_draining = False
    readiness = Readiness([Accepting(lambda: is_draining)], clock=(clock := Clock()))
    assert (await readiness.report()).is_ready
    is_draining = True
    clock.now += FRESH_SECONDS
    assert not (await readiness.report()).is_ready


async def test_who_is_paused_is_not_ready() -> None:
    report = await Readiness([Accepting(lambda: False, lambda: True)]).report()
    assert report.problems == {"accepting": "an admin has paused gglib"}


async def test_checks_are_asked_once_a_second_however_often_probes_come() -> None:
    check = FakeCheck()
    readiness = Readiness([check], clock=(clock := Clock()))
    check.gate = asyncio.Event()
    probes = [asyncio.ensure_future(readiness.report()) for _ in range(20)]
    await asyncio.sleep(0)
    check.gate.set()
    await asyncio.gather(*probes)
    assert check.asked == 1
    clock.now += FRESH_SECONDS
    await readiness.report()
    assert check.asked == 2


async def test_a_check_that_fails_itself_is_no_health(caplog: pytest.LogCaptureFixture) -> None:
    check = FakeCheck()
    check.error = ValueError("bug")
    assert not (await Readiness([check]).report()).is_ready
    assert "the readiness check database failed" in caplog.text


async def test_changes_are_logged_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    check = FakeCheck()
    readiness = Readiness([check], clock=(clock := Clock()))
    for answer in (None, None, "gone", "gone", None):
        check.answer = answer
        await readiness.report()
        clock.now += FRESH_SECONDS
    assert [record.message for record in caplog.records] == [
        "gglib is not ready: {'database': 'gone'}",
        "gglib is ready again",
    ]
