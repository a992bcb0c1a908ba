"""The simulator's latencies: what comes out has the distribution that was asked for.

All on virtual time with a fixed seed; samples and distributions are compared by the largest gap
between their distribution functions (Kolmogorov and Smirnov).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import Any

import msgspec
import pytest

from gglib_runtime.simulator.behaviour import AnswerPlan, Behaviour
from gglib_runtime.simulator.direction import Direction
from gglib_runtime.simulator.latency.distributions import (
    Bimodal,
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Normal,
)
from gglib_runtime.simulator.latency.library import (
    ProfileChoice,
    UnknownProfile,
    find_profile,
    shipped_profiles,
)
from gglib_runtime.simulator.latency.pace import FixedPace, ProfilePace, request_random
from gglib_runtime.simulator.latency.profile import INSTANT, LatencyProfile
from gglib_runtime.simulator.latency.samples import BadSamples, read_samples
from gglib_runtime.simulator.slots import Slots
from gglib_runtime.simulator.timing import ALONE_TOKENS, DEFAULT_TOKENS, Timing
from tests.simulated_answers import streamed_moments
from tests.virtual_time import VirtualTimeLoop, run_virtually

Share = Callable[[float], float]
"""How many values are at most so large."""

NORMAL = NormalDist()


def uniform(samples: Sequence[float]) -> Share:
    def share(value: float) -> float:
        if value <= samples[0]:
            return 0.0
        if value >= samples[-1]:
            return 1.0
        low = bisect_right(samples, value) - 1
        return (low + (value - samples[low]) / (samples[low + 1] - samples[low])) / (
            len(samples) - 1
        )

    return share


def normal(mean: float, deviation: float) -> Share:
    return NormalDist(mean, deviation).cdf


def log_normal(median: float, p95: float) -> Share:
    sigma = math.log(p95 / median) / NORMAL.inv_cdf(0.95)
    return lambda value: NORMAL.cdf(math.log(value / median) / sigma) if value > 0 else 0.0


def distance(values: Sequence[float], share: Share) -> float:
    """The largest gap between the two distribution functions."""
    ordered, count = sorted(values), len(values)
    return max(
        max((index + 1) / count - share(value), share(value) - index / count)
        for index, value in enumerate(ordered)
    )


def critical(count: int) -> float:
    """What one sample in ten thousand would exceed; seeds are fixed, so these do or do not."""
    return math.sqrt(-math.log(0.0001 / 2) / 2 / count)


HUMPS = Bimodal(
    first=Normal(mean=0.1, deviation=0.01),
    second=LogNormal(median=1.0, p95=2.0),
    second_share=0.3,
)
CASES: dict[str, tuple[Distribution, Share]] = {
    "normal": (Normal(mean=2.0, deviation=0.3), normal(2.0, 0.3)),
    "log-normal": (LogNormal(median=0.4, p95=1.2), log_normal(0.4, 1.2)),
    "exponential": (Exponential(mean=0.05), lambda value: 1 - math.exp(-value / 0.05)),
    "bimodal": (
        HUMPS,
        lambda value: 0.7 * normal(0.1, 0.01)(value) + 0.3 * log_normal(1.0, 2.0)(value),
    ),
    "empirical": (Empirical(samples=(3, 1, 2, 9)), uniform((1, 2, 3, 9))),
}


@pytest.mark.parametrize("name", CASES)
def test_draws_have_the_distribution_that_was_asked_for(name: str) -> None:
    distribution, share = CASES[name]
    random = Random(7)
    values = [distribution.draw(random) for _ in range(4000)]
    assert distance(values, share) < critical(len(values))
    again = Random(7)
    assert values == [distribution.draw(again) for _ in range(4000)]


def test_another_distribution_is_told_apart() -> None:
    random = Random(7)
    values = [LogNormal(median=0.4, p95=1.0).draw(random) for _ in range(4000)]
    assert distance(values, log_normal(0.4, 1.2)) > critical(len(values))


def test_a_constant_is_one() -> None:
    assert Constant(value=0.25).draw(Random(1)) == 0.25


def test_what_would_be_negative_is_nothing() -> None:
    random = Random(3)
    values = [Normal(mean=0.0, deviation=1.0).draw(random) for _ in range(200)]
    assert min(values) == 0
    assert max(values) > 0


@pytest.mark.parametrize("name", CASES)
def test_tokens_are_sent_when_the_distribution_says(name: str) -> None:
    distribution, share = CASES[name]
    profile = LatencyProfile(first_token=distribution, token_gap=distribution)
    firsts: list[float] = []
    gaps: list[float] = []
    for number in range(60):
        pace = ProfilePace(profile, request_random(1, "pace", number), prompt_tokens=10)
        moments = run_virtually(streamed_moments(pace, tokens=20))
        firsts.append(moments[0])
        gaps += [after - before for before, after in itertools.pairwise(moments)]
    assert distance(firsts, share) < critical(len(firsts))
    assert distance(gaps, share) < critical(len(gaps))


def test_moments_do_not_drift() -> None:
    moments = run_virtually(streamed_moments(FixedPace(0.5, 0.1), tokens=1000, lateness=0.003))
    assert moments[-1] == pytest.approx(0.5 + 999 * 0.1 + 0.003, abs=1e-6)


def test_prompt_load_and_context_slow_an_answer_down() -> None:
    profile = LatencyProfile(
        first_token=Constant(value=1.0),
        prefill_tokens_per_second=100,
        token_gap=Constant(value=0.1),
        batch_slowdown=0.5,
        context_slowdown=0.2,
    )
    pace = ProfilePace(profile, Random(1), prompt_tokens=500)
    assert pace.first_token_seconds(1) == pytest.approx(1 + 5)
    assert pace.first_token_seconds(3) == pytest.approx(1 + 5 * 2)
    assert pace.gap_seconds(1, 500) == pytest.approx(0.1 * 1.2)
    assert pace.gap_seconds(3, 1500) == pytest.approx(0.1 * 2 * 1.4)
    slow = ProfilePace(profile, Random(1), prompt_tokens=500, slowdown=3)
    assert slow.gap_seconds(1, 500) == pytest.approx(0.1 * 1.2 * 3)


def test_a_requests_draws_depend_on_its_number_or_its_own_seed() -> None:
    def draws(*arguments: Any) -> list[float]:
        random = request_random(*arguments)
        return [random.random() for _ in range(3)]

    assert draws(1, "pace", 5) == draws(1, "pace", 5)
    others = [
        draws(1, "pace", 6),
        draws(2, "pace", 5),
        draws(1, "length", 5),
        draws(1, "pace", 5, 9),
    ]
    assert len({tuple(each) for each in [draws(1, "pace", 5), *others]}) == 5
    assert draws(1, "pace", 5, 9) == draws(1, "pace", 6, 9)


# profiles


def test_every_shipped_profile_has_its_source_and_says_what_is_assumed() -> None:
    assert {"gpt-4", "gpt-3.5", "claude-3", "gemini", "laptop-7b", "h100-70b"} <= {
        *shipped_profiles()
    }
    for name, profile in shipped_profiles().items():
        assert profile.sources, name
        assert all(source.startswith("https://") for source in profile.sources), name
        assert profile.assumed, name
        assert profile.token_gap.draw(Random(1)) > 0, name


@pytest.mark.parametrize(
    ("model", "profile"),
    [
        ("gpt-4o-mini", "gpt-4o"),
        ("gpt-4-turbo-2024-04-09", "gpt-4-turbo"),
        ("gpt-4", "gpt-4"),
        ("GPT-3.5-Turbo", "gpt-3.5"),
        ("claude-3-opus-20240229", "claude-opus"),
        ("claude-3-5-sonnet-latest", "claude-3"),
        ("models/gemini-1.5-flash", "gemini-flash"),
        ("gemini-1.5-pro", "gemini"),
        ("Mistral-7B-Instruct", "laptop-7b"),
        ("llama-3-70b", "h100-70b"),
    ],
)
def test_a_models_name_tells_its_profile(model: str, profile: str) -> None:
    assert ProfileChoice("auto").of(model) is shipped_profiles()[profile]


def test_a_name_that_tells_nothing_has_no_latency() -> None:
    assert ProfileChoice("auto").of("alpha") is INSTANT
    assert ProfileChoice("none").of("gpt-4") is INSTANT


def test_globs_of_ones_own_come_first() -> None:
    choice = ProfileChoice("auto", {"my-*": "gpt-4", "alpha": "none"})
    assert choice.of("my-llama-70b") is shipped_profiles()["gpt-4"]
    assert choice.of("llama-70b") is shipped_profiles()["h100-70b"]
    assert choice.of("alpha") is INSTANT


def test_an_unknown_profile_is_told_with_those_that_are_known() -> None:
    with pytest.raises(UnknownProfile, match=r"no profile 'gtp-4'.*gpt-4"):
        find_profile("gtp-4")


def test_a_profile_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('token_gap = { kind = "exponential", mean = 0.5 }\n')
    assert find_profile(str(file)).token_gap == Exponential(mean=0.5)
    file.write_text('token_gap = { kind = "exponential", mean = -1 }\n')
    with pytest.raises(UnknownProfile, match=r"mine\.toml: token_gap\.mean: Expected `float`"):
        find_profile(str(file))


def test_a_95th_percentile_below_the_median_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="`p95`"):
        msgspec.convert({"kind": "log-normal", "median": 2, "p95": 1}, type=LogNormal | Normal)


# measurements

ROWS: list[dict[str, Any]] = [
    {"status": 200, "queue_ms": 100, "first_token_ms": 500, "tokens_per_second": 50,
     "completion_tokens": 10, "load_ms": 0},
    {"status": 200, "queue_ms": 0, "first_token_ms": 200, "total_ms": 1100,
     "completion_tokens": 10, "load_ms": 2500},
    {"status": 500, "queue_ms": 0, "first_token_ms": 9000, "completion_tokens": 0},
    {"status": 200, "queue_ms": 0, "first_token_ms": None, "completion_tokens": 7},
]  # fmt: skip


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    names = sorted({name for row in rows for name in row})
    cells = [["" if row.get(n) is None else str(row[n]) for n in names] for row in rows]
    return "\n".join(",".join(line) for line in [names, *cells])


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("csv", as_csv(ROWS)),
        ("json", json.dumps(ROWS)),
        ("jsonl", "\n".join(map(json.dumps, ROWS))),
    ],
)
def test_generation_records_make_a_profile(tmp_path: Path, suffix: str, text: str) -> None:
    file = tmp_path / f"records.{suffix}"
    file.write_text(text)
    profile = find_profile(str(file))
    assert profile.first_token == Empirical(samples=(0.2, 0.4))
    assert profile.token_gap == Empirical(samples=(0.02, 0.1))
    assert profile.output_tokens == Empirical(samples=(7, 10, 10))
    assert profile.load == Empirical(samples=(2.5,))


@pytest.mark.parametrize("text", ["", "a,b\n1,2", "[]", "{", "[1]"])
def test_a_file_without_measurements_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "records.csv"
    file.write_text(text)
    with pytest.raises(BadSamples, match=r"records\.csv: "):
        read_samples(file)


# plans


def timing(**behaviour: Any) -> tuple[Timing, Direction]:
    loop = VirtualTimeLoop()
    try:
        direction = Direction(Behaviour(**behaviour), loop)
        return Timing(direction, Slots(4), has_many_models=True), direction
    finally:
        loop.close()


def test_an_answers_length_is_told_or_drawn_or_short() -> None:
    by_profile, direction = timing(profile="auto")
    lengths = [
        by_profile.settled(direction.plan, {}, "gpt-4", number).tokens for number in range(200)
    ]
    share = log_normal(180, 700)
    assert distance(lengths, share) < critical(len(lengths))
    assert by_profile.settled(direction.plan, {}, "alpha", 1).tokens == ALONE_TOKENS
    told, direction = timing(profile="gpt-4", tokens=5)
    assert told.settled(direction.plan, {}, "gpt-4", 1).tokens == 5
    assert DEFAULT_TOKENS < ALONE_TOKENS


def test_a_request_with_a_seed_is_answered_alike_whenever_it_comes() -> None:
    by_profile, direction = timing(profile="gpt-4")
    asked = {"seed": 11}
    plans = [by_profile.settled(direction.plan, asked, "gpt-4", number) for number in (1, 2)]
    assert plans[0].tokens == plans[1].tokens
    paces = [by_profile.pace(plan, "gpt-4", 10, number) for number, plan in enumerate(plans)]
    first, second = (
        [pace.first_token_seconds(1), pace.gap_seconds(1, 1)] for pace in paces if pace
    )
    assert first == second


def test_a_request_may_choose_a_shipped_profile_but_no_file(tmp_path: Path) -> None:
    by_profile, direction = timing()
    file = tmp_path / "mine.toml"
    file.write_text("")
    plan = AnswerPlan(profile="gpt-4")
    assert by_profile.pace(plan, "alpha", 1, 1) is not None
    with pytest.raises(UnknownProfile):
        by_profile.pace(AnswerPlan(profile=str(file)), "alpha", 1, 1)
    assert by_profile.pace(direction.plan, "alpha", 1, 1) is None


def test_models_have_as_many_slots_as_their_profile_says() -> None:
    by_profile, _ = timing(profile="auto")
    assert by_profile.slots("llama-70b").count == 16
    assert by_profile.slots("llama-70b") is by_profile.slots("llama-70b")
    assert by_profile.slots("gpt-4") is by_profile.slots("alpha")


def test_the_virtual_loop_is_one(recwarn: pytest.WarningsRecorder) -> None:
    async def sleep_long() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_virtually(sleep_long()) == pytest.approx(3600)
