from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gglib_proxy.tally import COUNTED_AT_ONCE, MAX_SERIES, OTHER, SECONDS, Histogram, Tally
from tests.generations import generation

BOUNDS = (1.0, 2.0, 5.0)
values = st.lists(st.floats(0, 10) | st.sampled_from(BOUNDS))


def test_a_value_counts_for_the_first_bound_that_is_not_below_it() -> None:
    histogram = Histogram(BOUNDS)
    for value in (0.5, 1.0, 1.5, 5.0, 5.1):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1, 1]
    assert histogram.total == 13.1


@given(values, values)
def test_many_values_count_as_each_of_them_does(one: list[float], other: list[float]) -> None:
    single, many = Histogram(BOUNDS), Histogram(BOUNDS)
    for value in one + other:
        single.observe(value)
    many.observe_all(one)
    many.observe_all(iter(other))
    assert many.counts == single.counts
    assert abs(many.total - single.total) < 1e-6


def test_requests_are_counted_by_method_path_and_status() -> None:
    tally = Tally()
    tally.request_ended("POST", "/v1/chat/completions", 200, 0.004)
    tally.request_ended("POST", "/v1/chat/completions", 200, 700.0)
    tally.request_ended("POST", "/v1/chat/completions", 503, 0.1)
    chat = tally.requests["POST", "/v1/chat/completions", 200]
    assert (chat.count, chat.total) == (2, 700.004)
    assert chat.counts[SECONDS.index(0.005)] == 1
    assert chat.counts[-1] == 1
    assert tally.requests["POST", "/v1/chat/completions", 503].count == 1


def test_methods_that_clients_make_up_share_one_label() -> None:
    tally = Tally()
    for method in ("BREW", "WHEN"):
        tally.request_ended(method, "/", 405, 0.0)
    assert {key: times.count for key, times in tally.requests.items()} == {(OTHER, "/", 405): 2}


def test_paths_without_end_share_one_label() -> None:
    tally = Tally()
    for number in range(MAX_SERIES + 10):
        tally.request_ended("GET", f"/{number}", 404, 0.0)
    assert tally.requests["GET", OTHER, 404].count == 10


def test_what_a_models_generations_came_to_is_added_up() -> None:
    tally = Tally()
    tally.generation_ended(
        generation(
            model="chat",
            queue_ms=1200.0,
            load_ms=1100.0,
            first_token_ms=1250.0,
            total_ms=3000.0,
            prompt_tokens=100,
            cached_tokens=40,
            completion_tokens=20,
            tokens_per_second=35.0,
            prompt_cost=0.5,
            completion_cost=0.25,
            currency="EUR",
        )
    )
    tally.generation_ended(
        generation(model="chat", error="client_left", is_estimated=True, completion_tokens=3)
    )
    tally.generation_ended(generation(model="embedder"))
    chat = tally.models["chat"]
    assert chat.outcomes == {None: 1, "client_left": 1}
    assert (chat.prompt_tokens, chat.cached_tokens, chat.completion_tokens) == (100, 40, 23)
    assert chat.estimated == 1
    assert chat.cost["EUR"] == 0.75
    assert (chat.queue.count, chat.queue.total) == (2, 1200.0)
    assert (chat.load.count, chat.load.total) == (1, 1100.0)
    assert (chat.first_token.count, chat.first_token.total) == (1, 1250.0)
    assert (chat.duration.count, chat.duration.total) == (2, 3000.0)
    assert (chat.prompt.count, chat.prompt.total) == (1, 100)
    assert (chat.speed.count, chat.speed.total) == (1, 35.0)
    assert tally.models["embedder"].outcomes == {None: 1}


def test_no_generation_is_lost_or_counted_twice() -> None:
    tally = Tally()
    for number, name in zip(range(3 * COUNTED_AT_ONCE + 7), itertools.cycle("abc"), strict=False):
        tally.generation_ended(generation(model=name, completion_tokens=number))
        if number % 50 == 0:
            assert sum(model.outcomes.total() for model in tally.models.values()) == number + 1
    assert sum(model.completion_tokens for model in tally.models.values()) == sum(
        range(3 * COUNTED_AT_ONCE + 7)
    )


def test_refusals_are_counted_by_their_reason() -> None:
    tally = Tally()
    tally.rate_limited("requests_per_minute")
    tally.rate_limited("requests_per_minute")
    tally.auth_failed("invalid_api_key")
    assert tally.limits == {"requests_per_minute": 2}
    assert tally.refused_keys == {"invalid_api_key": 1}
