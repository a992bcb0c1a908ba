"""`gglib swaps` shows what the ledger has, with no server and in any terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gglib_core.swaps import Requester, Swap, SwapCause, SwapOutcome, Victim, VictimReason
from gglib_runtime.catalog.database import open_database, writing
from gglib_runtime.catalog.migration import upgrade
from gglib_runtime.cli.swap_view import swap_story
from gglib_runtime.swaps.rows import write_swaps
from tests.command_line import Shell
from tests.gguf_files import write_tiny
from tests.swaps import FULL, a_swap, swap_id

WENT_WELL = replace(
    FULL, outcome=SwapOutcome.READY, failure=None, detail=None, created=1000.0, ended=1065.0
)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def write(shell: Shell, *swaps: Swap) -> None:
    with open_database(shell.data_dir / "gglib.db") as engine:
        upgrade(engine)
        with writing(engine) as connection:
            write_swaps(connection, swaps)


def test_without_swaps_it_says_so(shell: Shell) -> None:
    assert shell.output("swaps") == "No model was launched yet.\n"
    assert shell.json("swaps") == []
    said = shell.run("swaps", "--model", "alpha")
    assert (said.exit_code, said.stdout) == (0, "alpha was not launched.\n")
    assert said.stderr.startswith("There is no model 'alpha'. `gglib model list` shows")


def test_a_row_says_who_went_why_and_where_the_time_went(shell: Shell) -> None:
    write(shell, WENT_WELL)
    row = shell.output("swaps").splitlines()[1]
    cells = re.split(r"\s{2,}", row.strip())
    assert cells[1:] == [
        *("alpha", "ready", "beta", "turn over"),
        *("1.5 s", "250 ms", "125 ms", "62 ms", "500 ms", "12.0 s", "750 ms", "3", "2"),
    ]


def test_what_is_not_known_is_a_dash(shell: Shell) -> None:
    write(shell, a_swap(1, queue_seconds=0.0))
    cells = re.split(r"\s{2,}", shell.output("swaps").splitlines()[1].strip())
    assert cells[1:] == ["alpha", "ready", "-", "-", "0 ms", *["-"] * 8]


def test_the_newest_come_first_and_no_more_than_asked_for(shell: Shell) -> None:
    write(shell, *(a_swap(number) for number in range(30)))
    assert [each["id"] for each in shell.json("swaps", "--limit", "2")] == [
        swap_id(29),
        swap_id(28),
    ]
    assert len(shell.json("swaps")) == 20
    assert shell.run("swaps", "--limit", "0").exit_code == 2


def test_json_has_every_field(shell: Shell) -> None:
    write(shell, FULL)
    [document] = shell.json("swaps")
    assert document == {
        "id": FULL.id,
        "object": "swap",
        "created": 1007.0,
        "ended": 1234.5,
        "model": "alpha",
        "model_id": 1,
        "context": 4096,
        "launch_id": "launch-7",
        "cause": "request",
        "request_id": "req-1",
        "key_name": "team",
        "victim": {
            "model": "beta",
            "model_id": 2,
            "reason": "turn_over",
            "spared": ["gamma", "the third"],
        },
        "outcome": "failed",
        "failure": "out_of_memory",
        "detail": "the engine exited with code 1",
        "queue_ms": 1500.0,
        "drain_ms": 250.0,
        "stop_ms": 125.0,
        "memory_ms": 62.5,
        "spawn_ms": 500.0,
        "load_ms": 12000.0,
        "first_byte_ms": 750.0,
        "served": 3,
        "swaps_avoided": 2,
        "memory_bytes": 5_000_000_000,
        "gpu_memory_bytes": 7_000_000_000,
    }


def test_the_swaps_of_a_model_are_found_by_its_alias_and_those_of_a_removed_one_by_its_name(
    shell: Shell, tmp_path: Path
) -> None:
    write_tiny(tmp_path, "tiny-a")
    shell.output("model", "add", tmp_path / "tiny-a.gguf", "--alias", "b")
    write(shell, a_swap(1, model="tiny-a"), a_swap(2, model="gone"))
    assert [each["model"] for each in shell.json("swaps", "--model", "b")] == ["tiny-a"]
    assert [each["model"] for each in shell.json("swaps", "--model", "gone")] == ["gone"]


def test_why_tells_the_whole_story(shell: Shell) -> None:
    write(shell, WENT_WELL)
    story = shell.output("swaps", "--why")
    for part in (
        "alpha was launched: request req-1 of team named it.",
        "It has the place of beta: its turn was over, and gamma and the third are pinned.",
        "It became ready, and held 4.7 GiB of memory and 6.5 GiB on graphics cards.",
        "It ended after 1m05s.",
        "Time: queue 1.5 s, drain 250 ms, stop 125 ms, memory 62 ms, spawn 500 ms, load 12.0 s,",
        "first byte 750 ms.",
        "It served 3 requests; without turns, 2 of them would be a swap each.",
    ):
        assert part in story


STORIES = [
    (a_swap(requester=Requester(cause=SwapCause.LOAD)), "somebody asked for it to be loaded"),
    (a_swap(requester=Requester(cause=SwapCause.PRELOAD)), "when the server starts"),
    (a_swap(), "a request named it.\n  Its place was free.\n  It became ready."),
    (FULL, "It failed (out_of_memory): the engine exited with code 1."),
    (a_swap(outcome=SwapOutcome.ABORTED, detail="gglib ended"), "It was given up: gglib ended."),
    (a_swap(outcome=SwapOutcome.WITHDRAWN), "It was stopped before it was ready."),
    (a_swap(outcome=SwapOutcome.ABORTED, detail="Try --help."), "It was given up: Try --help."),
    (a_swap(ended=1001.0, served=1), "It served 1 request."),
    (a_swap(ended=1003.0, detail="it crashed"), "It ended after 2s: it crashed."),
    (a_swap(model="a\x1b[2Jb"), "a\N{REPLACEMENT CHARACTER}[2Jb was launched"),
]


@pytest.mark.parametrize(("swap", "part"), STORIES)
def test_every_kind_of_swap_has_a_story(swap: Swap, part: str) -> None:
    story = swap_story(swap)
    assert part in story
    assert ".." not in story


@pytest.mark.parametrize("reason", VictimReason)
def test_every_reason_has_words(reason: VictimReason) -> None:
    victim = Victim(model_id=2, name="beta", reason=reason, spared=("gamma",))
    story = swap_story(a_swap(victim=victim))
    assert "It has the place of beta: " in story
    assert "and gamma is pinned." in story
