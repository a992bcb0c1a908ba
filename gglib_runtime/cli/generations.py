"""`gglib generations` and `gglib generation`: the records of requests.

Reads the database, whether or not a server runs. Not here: how a record is shown.
"""

from __future__ import annotations

import difflib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from gglib_runtime.cli.catalog import complete_models, name_on_record
from gglib_runtime.cli.failures import CommandFailed
from gglib_runtime.cli.key_store import complete_keys
from gglib_runtime.cli.options import as_json, with_settings
from gglib_runtime.cli.output import note, print_facts, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy.engine import Engine

    from gglib_core.generations import Generation, GenerationFilter
    from gglib_runtime.settings import LoadedSettings, Settings

POLL_SECONDS = 0.5
"""The server writes as often as that."""
_ROWS_AT_ONCE = 1000
_DEFAULT_LIMIT = 20


def _moment(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """In Unix milliseconds: so long ago, or at that time."""
    from datetime import datetime

    from gglib_runtime.settings.units import parse_duration

    if text is None:
        return None
    try:
        return round((time.time() - parse_duration(text)) * 1000)
    except ValueError:
        pass
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a duration such as 90m or 7d nor a time such as 2026-11-21T12:00."
        ) from None


@click.command()
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on with new ones.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: all of them, without --limit.")
@click.option(
    "--model",
    "model",
    metavar="MODEL",
    shell_complete=complete_models,
    help="Those of one model alone.",
)
@click.option(
    "--key",
    "key",
    metavar="KEY",
    shell_complete=complete_keys,
    help="Those of one API key: its name, id or mask.",
)
@click.option("--failed", "is_failed", is_flag=True, help="Those alone that failed.")
@click.option(
    "--since",
    "since_ms",
    metavar="TIME",
    callback=_moment,
    help="Those from then on: 1h ago, or at a time such as 2026-11-21T12:00.",
)
@click.option(
    "-n",
    "--limit",
    metavar="N",
    type=click.IntRange(min=1, max=_ROWS_AT_ONCE),
    help=f"How many of the last ones. [default: {_DEFAULT_LIMIT}]",
)
@as_json
@with_settings()
def generations(
    loaded: LoadedSettings,
    is_followed: bool,
    as_csv: bool,
    model: str | None,
    key: str | None,
    is_failed: bool,
    since_ms: int | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show the last requests: their models, tokens, times and costs."""
    from gglib_runtime.catalog.store import SqlModelStore
    from gglib_runtime.generations.history import read_page

    if as_csv and (as_json or is_followed):
        raise click.UsageError("--csv goes with neither --json nor --follow.")
    with _open_database(loaded.settings) as engine:
        name, problem = name_on_record(SqlModelStore(engine), model)
        wanted = _wanted(loaded.settings, engine, name, key, is_failed, since_ms)
        if problem and not read_page(engine, wanted, 1).generations:
            note(problem)
        if as_csv:
            _export(engine, wanted, limit)
        elif is_followed:
            _follow(loaded.settings, engine, wanted, limit or _DEFAULT_LIMIT, as_json=as_json)
        else:
            _list(loaded.settings, engine, wanted, limit or _DEFAULT_LIMIT, as_json=as_json)


@click.command()
@click.argument("generation_id", metavar="ID")
@as_json
@with_settings()
def generation(loaded: LoadedSettings, generation_id: str, as_json: bool) -> None:
    """Show all that is known of a request, by gglib's id or the one in its answer's body."""
    from gglib_proxy.generation_document import generation_document
    from gglib_runtime.cli.generation_view import generation_details
    from gglib_runtime.generations.history import find_generation

    with _open_database(loaded.settings) as engine:
        found = find_generation(engine, generation_id)
        names = _key_names(loaded.settings, engine)
    if found is None:
        raise CommandFailed(
            f"There is no generation {generation_id!r}. They are kept for "
            "`generation_retention_seconds`, and written within a second."
        )
    if as_json:
        print_json(generation_document(found))
    else:
        print_facts(generation_details(found, names))


@contextmanager
def _open_database(settings: Settings) -> Generator[Engine]:
    from gglib_runtime.catalog.database import open_database
    from gglib_runtime.catalog.migration import upgrade

    with open_database(settings.effective_database_url) as engine:
        upgrade(engine)
        yield engine


def _wanted(
    settings: Settings,
    engine: Engine,
    model: str | None,
    key: str | None,
    is_failed: bool,
    since_ms: int | None,
) -> GenerationFilter:
    from gglib_core.generations import GenerationFilter

    key_id, mask = (None, None) if key is None else _key(settings, engine, key)
    return GenerationFilter(
        model=model,
        key_id=key_id,
        api_key_id=mask,
        has_failed=True if is_failed else None,
        since_ms=since_ms,
    )


def _key(settings: Settings, engine: Engine, text: str) -> tuple[int | None, str | None]:
    """The id of the key that is called so; of one that was removed since, its id or its mask."""
    from gglib_core.errors import NoSuchKey
    from gglib_runtime.keys.store import SqlKeyStore

    known = {key.name: key.id for key in SqlKeyStore(engine, settings.paths.pepper).list()}
    if text in known:
        return known[text], None
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return int(text), None
    if "***" in text:
        return None, text
    raise NoSuchKey(text, difflib.get_close_matches(text, known))


def _key_names(settings: Settings, engine: Engine) -> dict[int, str]:
    """The names of the keys that there still are, by their ids."""
    from gglib_runtime.keys.store import SqlKeyStore

    return {key.id: key.name for key in SqlKeyStore(engine, settings.paths.pepper).list()}


def _list(
    settings: Settings, engine: Engine, wanted: GenerationFilter, limit: int, *, as_json: bool
) -> None:
    from gglib_proxy.generation_document import generation_document
    from gglib_runtime.cli.generation_view import COLUMNS, generation_row
    from gglib_runtime.generations.history import read_page

    page = read_page(engine, wanted, limit).generations
    if as_json:
        print_json([generation_document(each) for each in page])
    elif page:
        names = _key_names(settings, engine)
        print_table(COLUMNS, [generation_row(each, names) for each in reversed(page)])
    else:
        click.echo("There are no generations of that kind.")


def _export(engine: Engine, wanted: GenerationFilter, limit: int | None) -> None:
    from gglib_proxy.generation_document import csv_head, csv_lines
    from gglib_runtime.generations.history import read_page

    # CSV has its own ends of lines, which are not to be translated.
    sys.stdout.write(csv_head().replace("\r\n", "\n"))
    cursor = None
    while True:
        page = read_page(engine, wanted, limit or _ROWS_AT_ONCE, cursor)
        sys.stdout.write(csv_lines(page.generations).replace("\r\n", "\n"))
        cursor = page.next_cursor
        if cursor is None or limit is not None:
            return


def _follow(
    settings: Settings, engine: Engine, wanted: GenerationFilter, limit: int, *, as_json: bool
) -> None:
    import json

    from gglib_proxy.generation_document import generation_document
    from gglib_runtime.cli.generation_view import generation_line, title_line

    if as_json:
        for each in _followed(engine, wanted, limit):
            click.echo(json.dumps(generation_document(each)))
        return
    click.echo(title_line())
    names = _key_names(settings, engine)
    for each in _followed(engine, wanted, limit):
        if each.key_id is not None and each.key_id not in names:
            names = _key_names(settings, engine)  # made since
        click.echo(generation_line(each, names))


def _followed(engine: Engine, wanted: GenerationFilter, limit: int) -> Iterator[Generation]:
    """The last ones, then those to come, for ever."""
    from gglib_runtime.generations.history import newest_number, read_page, read_since

    number = newest_number(engine)
    last = read_page(engine, wanted, limit).generations
    yield from reversed(last)
    shown = {each.id for each in last}  # some of them may be newer than `number`
    while True:
        rows, number = read_since(engine, wanted, number, _ROWS_AT_ONCE)
        yield from (each for each in rows if each.id not in shown)
        if len(rows) < _ROWS_AT_ONCE:
            time.sleep(POLL_SECONDS)
