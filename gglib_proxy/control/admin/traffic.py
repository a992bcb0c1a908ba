"""`/admin/stats`, `/admin/requests`, `/admin/drain`, `/admin/rate-limits`: what is under way.

Not here: how requests are served.
"""

from __future__ import annotations

import time
from collections import Counter

from quart import Blueprint, Response

from gglib_core.models import RunningModel
from gglib_core.rate_limiting import RateLimiter
from gglib_proxy.control.admin.bodies import read_body
from gglib_proxy.control.admin.documents import (
    Cancelled,
    ModelStatus,
    Pause,
    PauseDone,
    RequestDocument,
    RequestList,
    Reset,
    ResetDone,
    Stats,
)
from gglib_proxy.control.answers import json_answer
from gglib_proxy.control.context import ControlContext
from gglib_proxy.errors import Refusal
from gglib_proxy.tally import Tally
from gglib_proxy.traffic import RequestInFlight, Traffic

_FIRST_SERVER_ERROR = 500


def traffic_routes(
    context: ControlContext, traffic: Traffic, tally: Tally, limiter: RateLimiter
) -> Blueprint:
    """Look at what is under way, end it, and hold back what is new."""
    routes = Blueprint("admin_traffic", __name__, url_prefix="/admin")

    @routes.get("/stats")
    async def stats() -> Response:
        return json_answer(_stats(context, traffic, tally))

    @routes.get("/requests")
    async def requests() -> Response:
        return json_answer(RequestList(data=[_document(each) for each in traffic.requests()]))

    @routes.delete("/requests/<path:request_id>")  # clients' own ids may have slashes
    async def cancel(request_id: str) -> Response:
        cancelled = traffic.cancel(request_id)
        if not cancelled:
            raise Refusal(
                404,
                "request_not_found",
                f"No request {request_id!r} is under way.",
                close=False,
                param="id",
            )
        return json_answer(Cancelled(cancelled=cancelled))

    @routes.post("/drain")
    async def drain() -> Response:
        if (await read_body(Pause)).paused:
            traffic.pause()
        else:
            traffic.resume()
        return json_answer(
            PauseDone(paused=traffic.is_paused, active_requests=len(traffic.requests()))
        )

    @routes.post("/rate-limits/reset")
    async def reset() -> Response:
        wanted = await read_body(Reset)
        return json_answer(ResetDone(reset=limiter.reset(wanted.caller)))

    return routes


def _document(request: RequestInFlight) -> RequestDocument:
    return RequestDocument(
        id=request.id,
        generation_id=request.generation_id,
        path=request.path,
        model=request.model,
        phase=request.phase,
        stream=request.is_stream,
        api_key_id=request.key,
        address=request.address,
        seconds=round(request.seconds, 3),
    )


def _stats(context: ControlContext, traffic: Traffic, tally: Tally) -> Stats:
    requests = {key: times.count for key, times in tally.requests.items()}
    models = tally.models.values()
    cost: Counter[str] = Counter()
    for each in models:
        cost.update(each.cost)
    outcomes: Counter[str | None] = Counter()
    for each in models:
        outcomes.update(each.outcomes)
    return Stats(
        version=context.info.version,
        uptime_seconds=round(time.monotonic() - context.info.started, 3),
        requests=sum(requests.values()),
        errors=sum(
            count for (_, _, status), count in requests.items() if status >= _FIRST_SERVER_ERROR
        ),
        active_requests=len(traffic.requests()),
        connections=traffic.connections,
        generations=outcomes.total(),
        generations_failed=outcomes.total() - outcomes[None],
        prompt_tokens=sum(each.prompt_tokens for each in models),
        completion_tokens=sum(each.completion_tokens for each in models),
        cost={currency: round(money, 9) for currency, money in cost.items()},
        rate_limited=dict(tally.limits),
        is_paused=traffic.is_paused,
        models=[_status(model) for model in context.runtime.current()],
    )


def _status(model: RunningModel) -> ModelStatus:
    return ModelStatus(
        id=model.model_id,
        name=model.name,
        status=model.state,
        requests=model.leases,
        waiting=model.waiting,
        seconds=round(model.since_seconds, 3),
        memory_bytes=model.memory_bytes,
        failure=model.failure,
    )
