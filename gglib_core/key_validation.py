"""What an API key may be called and allow.

Not here: whether another key has the name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from gglib_core.errors import InvalidKey
from gglib_core.keys import Allowance, ApiKey, is_acceptable_secret

_is_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}").fullmatch
_MOST_GLOBS = 100
_LONGEST_GLOB = 200
_MOST = 1e12
_YEAR_10000 = 253_402_300_800
"""In Unix seconds; calendars of programs end there."""


def check_key(key: ApiKey) -> None:
    """Raises InvalidKey that names everything which a key may not be."""
    problems = list(_problems(key))
    if problems:
        raise InvalidKey(" ".join(issue for _, issue in problems), problems)


def _problems(key: ApiKey) -> Iterator[tuple[str, str]]:
    if not _is_name(key.name) or key.name.isdigit():
        issue = (
            f"{key.name!r} is no name for an API key: up to 64 letters, digits and ._@+-, with a "
            "letter or digit first, and not of digits alone."
        )
        yield "name", issue
    if not key.endpoints:
        yield "endpoints", "An API key has to be for at least one class of endpoints."
    if key.expires is not None and not 0 <= key.expires < _YEAR_10000:
        issue = f"{key.expires:g} is no time at which an API key could expire, in Unix seconds."
        yield "expires", issue
    yield from (("models", issue) for issue in _model_issues(key.models))
    yield from _allowance_problems(key.allowance)


def check_secret(secret: str) -> None:
    """Raises InvalidKey for a secret that somebody chose and that cannot be one."""
    if not is_acceptable_secret(secret):
        raise InvalidKey(
            "An API key has 16 to 200 characters of ASCII, without spaces. "
            "`openssl rand -hex 32` makes a good one."
        )


def _model_issues(globs: tuple[str, ...]) -> Iterator[str]:
    if len(globs) > _MOST_GLOBS:
        yield f"An API key can name {_MOST_GLOBS} models at most, with * and ?."
        return
    for glob in globs:
        if not glob.strip() or not glob.isprintable() or len(glob) > _LONGEST_GLOB:
            yield f"{glob!r} is no name of models; * and ? stand for any characters."


def _allowance_problems(allowance: Allowance) -> Iterator[tuple[str, str]]:
    for each in dataclasses.fields(Allowance):
        amount: float | None = getattr(allowance, each.name)
        if amount is not None and not 0 <= amount <= _MOST:
            words = each.name.replace("_", " ")
            yield each.name, f"{amount} is no limit for {words}: it has to be 0, or more."
