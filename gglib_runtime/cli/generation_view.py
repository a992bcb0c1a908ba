"""A generation as people read it: a row of a table, a line of its own, or everything.

Not here: which generations are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from gglib_core.generations import Generation
from gglib_runtime.cli.narrow_tables import Column
from gglib_runtime.cli.output import printable
from gglib_runtime.cli.quantities import elapsed

COLUMNS = (
    Column(title="TIME"),
    Column(title="MODEL", style="bold", is_folded=True),
    Column(title="STATUS", is_folded=True),
    Column(title="IN", justify="right", rank=3),
    Column(title="OUT", justify="right", rank=2),
    Column(title="T/S", justify="right", rank=6),
    Column(title="FIRST", justify="right", rank=4),
    Column(title="TOTAL", justify="right"),
    Column(title="COST", justify="right", rank=5),
    Column(title="KEY", is_folded=True, rank=1),
)
_NO_NAMES: Mapping[int, str] = {}
_WIDTHS = (19, 24, 22, 6, 6, 6, 7, 7, 12, 12)
"""Of lines that come one after the other, when nobody knows the widest yet."""


def generation_row(
    generation: Generation, key_names: Mapping[int, str] = _NO_NAMES
) -> tuple[object, ...]:
    """What `COLUMNS` show; of keys the names, where there still are such keys."""
    return (
        _time(generation.created_ms),
        generation.model,
        _status(generation),
        _tokens(generation, generation.prompt_tokens),
        _tokens(generation, generation.completion_tokens),
        _speed(generation.tokens_per_second),
        _duration(generation.first_token_ms),
        _duration(generation.total_ms),
        _money(generation.total_cost, generation.currency),
        key_names.get(generation.key_id or 0, generation.api_key_id),
    )


def title_line() -> str:
    """The head of `generation_line`."""
    return _line(tuple(column.title for column in COLUMNS))


def generation_line(generation: Generation, key_names: Mapping[int, str]) -> str:
    """The row, in columns as wide as they usually need."""
    return _line(generation_row(generation, key_names))


def generation_details(
    generation: Generation, key_names: Mapping[int, str] = _NO_NAMES
) -> list[tuple[str, object]]:
    """Everything, for people; what is empty has None."""
    cost, currency = generation.total_cost, generation.currency
    return [
        ("Id", generation.id),
        ("Time", _time(generation.created_ms)),
        ("Model", generation.model),
        ("Endpoint", generation.endpoint + (" (stream)" if generation.is_stream else "")),
        ("Status", _status(generation)),
        ("Finish", generation.finish_reason),
        ("Prompt", _prompt(generation)),
        ("Answer", _answer(generation)),
        ("Queue", _duration(generation.queue_ms)),
        ("of it, load", _duration(generation.load_ms) if generation.load_ms else None),
        ("First token", _duration(generation.first_token_ms)),
        ("Total", _duration(generation.total_ms)),
        ("Cost", _money(cost, currency)),
        ("Key", _key(generation, key_names)),
        ("Provider", generation.provider),
        ("Provider was", generation.provider_health),
        ("Launch", generation.target),
        ("Swap", generation.swap_id),
        ("Request id", generation.request_id),
        ("Id in the answer", generation.upstream_id),
    ]


def _key(generation: Generation, key_names: Mapping[int, str]) -> str | None:
    name = key_names.get(generation.key_id or 0)
    return f"{name} ({generation.api_key_id})" if name else generation.api_key_id


def _line(cells: tuple[object, ...]) -> str:
    shown = [
        f"{printable(cell):>{width}}"
        if column.justify == "right"
        else f"{printable(cell):<{width}}"
        for cell, width, column in zip(cells, _WIDTHS, COLUMNS, strict=True)
    ]
    return "  ".join(shown).rstrip()


def _time(created_ms: int) -> str:
    return datetime.fromtimestamp(created_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _status(generation: Generation) -> str:
    return f"{generation.status} {generation.error}" if generation.error else f"{generation.status}"


def _tokens(generation: Generation, count: int) -> str:
    return f"~{count}" if generation.is_estimated and count else f"{count}"


def _prompt(generation: Generation) -> str:
    cached = f", {generation.cached_tokens} of them cached" if generation.cached_tokens else ""
    return f"{_tokens(generation, generation.prompt_tokens)} tokens{cached}"


def _answer(generation: Generation) -> str:
    speed = _speed(generation.tokens_per_second)
    rate = f", {speed} a second" if speed else ""
    return f"{_tokens(generation, generation.completion_tokens)} tokens{rate}"


def _speed(tokens_per_second: float | None) -> str | None:
    return None if tokens_per_second is None else f"{tokens_per_second:.1f}"


def _duration(milliseconds: float | None) -> str | None:
    """Short ones exactly, long ones roughly."""
    if milliseconds is None:
        return None
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else elapsed(seconds)


def _money(amount: float, currency: str) -> str | None:
    """Tokens cost little: of less than one, six digits."""
    if not amount:
        return None
    return f"{amount:.2f} {currency}" if amount >= 1 else f"{amount:.6f} {currency}"
