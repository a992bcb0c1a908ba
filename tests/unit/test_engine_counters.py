"""Counters that begin at nought with each process, added up."""

from __future__ import annotations

from gglib_core.engine_counters import CounterTotals
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
