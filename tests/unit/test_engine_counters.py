"""Counters that begin at nought with each process, added up."""

from __future__ import annotations

from gglib_core.engine_counters import LATEST_LAUNCHES, CounterTotals
from gglib_runtime.supervisor.engine_counters import parse

TEXT = b"""\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 120
# TYPE llamacpp:tokens_predicted_seconds_total counter
llamacpp:tokens_predicted_seconds_total 1.25
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
# TYPE llamacpp:something_new counter
llamacpp:something_new 7
llamacpp:n_decode_total many
# TYPE llamacpp:prompt_seconds_total counter
llamacpp:prompt_seconds_total -nan
llamacpp:tokens_predicted_total inf
"""


def test_what_is_known_is_read_and_nothing_else() -> None:
    assert parse(TEXT) == {
        "prompt_tokens_total": 120,
        "tokens_predicted_seconds_total": 1.25,
        "requests_processing": 2,
    }
    assert parse(b"<html>") == {}


def test_a_restart_goes_on_where_the_process_before_ended() -> None:
    totals = CounterTotals()
    totals.update("launch-1", {"n_decode_total": 10})
    totals.update("launch-1", {"n_decode_total": 25})
    assert totals.totals() == {"n_decode_total": 25}
    totals.update("launch-2", {"n_decode_total": 4, "prompt_tokens_total": 1})
    assert totals.totals() == {"n_decode_total": 29, "prompt_tokens_total": 1}
    totals.update("launch-3", {})
    assert totals.totals() == {"n_decode_total": 29, "prompt_tokens_total": 1}


def test_a_total_never_decreases() -> None:
    totals = CounterTotals()
    totals.update("launch-1", {"n_decode_total": 10})
    totals.update("launch-1", {"n_decode_total": 3})
    assert totals.totals() == {"n_decode_total": 10}


def test_what_comes_late_of_an_ended_process_is_counted_once() -> None:
    totals = CounterTotals()
    totals.update("launch-1", {"n_decode_total": 10})
    totals.update("launch-2", {"n_decode_total": 4})
    totals.update("launch-1", {"n_decode_total": 12})
    assert totals.totals() == {"n_decode_total": 16}
    totals.update("launch-2", {"n_decode_total": 5})
    assert totals.totals() == {"n_decode_total": 17}


def test_any_number_of_restarts_is_added_up() -> None:
    totals = CounterTotals()
    for number in range(5 * LATEST_LAUNCHES):
        totals.update(f"launch-{number}", {"n_decode_total": 2})
        totals.update(f"launch-{number - 1}", {"n_decode_total": 3})
    assert totals.totals() == {"n_decode_total": 15 * LATEST_LAUNCHES + 2}
