"""An API key as commands show it: as JSON, as a table's row, in detail, in one line.

Never its secret, but for `made_key_json` and `say_secret`, right after it was made.
"""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gglib_runtime.cli.narrow_tables import Column

if TYPE_CHECKING:
    from gglib_core.api_keys import MadeKey
    from gglib_core.keys import ApiKey

COLUMNS = (
    Column(title="ID", justify="right", rank=7),
    Column(title="NAME", style="bold", is_folded=True),
    Column(title="KEY", rank=4),
    Column(title="STATE", rank=2),
    Column(title="FOR", is_folded=True, rank=5),
    Column(title="MODELS", is_folded=True, rank=3),
    Column(title="EXPIRES", rank=6),
    Column(title="LIMITS", is_folded=True, rank=1),
)


def key_json(key: ApiKey) -> dict[str, Any]:
    """Everything but the secret; times are Unix seconds, an empty list of models means all."""
    return {
        "id": key.id,
        "name": key.name,
        "mask": key.mask,
        "state": _state(key),
        "endpoints": sorted(key.endpoints),
        "models": list(key.models),
        "expires": key.expires,
        **dataclasses.asdict(key.allowance),
        "created": key.created,
    }


def made_key_json(made: MadeKey) -> dict[str, Any]:
    """Everything, the secret as `key`."""
    return {"key": made.secret, **key_json(made.key)}


def key_row(key: ApiKey) -> tuple[object, ...]:
    """What `COLUMNS` show."""
    return (
        key.id,
        key.name,
        key.mask,
        _state(key),
        ", ".join(sorted(key.endpoints)),
        ", ".join(key.models) or "all",
        None if key.expires is None else _time(key.expires),
        ", ".join(map(_limit, _limits(key))) or None,
    )


def key_line(key: ApiKey) -> str:
    """The key in one line."""
    models = ", ".join(key.models) or "all models"
    end = "never expires" if key.expires is None else f"expires {_time(key.expires)}"
    return f"{key.name} (id {key.id}): {', '.join(sorted(key.endpoints))}; {models}; {end}"


def key_details(key: ApiKey) -> list[tuple[str, object]]:
    """Everything but the secret, for people."""
    limits = [
        (name.replace("_", " ").capitalize(), _amount(amount) if amount else "no limit")
        for name, amount in _limits(key)
    ]
    return [
        ("Name", key.name),
        ("Id", key.id),
        ("Key", key.mask),
        ("State", _state(key)),
        ("Endpoints", ", ".join(sorted(key.endpoints))),
        ("Models", ", ".join(key.models) or "all"),
        ("Expires", "never" if key.expires is None else _time(key.expires)),
        *limits,
        ("Made", _time(key.created)),
    ]


def say_secret(secret: str) -> None:
    """Show a secret, how clients take it, and that it is shown this once."""
    click.echo(f"\n  export OPENAI_API_KEY={secret}\n")
    click.echo("Clients of Anthropic's API take it as ANTHROPIC_API_KEY. It is not shown again.")


def _state(key: ApiKey) -> str:
    if not key.is_enabled:
        return "disabled"
    return "expired" if key.has_expired(time.time()) else "enabled"


def _limits(key: ApiKey) -> list[tuple[str, float]]:
    amounts = dataclasses.asdict(key.allowance).items()
    return [(name, amount) for name, amount in amounts if amount is not None]


def _limit(limit: tuple[str, float]) -> str:
    name, amount = limit[0].replace("_", " "), limit[1]
    if not amount:
        return f"no limit of {name}"
    return f"{_amount(amount)} {name.removeprefix('budget ')}"


def _amount(amount: float) -> str:
    return str(amount) if isinstance(amount, int) else f"{amount:.12g}"


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M UTC")
