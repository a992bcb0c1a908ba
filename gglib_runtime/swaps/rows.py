"""How a swap becomes a row, and rows become swaps; and the queries on them.

Every function works inside the transaction that it is given. Not here: when it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from gglib_core.launch_costs import LaunchCost
from gglib_core.swaps import (
    Requester,
    Swap,
    SwapCause,
    SwapOutcome,
    SwapPage,
    Victim,
    VictimReason,
    bounded,
    page_of,
)
from gglib_runtime.catalog.database import insert_into
from gglib_runtime.swaps.tables import swaps

_PLAIN = (
    "id",
    "created",
    "model_id",
    "model",
    "launch_id",
    "launch_key",
    "context",
    "failure",
    "detail",
    "queue_seconds",
    "drain_seconds",
    "stop_seconds",
    "memory_seconds",
    "spawn_seconds",
    "load_seconds",
    "first_byte_seconds",
    "served",
    "avoided",
    "memory_bytes",
    "gpu_memory_bytes",
    "ended",
)
_TEACHING_ROWS = 1000


def write_swaps(connection: Connection, recorded: Sequence[Swap]) -> None:
    """Insert them, or put them in the place of what has their ids."""
    insert = insert_into(swaps, connection)
    changed = {column.name: insert.excluded[column.name] for column in swaps.c}
    statement = insert.on_conflict_do_update(index_elements=[swaps.c.id], set_=changed)
    connection.execute(statement, [_row(swap) for swap in recorded])


def read_page(
    connection: Connection, *, limit: int, before: str | None = None, model: str | None = None
) -> SwapPage:
    """As `SwapHistory.page` has it."""
    query = sa.select(swaps).order_by(swaps.c.id.desc()).limit(bounded(limit) + 1)
    if before is not None:
        query = query.where(swaps.c.id < before)
    if model is not None:
        query = query.where(swaps.c.model == model)
    found = [_swap(row) for row in connection.execute(query).mappings()]
    return page_of(found, limit)


def read_swap(connection: Connection, swap_id: str) -> Swap | None:
    """The swap of that id."""
    row = connection.execute(sa.select(swaps).where(swaps.c.id == swap_id)).mappings().first()
    return None if row is None else _swap(row)


def read_costs(connection: Connection) -> list[LaunchCost]:
    """What the latest launches have cost, the oldest first."""
    query = sa.select(swaps).where(swaps.c.outcome == SwapOutcome.READY)
    query = query.order_by(swaps.c.id.desc()).limit(_TEACHING_ROWS)
    costs = (_swap(row).cost for row in connection.execute(query).mappings())
    return [cost for cost in costs if cost is not None][::-1]


def delete_older(connection: Connection, created: float, *, limit: int) -> int:
    """Delete swaps that were created before; at most `limit`. Returns how many."""
    old = sa.select(swaps.c.id).where(swaps.c.created < created).limit(limit)
    return connection.execute(swaps.delete().where(swaps.c.id.in_(old))).rowcount


def _row(swap: Swap) -> dict[str, Any]:
    requester, victim = swap.requester, swap.victim
    return {name: getattr(swap, name) for name in _PLAIN} | {
        "cause": requester.cause,
        "request_id": requester.request_id,
        "key_name": requester.key_name,
        "victim_id": victim and victim.model_id,
        "victim": victim and victim.name,
        "victim_reason": victim and victim.reason,
        "spared": list(victim.spared) if victim else [],
        "outcome": swap.outcome,
    }


def _swap(row: RowMapping) -> Swap:
    return Swap(
        requester=Requester(
            cause=SwapCause(row["cause"]),
            request_id=row["request_id"],
            key_name=row["key_name"],
        ),
        victim=_victim(row),
        outcome=SwapOutcome(row["outcome"]),
        **{name: row[name] for name in _PLAIN},
    )


def _victim(row: RowMapping) -> Victim | None:
    if row["victim"] is None:
        return None
    return Victim(
        model_id=row["victim_id"],
        name=row["victim"],
        reason=VictimReason(row["victim_reason"]),
        spared=tuple(row["spared"]),
    )
