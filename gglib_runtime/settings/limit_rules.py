"""The setting `limits`: rules as tables of a TOML file, or as JSON in a variable or a flag.

Not here: what a rule means (`gglib_core.rate_limiting`), and who keeps to it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gglib_core.keys import Allowance, Endpoint
from gglib_core.rate_limiting import LimitRule
from gglib_runtime.settings.kinds import Amount, Choice, Kind, Text, Whole, WrongValue, each_right

_GLOB = Text(expected="a name, in which * and ? stand for any characters")
_COUNT = Whole(minimum=1, maximum=1_000_000_000)
_BUDGET = Amount(minimum=0.000001, maximum=1_000_000_000)
_AMOUNTS: Mapping[str, Kind] = {
    "requests_per_minute": _COUNT,
    "tokens_per_minute": _COUNT,
    "concurrent_requests": _COUNT,
    "budget_per_day": _BUDGET,
    "budget_per_month": _BUDGET,
}
_KINDS: Mapping[str, Kind] = {
    "models": _GLOB,
    "endpoint": Choice(options=tuple(Endpoint)),
    "key": _GLOB,
    **_AMOUNTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRules:
    """Rules: what each matches, and how much it allows."""

    expected: str = "tables with models, endpoint or key, and at least one limit"
    bounds: str = "see [limits](limits.md)"

    def parse(self, raw: object, base: Path) -> tuple[LimitRule, ...]:
        if isinstance(raw, str):
            raw = json.loads(raw) if raw.strip() else ()
        if not isinstance(raw, list | tuple):
            raise ValueError(raw)
        tables = enumerate(cast("Sequence[object]", raw), 1)
        return each_right(lambda each: _rule(each[0], each[1], base), tables)

    def show(self, value: object) -> str:
        return json.dumps([_table(rule) for rule in cast("Sequence[LimitRule]", value)])


def _rule(number: int, raw: object, base: Path) -> LimitRule:
    if isinstance(raw, LimitRule):
        return raw
    if not isinstance(raw, dict):
        raise WrongValue(f"limit {number} is no table")
    table = cast("dict[str, object]", raw)
    try:
        values: dict[str, Any] = dict(
            each_right(lambda key: (key, _value(key, table[key], base)), table)
        )
    except WrongValue as error:
        raise WrongValue(f"limit {number}: {error}") from error
    amounts = {key: values.pop(key) for key in _AMOUNTS if key in values}
    if not amounts:
        raise WrongValue(f"limit {number} limits nothing: name one of {', '.join(_AMOUNTS)}")
    if "endpoint" in values:
        values["endpoint"] = Endpoint(values["endpoint"])
    return LimitRule(allowance=Allowance(**amounts), **values)


def _value(key: str, raw: object, base: Path) -> object:
    kind = _KINDS.get(key)
    if kind is None:
        raise WrongValue(f"there is no {key!r}, but {', '.join(_KINDS)}")
    try:
        return kind.parse(raw, base)
    except (ValueError, OverflowError) as error:
        raise WrongValue(f"{key} = {raw!r}: expected {kind.expected}") from error


def _table(rule: LimitRule) -> dict[str, object]:
    said = {"models": rule.models, "endpoint": rule.endpoint, "key": rule.key}
    said |= dataclasses.asdict(rule.allowance)
    return {key: value for key, value in said.items() if value is not None}
