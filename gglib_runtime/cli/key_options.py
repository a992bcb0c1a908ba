"""The options that say what an API key shall allow, for `create` and `edit`.

Not here: what the values may be, which the store itself judges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from gglib_core.keys import Allowance, Endpoint
from gglib_runtime.settings.units import parse_duration

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

LIMITS = (
    "requests_per_minute",
    "tokens_per_minute",
    "concurrent_requests",
    "budget_per_day",
    "budget_per_month",
)
"""The fields of an allowance, after which their options are called."""


def _moment(text: str) -> float:
    """The time that is meant, in Unix seconds: so long from now, or a date or time of UTC."""
    try:
        return time.time() + parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no duration such as 30d or 12h, and no date such as 2030-12-31."
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _expiry(text: str) -> float:
    moment = _moment(text)
    if moment <= time.time():
        raise click.BadParameter(f"{text!r} is over already.")
    return moment


_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--model",
        "models",
        multiple=True,
        metavar="GLOB",
        help="Models that it is for, with * and ?; may be repeated. [default: all]",
    ),
    click.option(
        "--endpoint",
        "endpoints",
        type=click.Choice([each.value for each in Endpoint]),
        multiple=True,
        help="Endpoints that it is for; may be repeated. [default: inference and models]",
    ),
    click.option(
        "--admin/--no-admin", "is_admin", default=None, help="Whether it may change gglib itself."
    ),
    click.option(
        "--expires",
        type=_expiry,
        metavar="TIME|DATE",
        help="When it ends: after 30d, or at the beginning of 2030-12-31 (UTC).",
    ),
    click.option(
        "--requests-per-minute", type=int, metavar="N", help="Requests in a minute; 0: no limit."
    ),
    click.option(
        "--tokens-per-minute", type=int, metavar="N", help="Tokens in a minute; 0: no limit."
    ),
    click.option(
        "--concurrent-requests",
        type=int,
        metavar="N",
        help="Requests at the same time; 0: no limit.",
    ),
    click.option(
        "--budget-per-day", type=float, metavar="X", help="Money for a day (UTC); 0: no limit."
    ),
    click.option(
        "--budget-per-month", type=float, metavar="X", help="Money for a month (UTC); 0: no limit."
    ),
)


def allowed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each thing that a key allows; None or empty where not given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def endpoint_set(
    words: tuple[str, ...], default: frozenset[Endpoint], *, is_admin: bool | None
) -> frozenset[Endpoint]:
    """The endpoints that were named, else the default ones, with or without admin's."""
    named = frozenset(map(Endpoint, words)) or default
    if is_admin is None:
        return named
    return named | {Endpoint.ADMIN} if is_admin else named - {Endpoint.ADMIN}


def allowance_of(wishes: Mapping[str, Any]) -> Allowance:
    """The limits that were named."""
    return Allowance(**{name: wishes[name] for name in LIMITS})
