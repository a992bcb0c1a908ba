"""The options that say what a catalog entry shall be, for `add` and `edit`.

Not here: what the values may be, which the catalog itself judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from gglib_core.models import Capability
from gglib_runtime.settings.units import parse_duration

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no duration such as 90, 15m or 1h30m.") from None


def _assignment(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r} has no '='.")
    return name, value


_CAPABILITIES = click.Choice([each.value for each in Capability])

_PROPERTIES: tuple[Decorator, ...] = (
    click.option(
        "--ctx", "context", type=int, metavar="N", help="Tokens that one request may use."
    ),
    click.option("--parallel", type=int, metavar="N", help="Requests decoded at once."),
    click.option("--threads", type=int, metavar="N", help="CPU threads of the engine."),
    click.option("--gpu-layers", metavar="N|auto|all", help="Layers to put on the GPU."),
    click.option(
        "--max-concurrent",
        type=int,
        metavar="N",
        help="Requests passed to the engine at once; the others wait in gglib.",
    ),
    click.option(
        "--idle-seconds",
        type=_duration,
        metavar="TIME",
        help="Unload after this long without a request; 0 never unloads.",
    ),
    click.option("--pin/--no-pin", "is_pinned", default=None, help="Never stop it for another."),
    click.option("--preload/--no-preload", "is_preloaded", default=None, help="Load it at start."),
    click.option(
        "--input-cost-per-1k",
        "input_cost_per_1k",
        type=float,
        metavar="PRICE",
        help="What 1,000 tokens of prompt cost.",
    ),
    click.option(
        "--output-cost-per-1k",
        "output_cost_per_1k",
        type=float,
        metavar="PRICE",
        help="What 1,000 tokens of answer cost.",
    ),
    click.option("--currency", metavar="CODE", help="Of its prices, such as USD or EUR."),
    click.option(
        "--capability",
        "capabilities",
        type=_CAPABILITIES,
        multiple=True,
        help="What it can do, instead of what its file says; may be repeated.",
    ),
)

_LISTS: tuple[Decorator, ...] = (
    click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Another name."),
    click.option("--tag", "tags", multiple=True, metavar="TAG", help="Another label."),
    click.option(
        "--arg",
        "arguments",
        multiple=True,
        metavar="TOKEN",
        help="Another argument for llama-server, one token each: --arg=--jinja",
    ),
    click.option(
        "--env",
        "environment",
        type=_assignment,
        multiple=True,
        metavar="NAME=VALUE",
        help="Another environment variable for llama-server.",
    ),
)


def properties(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each property that has one value; None where not given."""
    for option in reversed(_PROPERTIES):
        command = option(command)
    return command


def lists(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each property that has many values."""
    for option in reversed(_LISTS):
        command = option(command)
    return command


def capability_set(words: Sequence[str]) -> frozenset[Capability]:
    """The capabilities that were named."""
    return frozenset(map(Capability, words))
