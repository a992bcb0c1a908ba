"""`gglib key edit`: changes what an API key allows.

Not here: what its options mean (`key_options`), and what a key may be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from gglib_core.keys import DEFAULT_ENDPOINTS, ApiKey
from gglib_runtime.cli.key_options import LIMITS, allowed, endpoint_set
from gglib_runtime.cli.key_store import key_argument, open_key_store
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_json

if TYPE_CHECKING:
    from gglib_core.api_keys import KeyChanges, LimitChanges
    from gglib_runtime.settings import LoadedSettings

_CLEARABLE = {
    "model": "models",
    "endpoint": "endpoints",
    "expires": "expires",
    "requests-per-minute": "requests_per_minute",
    "tokens-per-minute": "tokens_per_minute",
    "concurrent-requests": "concurrent_requests",
    "budget-per-day": "budget_per_day",
    "budget-per-month": "budget_per_month",
}


@click.command()
@key_argument()
@click.option("--name", "new_name", metavar="NAME", help="Its new name.")
@allowed
@click.option(
    "--clear",
    "cleared",
    type=click.Choice(list(_CLEARABLE)),
    metavar="WORD",
    multiple=True,
    help="Have it as it is by default: all models, no end, the server's limit. May be repeated. "
    f"WORD is one of: {', '.join(_CLEARABLE)}.",
)
@as_json
@with_settings()
def edit(loaded: LoadedSettings, name: str, as_json: bool, **wishes: Any) -> None:  # noqa: ANN401 -- one for each option
    """Change an API key, but not its secret. What is not named stays.

    --model and --endpoint replace what there was.
    """
    from gglib_runtime.cli.key_view import key_json, key_line

    with open_key_store(loaded.settings) as store:
        old = store.get(name)
        changes = _changes(old, **wishes)
        if not changes:
            raise click.UsageError("Nothing to change was named.")
        new = store.edit(name, **changes)
    if as_json:
        print_json(key_json(new))
    elif new == old:
        click.echo(f"{new.name} was like that already.")
    else:
        click.echo(f"Changed {key_line(new)}")


def _changes(
    old: ApiKey,
    *,
    new_name: str | None,
    models: tuple[str, ...],
    endpoints: tuple[str, ...],
    is_admin: bool | None,
    expires: float | None,
    cleared: tuple[str, ...],
    **limits: float | None,
) -> KeyChanges:
    without = {_CLEARABLE[word] for word in cleared}
    changes: KeyChanges = {}
    if new_name is not None:
        changes["name"] = new_name
    if models or "models" in without:
        changes["models"] = tuple(dict.fromkeys(models))
    if endpoints or is_admin is not None or "endpoints" in without:
        default = DEFAULT_ENDPOINTS if "endpoints" in without else old.endpoints
        changes["endpoints"] = endpoint_set(endpoints, default, is_admin=is_admin)
    if expires is not None or "expires" in without:
        changes["expires"] = expires
    amounts: dict[str, Any] = dict.fromkeys(without.intersection(LIMITS))
    amounts |= {limit: amount for limit, amount in limits.items() if amount is not None}
    if amounts:
        changes["limits"] = cast("LimitChanges", amounts)
    return changes
