"""The admin API: configuration, statistics, scenarios and rate limits, while the simulator runs.

Who has the admin key may use it; where none was given, who asks from this machine, but for pages in
a browser, which may be anybody's.
"""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec

from gglib_runtime.simulator.behaviour import (
    AnswerPlan,
    BadBehaviour,
    Behaviour,
    changed_behaviour,
)
from gglib_runtime.simulator.engine import Engine
from gglib_runtime.simulator.exchange import Exchange
from gglib_runtime.simulator.failing import ErrorStyle, failure_body
from gglib_runtime.simulator.scenarios.library import read_scenario, shipped_names

_PREFIX = "/admin/"
_SCENARIOS = "scenarios/"
_LIVE_FIELDS = frozenset(
    {
        *AnswerPlan.__struct_fields__,
        *("models", "scenario", "limits", "max_concurrent", "key"),
        *("crash_after_answers", "crash_signal"),
    }
)
"""What counts at any time; all else counts at the start alone."""

Work = Callable[[Engine, Exchange], object]


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def answer_admin(engine: Engine, exchange: Exchange) -> None:
    """Answer a request to the admin API."""
    try:
        _check_key(engine, exchange)
        answer = _work(exchange)(engine, exchange)
    except _Refused as refused:
        body = failure_body(ErrorStyle.OPENAI, refused.status, str(refused))
        exchange.answer(refused.status, body)
    else:
        exchange.answer(200, msgspec.json.encode(answer))


def _check_key(engine: Engine, exchange: Exchange) -> None:
    wanted = engine.arguments.admin_key
    if wanted:
        given = exchange.request.headers.get(b"x-admin-key", b"")
        if not hmac.compare_digest(given, wanted.encode()):
            raise _Refused(
                401, "The header X-Admin-Key is missing, or its key is not the right one."
            )
    elif not _is_this_machine(exchange.peer) or b"origin" in exchange.request.headers:
        raise _Refused(
            403,
            "Start the simulator with --admin-key to use the admin API from other machines, or "
            "from pages in a browser.",
        )


def _is_this_machine(peer: str) -> bool:
    return peer == "local" or ipaddress.ip_address(peer.partition("%")[0]).is_loopback


def _work(exchange: Exchange) -> Work:
    request = exchange.request
    path = request.path.removeprefix(_PREFIX).removesuffix("/")
    method = "GET" if request.method == "HEAD" else request.method
    found = _WORK.get((method, path))
    if found is not None:
        return found
    if method == "POST" and path.startswith(_SCENARIOS):
        name, _, verb = path.removeprefix(_SCENARIOS).rpartition("/")
        if verb in ("activate", "deactivate"):
            work = _activate if verb == "activate" else _deactivate
            return lambda engine, _: work(engine, unquote(name))
    if any(path == each for _, each in _WORK):
        raise _Refused(405, f"{request.path} does not take {request.method}.")
    raise _Refused(404, f"There is no {request.path}.")


# work


def _config(engine: Engine, exchange: Exchange) -> object:
    """GET /admin/config."""
    config: dict[str, Any] = msgspec.to_builtins(engine.behaviour)
    return {name: value for name, value in config.items() if name in _LIVE_FIELDS}


def _change_config(engine: Engine, exchange: Exchange) -> object:
    """POST /admin/config: what is named is changed, all else stays."""
    try:
        changes = msgspec.json.decode(exchange.request.body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise _Refused(400, f"The body is not a JSON object: {error}") from error
    fixed = sorted(changes.keys() & {*Behaviour.__struct_fields__} - _LIVE_FIELDS)
    if fixed:
        raise _Refused(400, f"{fixed[0]}: counts when the simulator starts, and not later.")
    try:
        engine.direction.change(changed_behaviour(engine.behaviour, changes))
    except BadBehaviour as error:
        raise _Refused(400, str(error)) from error
    return _config(engine, exchange)


def _stats(engine: Engine, exchange: Exchange) -> object:
    """GET /admin/stats."""
    tallies = engine.tallies
    return {
        "uptime_seconds": round(time.monotonic() - tallies.began_at, 3),
        "requests": tallies.requests.total(),
        "requests_by_model": _by_model(engine),
        "active_requests": tallies.active,
        "most_active_requests": tallies.most_active,
        "tokens_generated": tallies.tokens,
        "errors_injected": dict(tallies.injected),
        "rate_limited": tallies.limited,
        "overloaded": tallies.overloaded,
        "answers_by_status": _by_status(engine),
    } | _state(engine)


def _by_model(engine: Engine) -> dict[str, int]:
    found: dict[str, int] = {}
    for (_, model), count in engine.tallies.requests.items():
        found[model] = found.get(model, 0) + count
    return found


def _by_status(engine: Engine) -> dict[str, int]:
    found: dict[str, int] = {}
    for (_, _, status), count in engine.tallies.answers.items():
        found[str(status)] = found.get(str(status), 0) + count
    return found


def _state(engine: Engine) -> dict[str, Any]:
    """The scenario that plays."""
    direction = engine.direction
    if direction.scenario is None:
        return {"scenario": None, "phase": None}
    return {
        "scenario": direction.scenario_name,
        "phase": direction.phase.name,
        "phase_seconds": round(direction.passed_seconds, 3),
    }


def _scenarios(engine: Engine, exchange: Exchange) -> object:
    """GET /admin/scenarios."""
    active = engine.direction.scenario_name
    names = [*shipped_names()]
    if active is not None and active not in names:
        names.append(active)
    return {"scenarios": [_entry(name, active) for name in names]} | _state(engine)


def _entry(name: str, active: str | None) -> dict[str, Any]:
    scenario = read_scenario(name)
    return {
        "name": name,
        "description": scenario.description,
        "repeat": scenario.repeat,
        "phases": [{"name": phase.name, "seconds": phase.seconds} for phase in scenario.phases],
        "active": name == active,
    }


def _activate(engine: Engine, name: str) -> object:
    """POST /admin/scenarios/{name}/activate."""
    try:
        engine.direction.play(name)
    except BadBehaviour as error:
        raise _Refused(404, str(error)) from error
    return _state(engine)


def _deactivate(engine: Engine, name: str) -> object:
    """POST /admin/scenarios/{name}/deactivate."""
    if engine.direction.scenario_name != name:
        raise _Refused(409, f"The scenario {name!r} is not active.")
    engine.direction.stop()
    return _state(engine)


def _reset_limits(engine: Engine, exchange: Exchange) -> object:
    """POST /admin/rate-limits/reset."""
    return {"reset": engine.direction.limiter.reset()}


_WORK: dict[tuple[str, str], Work] = {
    ("GET", "config"): _config,
    ("POST", "config"): _change_config,
    ("GET", "stats"): _stats,
    ("GET", "scenarios"): _scenarios,
    ("POST", "rate-limits/reset"): _reset_limits,
}
