"""`gglib key create`: makes an API key.

Not here: what its options mean (`key_options`), and what a key may be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gglib_runtime.cli.key_options import allowance_of, allowed, endpoint_set
from gglib_runtime.cli.key_store import open_key_store
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import print_json

if TYPE_CHECKING:
    from gglib_runtime.settings import LoadedSettings


@click.command()
@click.argument("name", metavar="NAME")
@allowed
@as_json
@with_settings()
def create(
    loaded: LoadedSettings,
    name: str,
    as_json: bool,
    models: tuple[str, ...],
    endpoints: tuple[str, ...],
    is_admin: bool | None,
    expires: float | None,
    **limits: Any,  # noqa: ANN401 -- one for each limit
) -> None:
    """Make an API key, and show its secret: once, for it is not stored.

    With the first key, a server that was open to everybody on its machine asks for one.
    """
    from gglib_core.api_keys import NewKey
    from gglib_core.keys import DEFAULT_ENDPOINTS
    from gglib_runtime.cli.key_view import key_line, made_key_json, say_secret

    new = NewKey(
        name=name,
        endpoints=endpoint_set(endpoints, DEFAULT_ENDPOINTS, is_admin=is_admin),
        models=tuple(dict.fromkeys(models)),
        expires=expires,
        allowance=allowance_of(limits),
    )
    with open_key_store(loaded.settings) as store:
        is_first = not store.list()
        made = store.create(new)
    if as_json:
        print_json(made_key_json(made))
        return
    click.echo(f"Made the API key {key_line(made.key)}")
    say_secret(made.secret)
    if is_first and not loaded.settings.no_auth:
        click.echo("\nThis is the first API key: from now on every request needs one.")
